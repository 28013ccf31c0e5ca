"""Chat records: the shapes they come in, roles by other names, and records without usable messages."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from engine.base.errors import InputError
from engine.formats.messages import MESSAGES
from engine.pack.templates import alpaca
from engine.sources.chat import Config, read


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    tables = list(read(path, Config(name="chats", path=str(path), **options)))
    assert all(table.schema.field("messages").type == MESSAGES for table in tables)
    return [row for table in tables for row in table.to_pylist()]


def file(folder: Path, *records: Any) -> Path:
    path = folder / "chats.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def said(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row["messages"]]


ASKED = [("user", "Why?"), ("assistant", "So.")]
SHAPES = {
    "messages": {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]},
    "conversations": {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
    "prompt and completion": {"prompt": "Why?", "completion": "So."},
    "prompt of messages": {
        "prompt": [{"role": "user", "content": "Why?"}],
        "completion": [{"role": "assistant", "content": "So."}],
    },
    "instruction and output": {"instruction": "Why?", "input": "", "output": "So."},
    "instruction and response": {"instruction": "Why?", "response": "So."},
    "question and answer": {"question": "Why?", "answer": "So."},
    "parts of content": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
            {"role": "assistant", "content": "So."},
        ]
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_becomes_messages_and_their_text(tmp_path: Path, shape: str) -> None:
    (row,) = rows(file(tmp_path, {"id": 7, **SHAPES[shape]}))
    assert said(row) == ASKED
    assert row["text"] == "Why?\n\nSo."
    assert set(row) == {"id", "messages", "text", "read_problem"}
    assert row["read_problem"] is None


def test_an_input_belongs_to_the_question_and_a_system_prompt_stands_first(tmp_path: Path) -> None:
    record = {"system": "Be brief.", "instruction": "Add.", "input": "1 and 2", "output": "3", "tag": "sum"}
    (row,) = rows(file(tmp_path, record))
    assert said(row) == [("system", "Be brief."), ("user", "Add.\n\n1 and 2"), ("assistant", "3")]
    assert row["tag"] == "sum"


def test_an_input_is_a_message_of_its_own_where_that_is_asked_for_and_the_text_stays_the_same(tmp_path: Path) -> None:
    records = [{"instruction": "Add.", "input": given, "output": "3"} for given in ("1 and 2", "")]
    path = file(tmp_path, *records)
    separate = rows(path, separate_input=True)
    assert said(separate[0]) == [("user", "Add."), ("user", "1 and 2"), ("assistant", "3")]
    assert said(separate[1]) == [("user", "Add."), ("assistant", "3")]
    assert [row["text"] for row in separate] == [row["text"] for row in rows(path)]
    asked, *_ = alpaca(separate[0]["messages"])
    assert asked.text.endswith("### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:")


@pytest.mark.parametrize("name", ["system", "system_prompt"])
@pytest.mark.parametrize("shape", ["messages", "conversations", "prompt and completion", "question and answer"])
def test_a_system_prompt_beside_the_messages_stands_in_front(tmp_path: Path, name: str, shape: str) -> None:
    (row,) = rows(file(tmp_path, {name: "Be brief.", **SHAPES[shape]}))
    assert said(row) == [("system", "Be brief."), *ASKED]
    assert name not in row


def test_a_system_message_among_the_messages_is_the_one_that_counts(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]
    (row,) = rows(file(tmp_path, {"system": "Be brief.", "messages": messages}))
    assert said(row) == [("system", "Be kind."), ("user", "Why?")]


def test_fields_of_any_name_can_be_named(tmp_path: Path) -> None:
    path = file(tmp_path, {"frage": "Why?", "antwort": "So.", "messages": None})
    assert said(rows(path, fields={"prompt": "frage", "response": "antwort"})[0]) == ASKED
    talk = file(tmp_path, {"talk": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]})
    assert said(rows(talk, fields={"messages": "talk"})[0]) == ASKED


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"prompts": "q"}, "did you mean 'prompt'"),
        ({"prompt": "q"}, "messages, or prompt and response"),
    ],
)
def test_fields_that_make_no_chat_are_an_error_of_the_recipe(fields: dict[str, str], finding: str) -> None:
    with pytest.raises(ValidationError, match=finding):
        Config(name="chats", path="x.jsonl", fields=fields)


def test_roles_go_by_other_names(tmp_path: Path) -> None:
    names = ["developer", "Human", "prompter", "gpt", "bot", "model", "function"]
    (row,) = rows(file(tmp_path, {"messages": [{"role": name, "content": "x"} for name in names]}))
    assert [role for role, _ in said(row)] == ["system", "user", "user", "assistant", "assistant", "assistant", "tool"]


@pytest.mark.parametrize("name", ["chats.json", "chats.jsonl", "chats.parquet"])
def test_lists_lines_and_parquet_are_read_alike(tmp_path: Path, name: str) -> None:
    records = [{"id": number, **SHAPES["messages"]} for number in range(5000)]
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(records), path)
    elif name.endswith("jsonl"):
        path.write_text("\n".join(map(json.dumps, records)))
    else:
        path.write_text("\ufeff" + json.dumps(records, indent=1))
    found = rows(path)
    assert [row["id"] for row in found] == list(range(5000))
    assert all(said(row) == ASKED for row in found)


BAD: dict[str, tuple[Any, str]] = {
    "no_role": (
        {"messages": [{"role": "user", "content": "a"}, {"content": "b"}]},
        "message 2 of 'messages' has no role",
    ),
    "unknown_role": ({"messages": [{"role": "usr", "content": "a"}]}, "did you mean 'user'"),
    "no_content": ({"messages": [{"role": "user", "content": 5}]}, "message 1 of 'messages' is a number"),
    "no_messages": ({"messages": []}, "an empty list instead of messages"),
    "tool_calls": ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, "calls tools"),
    "not_an_object": (["a"], "a list instead of an object"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_record_without_usable_messages_is_named_or_dropped_with_its_kind(tmp_path: Path, kind: str) -> None:
    record, finding = BAD[kind]
    path = file(tmp_path, SHAPES["messages"], record)
    with pytest.raises(InputError) as caught:
        rows(path)
    assert f"{path}, line 2: " in str(caught.value)
    assert finding in str(caught.value)
    good, bad = rows(path, on_bad_row="drop")
    assert good["read_problem"] is None
    assert (bad["messages"], bad["text"], bad["read_problem"]) == (None, None, kind)


def test_a_record_of_no_known_shape_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nor question and answer \(have: title, body\); fields: can name others"):
        rows(file(tmp_path, {"title": "a", "body": "b"}))


def test_a_broken_list_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    path.write_text('[{"messages": []')
    with pytest.raises(InputError, match=r"chats\.json: broken JSON"):
        rows(path)


def test_shared_instructions_are_read_whole(shared_data: Path) -> None:
    folder = shared_data / "instructions"
    wanted = {"fastchat/dummy_conversation.json": 500, "GPTeacher/codegen-instruct.json": None}
    for name, count in wanted.items():
        found = rows(folder / name)
        assert len(found) == (count or len(json.loads((folder / name).read_text())))
        assert all(row["messages"][-1]["role"] == "assistant" for row in found)
