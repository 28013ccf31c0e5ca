"""Labels: what people who read documents said of them, good or bad, and why.

labels/labels.jsonl    one label a line, in the order they were given; only ever added to

A label holds the text it was given for, so it outlives its source. The newest label of a document counts. A line is
written at once and flushed; what a killed process left of one has no line break at its end, is not read, and is removed
by the next label.
"""

import fcntl
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import polars as pl
import pyarrow as pa
from pydantic import Field, ValidationError, field_validator, model_validator

from engine.base.errors import InputError, problem
from engine.base.hashing import digest_bytes
from engine.base.recipe_errors import mistakes
from engine.base.stage import StrictModel
from engine.base.terminal import one_line
from engine.formats.messages import MESSAGES, ROLES, SEPARATOR, WHOLE, texts_of

FILE = "labels.jsonl"
GOOD, BAD = "good", "bad"
CLOCKS_DIFFER = timedelta(days=1)
"""How far ahead of this machine's clock a label may be that comes from elsewhere."""
FORGED = "its messages do not amount to its text"
SCHEMA = {
    "position": pl.Int64,  # of the label among all of the folder
    "doc_id": pl.String,
    "source": pl.String,
    "label": pl.String,
    "why": pl.String,
    "when": pl.String,
    "recipe": pl.String,
    "text_digest": pl.String,
    "text": pl.String,
}


class Judgement(StrictModel):
    """A label without the text, as the page of `sample` saves it; what else a line holds is left alone."""

    model_config = StrictModel.model_config | {"extra": "ignore"}

    doc_id: str = Field(description="UUID of the document")
    label: Literal["good", "bad"]
    why: str | None = Field(default=None, description="what the reader wrote about it")
    when: str = Field(description="when it was given, ISO 8601 in UTC")
    text_digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$", description="digest of the text")

    @field_validator("doc_id")
    @classmethod
    def _is_uuid(cls, value: str) -> str:
        try:
            return str(UUID(value))
        except ValueError as error:
            raise ValueError(f"got {one_line(value)!r}. Needed: a UUID") from error

    @field_validator("when")
    @classmethod
    def _in_utc(cls, value: str) -> str:
        moment = datetime.fromisoformat(value)
        try:
            return written(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
        except OverflowError as error:
            raise ValueError(f"{value} lies outside the calendar in UTC") from error

    @field_validator("*")
    @classmethod
    def _is_unicode(cls, value: Any) -> Any:
        # JSON can spell half of a surrogate pair, and arguments hold one for each byte that is not UTF-8.
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("it holds what is no text in UTF-8")
        return value

    @field_validator("why")
    @classmethod
    def _not_empty(cls, value: str | None) -> str | None:
        return None if value is None else value.strip() or None


class Label(Judgement):
    """A label as it is stored."""

    model_config = StrictModel.model_config

    source: str = Field(description="source of the document")
    recipe: str | None = Field(default=None, description="recipe it was read under")
    text_digest: str = Field(pattern=r"^[0-9a-f]{32}$", description="digest of the text, as in the core columns")
    text: str = Field(description="the whole text it was given for")
    messages: list[dict[str, str]] | None = Field(default=None, description="role and content, where it is a chat")

    @model_validator(mode="after")
    def _is_of_its_text(self) -> "Label":
        if digest_bytes(self.text.encode()).hex() != self.text_digest:
            raise ValueError("the text is not the one of text_digest")
        if self.messages is not None and not _amount_to(self.messages, self.text):
            raise ValueError(FORGED)
        return self

    def text_of(self, field: str) -> str | None:
        """Return what a stage with this `field` takes for the text; None where there is none."""
        if field in WHOLE:
            return self.text
        if self.messages is None:
            return None
        text: str | None = texts_of(pa.array([self.messages], MESSAGES), field)[0].as_py()
        return text

    @property
    def judgement(self) -> tuple[str, str, str | None, str]:
        """What makes it the same label, wherever it is stored."""
        return self.doc_id, self.label, self.why, self.when


@dataclass(frozen=True)
class Given:
    """A line of a file of labels from elsewhere."""

    place: str
    """The file and the line's number."""
    said: Judgement
    label: Label | None
    """The whole label where the line holds a text, and messages that amount to it if any."""
    is_forged: bool
    """Whether it holds messages that do not."""


def written(moment: datetime) -> str:
    """Return a moment as labels hold it: ISO 8601, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def read_labels(path: Path) -> list[Label]:
    """Return the labels of a file, or of the *.jsonl of a folder, oldest first; none where the folder is missing.

    Raises InputError that names the line where one is no label.
    """
    files = sorted(file for file in path.glob("*.jsonl") if not file.name.startswith(".")) if path.is_dir() else [path]
    found = [label for file in files if file.is_file() for label in _labels_of(file)]
    return sorted(found, key=lambda label: label.when)


def read_judgements(path: Path) -> list[Given]:
    """Return what a file says of documents, line by line.

    Raises InputError where the file cannot be read, and that names the line where one is no label or of the future,
    where it would be the newest for ever.
    """
    latest = written(datetime.now(UTC) + CLOCKS_DIFFER)
    found = []
    for place, row in _rows(path):
        said = _checked(place, row, Judgement)
        if said.when > latest:
            raise InputError(problem(place, f"when: {said.when} is yet to come", "when the label was given"))
        is_whole = isinstance(row, dict) and "text" in row
        is_forged = is_whole and _is_forged(row)
        found.append(Given(place, said, make_label(place, row) if is_whole and not is_forged else None, is_forged))
    return found


def make_label(place: str, row: Any) -> Label:
    """Return the label of these values; raises InputError that names the place where they are none."""
    label: Label = _checked(place, row, Label)
    return label


def newest(labels: Iterable[Label]) -> list[Label]:
    """Return the newest label of every document, oldest first; labels: oldest first, as `read_labels` returns them."""
    last: dict[str, Label] = {}
    for label in labels:
        last.pop(label.doc_id, None)
        last[label.doc_id] = label
    return list(last.values())


def in_words(said: Mapping[str, Any]) -> str:
    """Return a label (label, why, when, text_changed) in one line for a terminal."""
    why = "" if said["why"] is None else f": {one_line(said['why'])}"
    changed = " (the text changed since)" if said["text_changed"] else ""
    return f"labelled {said['label']} on {said['when'][:10]}{changed}{why}"


def append_labels(folder: Path, labels: Sequence[Label]) -> None:
    """Add labels to those of a folder; all of them are on the disk when it returns, or none.

    Raises OSError as the disk does (full, read-only).
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(label.model_dump(mode="json", exclude_none=True), ensure_ascii=False) for label in labels]
    handle = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = _end_of_lines(file)
        file.truncate(end)
        file.seek(end)
        try:
            rest = memoryview("".join(f"{line}\n" for line in lines).encode())
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(end)
            raise


