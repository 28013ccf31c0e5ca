"""Plain text files, Markdown, code, or the output of WikiExtractor; .gz and .zst too.

`document` says what one document is: a `file` (its own id is its name below the fixed part of the pattern), a
`paragraph` (lines between blank lines; no own id), or a `<doc id= url= title=>` element of `wikiextractor` (its own id
is that id). With `on_bad_row: drop` a document that cannot be used stays without text and with the problem
`invalid_utf8` (bytes that are not text in the encoding) or `broken_document` (an element that is not closed, text
outside of elements).
"""

import codecs
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from engine.base.errors import problem
from engine.sources._columns import to_table
from engine.sources._config import FileConfig, row_problem
from engine.sources._files import find_files, read_chunks, read_lines, relative_name

VERSION = 1
IN_PLACE = False
SUFFIXES = (".txt", ".md", ".rst", ".txt.gz", ".md.gz", ".txt.zst", ".md.zst")
BATCH_BYTES = 8 << 20
_OPENING = re.compile(r"<doc\s+(.*)>\s*")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
Document = tuple[dict[str, Any], str | None]
"""Columns of a document, and why it could not be read."""


class Config(FileConfig):
    """Text files."""

    stage: Literal["text"] = "text"
    document: Literal["file", "paragraph", "wikiextractor"] = Field(default="file", description="what one document is")
    encoding: str = Field(default="utf-8", description="character encoding of the files")

    @model_validator(mode="after")
    def _encoding_fits(self) -> Self:
        try:
            line_feed = "\n".encode(self.encoding)
        except LookupError as error:
            needed = "a name Python knows, such as utf-8 or cp1252"
            raise ValueError(problem("encoding", f"there is no '{self.encoding}'", needed)) from error
        if self.document != "file" and line_feed != b"\n":
            found = f"lines cannot be found in {self.encoding}"
            raise ValueError(problem("encoding", found, "utf-8 or one byte a character", "convert the files"))
        return self

    @property
    def default_columns(self) -> dict[str, str]:
        """The columns this reader makes of the files."""
        own = {"file": {"id": "file"}, "paragraph": {}, "wikiextractor": {"id": "id", "url": "url"}}
        return {"text": "text"} | own[self.document]


def files(config: Config, base: Path) -> list[Path]:
    """Return the input files; raises InputError for a pattern without any."""
    return find_files(config, base)


def read(path: Path, config: Config) -> Iterator[pa.Table]:
    """Yield tables of about 8 MB with the columns text and file (wikiextractor: also id, url, title), in file order.

    Raises InputError for a document that cannot be read (unless on_bad_row: drop) and for a damaged file.
    """
    name = relative_name(path, config)
    documents = {"file": _whole, "paragraph": _paragraphs, "wikiextractor": _elements}[config.document]
    rows: list[dict[str, Any]] = []
    problems: list[str | None] = []
    size = 0
    for row, trouble in documents(path, config):
        rows.append(row | {"file": name})
        problems.append(trouble)
        size += len(row.get("text") or "")
        if size >= BATCH_BYTES:
            yield to_table(path, rows, problems)
            rows, problems, size = [], [], 0
    if rows:
        yield to_table(path, rows, problems)


def _whole(path: Path, config: Config) -> Iterator[Document]:
    data = b"".join(read_chunks(path)).removeprefix(codecs.BOM_UTF8)
    yield _decoded([data], path, "the file", config)


def _paragraphs(path: Path, config: Config) -> Iterator[Document]:
    block: list[bytes] = []
    first = 1
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            first = first if block else number
            block.append(line)
        elif block:
            yield _decoded(block, f"{path}, line {first}", "the paragraph", config)
            block = []
    if block:
        yield _decoded(block, f"{path}, line {first}", "the paragraph", config)


def _elements(path: Path, config: Config) -> Iterator[Document]:
    attributes: dict[str, Any] | None = None
    block: list[bytes] = []
    first = 1
    for number, line in enumerate(read_lines(path), 1):
        opening = _OPENING.fullmatch(line.decode(config.encoding, "replace")) if line.startswith(b"<doc ") else None
        if opening is not None:
            if attributes is not None:
                yield attributes, _broken(path, first, "a <doc> element that is not closed", config)
            attributes = {key: html.unescape(value) for key, value in _ATTRIBUTE.findall(opening[1])}
            block, first = [], number
        elif line.rstrip() == b"</doc>" and attributes is not None:
            row, trouble = _decoded(block, f"{path}, line {first}", "the element", config)
            yield attributes | row, trouble
            attributes = None
        elif attributes is not None:
            block.append(line)
        elif line.strip():
            yield {}, _broken(path, number, "text outside of a <doc> element", config)
    if attributes is not None:
        yield attributes, _broken(path, first, "a <doc> element that is not closed", config)


def _decoded(lines: list[bytes], place: object, what: str, config: Config) -> Document:
    data = b"\n".join(lines)
    try:
        return {"text": data.decode(config.encoding)}, None
    except UnicodeDecodeError as error:
        found = f"byte {error.start + 1} of {what} is not {config.encoding}"
        return {}, row_problem(place, found, "invalid_utf8", config)


def _broken(path: Path, line: int, found: str, config: Config) -> str:
    return row_problem(f"{path}, line {line}", found, "broken_document", config)
