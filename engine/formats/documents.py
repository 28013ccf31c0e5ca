"""Document shards: where texts lie, and the core columns beside them.

documents/<source>/<input digest>/
    source.json              what was read, and the list of shards
    00000.ids.parquet        the core columns (engine.formats.columns), one row per document
    00000.parquet            text and all other columns of the source, only where the source had to be converted;
                             messages too (engine.formats.messages), where its documents are chats
    receipt.json

A Parquet source is read where it lies: its shards are runs of row groups of the user's own files. Everything derived
from a shard is row-aligned with it and named by the shard's key (digest of its core columns), so a shard that did not
change keeps its annotations, whatever happens to its neighbours.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.atomic import read_json, write_json
from engine.base.errors import InputError, problem
from engine.formats.core_of_text import OF_TEXT, text_columns
from engine.formats.messages import MESSAGES, WHOLE, shown, spans_of_text, texts_of

MESSAGES_COLUMN = "messages"


@dataclass(frozen=True)
class Shard:
    """A run of documents of one source; the unit of work and of re-use."""

    source: str
    name: str
    key: str
    num_rows: int
    num_bytes: int
    ids_path: Path
    text_path: Path
    text_column: str
    row_groups: tuple[int, ...]
    has_messages: bool = False
    """Whether its documents are chats, with a column `messages` beside the text."""
    field: str = "text"
    """What whoever reads it takes for the text: text, all, prompt or response (engine.formats.messages)."""

    def read_text(self, rows: Sequence[int] | None = None) -> pa.ChunkedArray:
        """Return the texts, all or those of some rows, as Arrow large strings, null where a row has none.

        Raises InputError where the file was renamed, cut short or changed since it was read in.
        """
        if self.field in WHOLE:
            return self._read(self.text_column, rows).cast(pa.large_string())
        if not self.has_messages:
            return pa.chunked_array([pa.nulls(self.num_rows if rows is None else len(rows), pa.large_string())])
        found = [texts_of(chunk, self.field) for chunk in self.read_messages(rows).chunks]
        return pa.chunked_array(found, pa.large_string())

    def read_messages(self, rows: Sequence[int] | None = None) -> pa.ChunkedArray:
        """Return the messages of each row (MESSAGES), null where it could not be read; as `read_text` raises."""
        return self._read(MESSAGES_COLUMN, rows).cast(MESSAGES)

    def read_shown(self, rows: Sequence[int]) -> list[str | None]:
        """Return the texts of some rows as people read them, those of chats with roles; as `read_text` raises."""
        if not self.has_messages:
            return self.read_text(rows).to_pylist()
        return [None if chat is None else shown(chat) for chat in self.read_messages(rows).to_pylist()]

    def spans_of_text(self, spans: pl.Series) -> pl.Series:
        """Return spans of the shard's field, a list of structs with start and end per row, as spans of the text."""
        if self.field in WHOLE or not self.has_messages or spans.null_count() == len(spans):
            return spans
        rows = [
            found if found is None else sorted(spans_of_text(chat, self.field, found), key=lambda one: one["start"])
            for found, chat in zip(spans.to_list(), self.read_messages().to_pylist(), strict=True)
        ]
        return pl.Series(spans.name, rows, dtype=spans.dtype)

    def _read(self, column: str, rows: Sequence[int] | None = None) -> pa.ChunkedArray:
        """Return a column of the text file, of the whole shard or of some rows, from the row groups they lie in."""
        try:
            file = pq.ParquetFile(self.text_path)
            there = [group for group in self.row_groups if group < file.num_row_groups]
            sizes = [file.metadata.row_group(group).num_rows for group in there]
            if sum(sizes) == self.num_rows:
                needed, places = _row_groups(sizes, rows)
                table = file.read_row_groups([there[number] for number in needed], columns=[column])
                return table.column(0) if places is None else table.column(0).take(pa.array(places, pa.int64()))
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                problem(
                    self.text_path,
                    f"cannot be read ({_first_line(error)})",
                    "the whole file as it was",
                    "run the recipe again",
                )
            ) from error
        raise InputError(
            problem(
                self.text_path,
                f"{sum(sizes)} rows",
                f"{self.num_rows} rows as when it was read in",
                "run the recipe again",
            )
        )

    def read_core(self, columns: Sequence[str] | None = None, texts: pa.ChunkedArray | None = None) -> pl.DataFrame:
        """Return the core columns, one row per document; digest and sizes are those of the shard's field.

        texts: what `read_text` returned, where the caller has it.
        """
        core = pl.read_parquet(self.ids_path, columns=list(columns) if columns is not None else None)
        sizes = [name for name in OF_TEXT if name in core.columns]
        if self.field in WHOLE or not sizes:
            return core
        return core.with_columns(text_columns(self.read_text() if texts is None else texts, sizes))


@dataclass(frozen=True)
class SourceDocuments:
    """All documents of one source."""

    name: str
    digest: str
    """Digest of the documents themselves, the same for any cut into files or shards."""
    folder: Path
    shards: tuple[Shard, ...]
    config: dict[str, Any]

    def of_field(self, field: str) -> "SourceDocuments":
        """Return the same documents, their text being `field`."""
        return replace(self, shards=tuple(replace(shard, field=field) for shard in self.shards))

    @property
    def num_documents(self) -> int:
        """Rows of the source, those without text included."""
        return sum(shard.num_rows for shard in self.shards)


def write_source(source: SourceDocuments) -> None:
    """Write source.json; the shards' files are there already."""
    shards = [
        {
            "name": shard.name,
            "key": shard.key,
            "rows": shard.num_rows,
            "bytes": shard.num_bytes,
            "text_path": _stored(shard.text_path, source.folder),
            "text_column": shard.text_column,
            "row_groups": list(shard.row_groups),
            "has_messages": shard.has_messages,
        }
        for shard in source.shards
    ]
    content = {"name": source.name, "digest": source.digest, "config": source.config, "shards": shards}
    write_json(source.folder / "source.json", content)


def read_source(folder: Path) -> SourceDocuments:
    """Read source.json of a finished documents folder."""
    content = read_json(folder / "source.json")
    shards = tuple(
        Shard(
            source=content["name"],
            name=row["name"],
            key=row["key"],
            num_rows=row["rows"],
            num_bytes=row["bytes"],
            ids_path=folder / f"{row['name']}.ids.parquet",
            text_path=folder / row["text_path"],
            text_column=row["text_column"],
            row_groups=tuple(row["row_groups"]),
            has_messages=row["has_messages"],
        )
        for row in content["shards"]
    )
    return SourceDocuments(content["name"], content["digest"], folder, shards, content["config"])


def _stored(text_path: Path, folder: Path) -> str:
    # Converted shards are stored relative, so that a workspace can be moved; the user's own files stay absolute.
    return text_path.name if text_path.parent == folder else str(text_path.resolve())


def _row_groups(sizes: Sequence[int], rows: Sequence[int] | None) -> tuple[list[int], list[int] | None]:
    """Return which groups of these many rows hold `rows`, and where each row stands in them; all, None for None."""
    if rows is None:
        return list(range(len(sizes))), None
    starts = list(accumulate(sizes, initial=0))
    group_of = [bisect_right(starts, row) - 1 for row in rows]
    needed = sorted(set(group_of))
    before = dict(zip(needed, accumulate((sizes[group] for group in needed), initial=0), strict=False))
    return needed, [row - starts[group] + before[group] for row, group in zip(rows, group_of, strict=True)]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