def labels_frame(labels: Iterable[Label]) -> pl.DataFrame:
    """Return labels as SCHEMA; their order is the position."""
    rows = [
        {"position": position} | {name: getattr(label, name) for name in SCHEMA if name != "position"}
        for position, label in enumerate(labels)
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _end_of_lines(file: io.FileIO) -> int:
    """Return the byte behind the last line break: what follows is a label that was never whole."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65_536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _labels_of(path: Path) -> list[Label]:
    return [_checked(place, row, Label) for place, row in _rows(path, whole_lines=True)]


def _rows(path: Path, whole_lines: bool = False) -> list[tuple[str, Any]]:
    """Return (place, JSON value) of every line; whole_lines: leave out what has no line break at its end."""
    needed = "a label a line, as `provender sample` saves them"
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(problem(path, f"cannot be read ({error.strerror})", needed)) from error
    found = []
    for number, line in enumerate(lines[:-1] if whole_lines else lines, start=1):
        if line.strip():
            place = f"{path}:{number}"
            try:
                found.append((place, json.loads(line)))
            except ValueError as error:
                raise InputError(problem(place, "the line is not JSON", needed)) from error
    return found


def _is_forged(row: Mapping[str, Any]) -> bool:
    messages = row.get("messages")
    return messages is not None and not _amount_to(messages, row["text"])


def _amount_to(messages: Any, text: Any) -> bool:
    """Return whether these are messages as engine.formats.messages has them, and their contents the text."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        return False
    are_whole = all(set(one) == {"role", "content"} and one["role"] in ROLES for one in messages)
    contents = [one.get("content") for one in messages]
    are_texts = bool(contents) and all(isinstance(one, str) for one in contents)
    return are_whole and are_texts and SEPARATOR.join(contents) == text


def _checked(place: str, row: Any, model: Any) -> Any:
    try:
        return model.model_validate(row)
    except ValidationError as error:
        raise InputError(mistakes(place, error, model)[0]) from error
