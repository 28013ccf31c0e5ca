"""Chat records: messages with roles, in the shapes instruction data comes in; their text is the contents, joined.

    messages        [{role, content}, ...]                          OpenAI, Hugging Face
    conversations   [{from, value}, ...]                            ShareGPT
    prompt          and completion, response or output              texts, or lists of messages
    instruction     and input or context, and output or response    Alpaca, Dolly
    question        and answer or response                          OpenOrca

A field `system` or `system_prompt` stands in front as the system's message, unless the messages have one.

The shape is found by the names of a record's fields, or named: `fields: {prompt: frage, response: antwort}`. Files are
JSON lines, JSON of one list, or Parquet. Roles are system, user, assistant, tool, or what others call them (human,
prompter, gpt, bot, model, developer, function). What the messages were made of is kept as the column `messages`
(engine.formats.messages), their text as `text`; all other fields stay as they are, but one of these two names.

With `on_bad_row: drop` a record that cannot be used stays as a document without text and with one of these problems:
those of jsonl, `no_messages`, `no_role`, `unknown_role`, `no_content`, `tool_calls`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator
from pydantic_core import from_json

from engine.base.errors import InputError, problem, unknown
from engine.formats.messages import MESSAGES, SEPARATOR, texts_of
from engine.sources._columns import to_table
from engine.sources._config import FileConfig, row_problem
from engine.sources._files import find_files, read_chunks, read_lines
from engine.sources._json import Row, kind_of, parse_line

VERSION = 1
IN_PLACE = False
BATCH_ROWS = 4096
PARTS = ("messages", "system", "prompt", "input", "response")
"""What `fields` can name."""
_SYSTEM = {"system": ("system", "system_prompt")}
SHAPES: tuple[dict[str, tuple[str, ...]], ...] = (
    _SYSTEM | {"messages": ("messages", "conversations", "conversation")},
    _SYSTEM | {"prompt": ("prompt",), "response": ("completion", "response", "output")},
    _SYSTEM | {"prompt": ("instruction",), "input": ("input", "context"), "response": ("output", "response", "answer")},
    _SYSTEM | {"prompt": ("question",), "response": ("answer", "response")},
)
"""Part -> names of its field; the first shape that fits is taken. Only `system` and `input` may be missing."""
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
"""What others call a role -> role."""
Message = dict[str, str]


class _UnusableError(ValueError):
    """A record without usable messages; the first argument is its kind of problem, the second says what is there."""


class Config(FileConfig):
    """Chat records."""

    stage: Literal["chat"] = "chat"
    fields: dict[str, str] = Field(
        default_factory=dict, description="messages, or system, prompt, input, response -> field of the records"
    )
    separate_input: bool = Field(
        default=False,
        description="make the input a message of its own behind the instruction's, which the template alpaca shows as "
        "`### Input:`; else it is joined to the instruction. The text is the same",
    )

    @model_validator(mode="after")
    def _fields_make_a_shape(self) -> Self:
        for name in self.fields:
            if name not in PARTS:
                raise ValueError(unknown("fields", "part of a chat", name, PARTS))
        if self.fields and "messages" not in self.fields and not {"prompt", "response"} <= set(self.fields):
            raise ValueError(f"fields name {', '.join(self.fields)}; needed: messages, or prompt and response")
        if "text" in self.columns:
            raise ValueError("columns: text is made of the messages; name their fields with fields:")
        return self

    @property
    def has_messages(self) -> bool:
        """Chats have messages."""
        return True


def files(config: Config, base: Path) -> list[Path]:
    """Return the input files; raises InputError for a pattern without any."""
    return find_files(config, base)


def read(path: Path, config: Config) -> Iterator[pa.Table]:
    """Yield tables of up to 4,096 records in file order.

    Raises InputError for a record without usable messages (unless on_bad_row: drop) and for a damaged file.
    """
    rows: list[Row] = []
    chats: list[list[Message] | None] = []
    problems: list[str | None] = []
    for place, row, found in _records(path, config):
        chat, trouble, rest = None, found, row
        if found is None:
            try:
                chat, rest = chat_of(row, config.fields, config.separate_input)
            except _UnusableError as unusable:
                kind, what = unusable.args
                trouble = row_problem(place, what, kind, config)
        rows.append({name: value for name, value in rest.items() if name not in ("text", "messages")})
        chats.append(chat)
        problems.append(trouble)
        if len(rows) == BATCH_ROWS:
            yield _table(path, rows, chats, problems)
            rows, chats, problems = [], [], []
    if rows:
        yield _table(path, rows, chats, problems)


def chat_of(
    row: Mapping[str, Any], fields: Mapping[str, str], separate_input: bool = False
) -> tuple[list[Message], Row]:
    """Return the messages of a record and what else it holds.

    Raises ValueError with (kind of problem, what is there) where it has none, or one without role or content.
    """
    shape = _shape(row, fields)
    rest = {name: value for name, value in row.items() if name not in shape.values()}
    chat: list[Message] = []
    if row.get(shape.get("system", "")):
        chat += _messages(row[shape["system"]], shape["system"], "system")
    if "messages" in shape:
        said = _messages(row[shape["messages"]], shape["messages"], None)
        has_system = any(message["role"] == "system" for message in said)
        return (said if has_system else [*chat, *said]), rest
    asked = _messages(row[shape["prompt"]], shape["prompt"], "user")
    if row.get(shape.get("input", "")):
        more = _messages(row[shape["input"]], shape["input"], "user")
        asked = [*asked, *more] if separate_input else [_joined([*asked, *more])]
    return [*chat, *asked, *_messages(row[shape["response"]], shape["response"], "assistant")], rest


def _joined(messages: Iterable[Message]) -> Message:
    return {"role": "user", "content": SEPARATOR.join(message["content"] for message in messages)}


def _shape(row: Mapping[str, Any], fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return part -> field of the record."""
    if fields:
        missing = [name for part, name in fields.items() if name not in row and part not in ("system", "input")]
        if missing:
            raise _UnusableError("no_messages", f"no field '{missing[0]}' (have: {', '.join(row) or 'none'})")
        return fields
    for shape in SHAPES:
        found = {
            part: next((name for name in names if row.get(name) is not None), None) for part, names in shape.items()
        }
        if all(name is not None for part, name in found.items() if part not in ("system", "input")):
            return {part: name for part, name in found.items() if name is not None}
    shapes = "messages, conversations, prompt and response, instruction and output, nor question and answer"
    raise _UnusableError("no_messages", f"neither {shapes} (have: {', '.join(row) or 'none'}); fields: can name others")


def _messages(value: Any, field: str, role: str | None) -> list[Message]:
    """Return the messages in a field: a list of them, or a text where its `role` is known."""
    if isinstance(value, str) and role is not None:
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        found = "an empty list" if value == [] else kind_of(value)
        raise _UnusableError("no_messages", f"the field '{field}' holds {found} instead of messages")
    return [_message(one, f"message {number} of '{field}'") for number, one in enumerate(value, 1)]


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise _UnusableError("no_messages", f"{where} is {kind_of(value)} instead of an object with role and content")
    given = value.get("role", value.get("from"))
    if not isinstance(given, str) or not given:
        raise _UnusableError("no_role", f"{where} has no role (have: {', '.join(value) or 'nothing'})")
    role = ROLES.get(given.strip().lower())
    if role is None:
        raise _UnusableError("unknown_role", unknown(where, "role", given, ROLES))
    content = value.get("content", value.get("value", value.get("text")))
    if not content and value.get("tool_calls"):
        raise _UnusableError("tool_calls", f"{where} calls tools, which cannot be kept")
    return {"role": role, "content": _content(content, where)}


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content and all(isinstance(part, dict) for part in content):
        texts = [part.get("text") if part.get("type", "text") == "text" else None for part in content]
        if all(isinstance(text, str) for text in texts):
            return SEPARATOR.join(map(str, texts))
    raise _UnusableError("no_content", f"the content of {where} is {kind_of(content)} instead of text")


def _records(path: Path, config: Config) -> Iterator[tuple[str, Row, str | None]]:
    """Yield (place, record, problem) of a file; a record with a problem is empty."""
    if path.name.lower().endswith((".parquet", ".pq")):
        yield from _parquet_records(path)
        return
    if ".json" in {suffix.lower() for suffix in path.suffixes} and (listed := _list_in(path)) is not None:
        for number, row in enumerate(listed, 1):
            place = f"{path}, record {number}"
            is_object = isinstance(row, dict)
            found = (
                None
                if is_object
                else row_problem(place, f"{kind_of(row)} instead of an object", "not_an_object", config)
            )
            yield place, row if is_object else {}, found
        return
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            row, found = parse_line(line, (path, number), config)
            yield f"{path}, line {number}", row, found


def _list_in(path: Path) -> list[Any] | None:
    """Return the list a file is, or None where it does not begin like one."""
    chunks = read_chunks(path)
    start = next(chunks, b"").removeprefix(b"\xef\xbb\xbf")
    if not start.lstrip().startswith(b"["):
        return None
    try:
        return list(from_json(b"".join([start, *chunks])))
    except ValueError as error:
        raise InputError(problem(path, f"broken JSON ({error})", fix="mend the file or download it again")) from error


def _parquet_records(path: Path) -> Iterator[tuple[str, Row, None]]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield (
                        f"{path}, row {number}",
                        {name: value for name, value in row.items() if value is not None},
                        None,
                    )
    except (OSError, pa.ArrowException) as error:
        found = f"cannot be read ({(str(error).splitlines() or ['?'])[0]})"
        raise InputError(problem(path, found, "the whole file", "copy or download it again")) from error


def _table(path: Path, rows: list[Row], chats: Iterable[list[Message] | None], problems: list[str | None]) -> pa.Table:
    messages = pa.array(chats, MESSAGES)
    table = to_table(path, rows, problems)
    return table.append_column("text", texts_of(messages, "text")).append_column("messages", messages)
