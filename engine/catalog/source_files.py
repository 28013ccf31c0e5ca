"""The files of one source as SELECTs: ids, texts and row-aligned columns beside each other, joined by position.

Measured on DuckDB 2.0: a POSITIONAL JOIN of bare `read_parquet` calls streams, while a subquery on one side is first
held in memory as a whole; and each join runs on one thread. So a source is cut into pieces, which run beside one
another, and parts of which the query names no column are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.errors import InputError, problem
from engine.catalog.named import Named
from engine.catalog.relation import identifier, read_files, text_literal, typed
from engine.formats.annotation import part_path
from engine.formats.columns import CORE, STATED
from engine.formats.documents import MESSAGES_COLUMN, Shard, SourceDocuments

PIECE_ROWS = 2_000_000
"""Rows of a source that are joined on one thread."""
MESSAGES_TYPE = 'STRUCT("role" VARCHAR, "content" VARCHAR)[]'
CORE_TYPES = (
    {"doc_id": "UUID", "source": "VARCHAR", "shard": "VARCHAR", "row": "BIGINT", "text": "VARCHAR"}
    | {"messages": MESSAGES_TYPE}
    | typed({name: CORE[name].dtype for name in ("num_bytes", "num_chars", *STATED)})
    | {"read_problem": "VARCHAR"}
)
"""Columns of the view documents."""
_OF_TEXT = ("text", "messages")
_IDS, _TEXTS = "i", "t"


@dataclass(frozen=True)
class Folder:
    """Columns of a row-aligned folder; without one, or where nobody needs them, those in `missing` stand as null."""

    path: Path | None
    columns: Mapping[str, str]
    """Column of the view -> column of the files."""
    missing: Mapping[str, str]
    """Column of the view -> its type in DuckDB."""


@dataclass(frozen=True)
class SourceFiles:
    """One source; every SELECT yields its documents in the same order."""

    documents_of: SourceDocuments

    def select(self, core: Sequence[str], folders: Sequence[Folder], named: Named) -> str:
        """Return the SELECT of these core columns (of CORE_TYPES) and of the columns of row-aligned folders."""
        used = {
            number: one.path
            for number, one in enumerate(folders)
            if one.path is not None and named.has_column(*one.columns)
        }
        with_texts = not set(core).isdisjoint(_OF_TEXT) and named.has_column(*_OF_TEXT)
        with_ids = named.has_column(*(name for name in core if name not in ("source", *_OF_TEXT)))
        with_ids = with_ids or not (used or with_texts)
        items = [self._core(name, with_ids, with_texts) for name in core]
        for number, folder in enumerate(folders):
            for name, own in folder.columns.items():
                if number in used:
                    items.append(f"a{number}.{identifier(own)} AS {identifier(name)}")
                elif name in folder.missing:
                    items.append(f"NULL::{folder.missing[name]} AS {identifier(name)}")
        is_joined = with_ids + with_texts + len(used) > 1
        selects = []
        for shards in self._pieces(with_texts) if is_joined else [list(self.documents_of.shards)]:
            parts = [f"{self._ids(shards)} AS {_IDS}"] if with_ids else []
            parts += [f"{self._texts(shards)} AS {_TEXTS}"] if with_texts else []
            parts += [f"{_aligned(path, shards)} AS a{number}" for number, path in used.items()]
            selects.append(f"SELECT {', '.join(items)} FROM {' POSITIONAL JOIN '.join(parts)}")
        return "\nUNION ALL\n".join(selects)

    def text_digests(self) -> str:
        """Return the SELECT of doc_id and the digest of the text, as hex."""
        ids = self._ids(self.documents_of.shards)
        return f"SELECT {_IDS}.doc_id, lower(hex({_IDS}.text_digest)) AS text_digest FROM {ids} AS {_IDS}"

    def own_columns(self) -> str:
        """Return the SELECT of everything the source itself has, behind doc_id."""
        shards = self.documents_of.shards
        texts = self._texts(shards, "union_by_name = true")
        return f"SELECT i.doc_id, t.* FROM {self._ids(shards)} AS i POSITIONAL JOIN {texts} AS t"

    def _core(self, name: str, with_ids: bool, with_texts: bool) -> str:
        if name == "source":
            return f"{text_literal(self.documents_of.name)} AS source"
        if not (with_texts if name in _OF_TEXT else with_ids):
            return f"NULL::{CORE_TYPES[name]} AS {name}"
        first = self.documents_of.shards[0]
        if name == "text":
            column = "text" if self._text_problem is not None else identifier(first.text_column)
            return f"{_TEXTS}.{column}::VARCHAR AS text"
        if name == "messages":
            has_messages = first.has_messages and self._text_problem is None
            return f"{_TEXTS}.{MESSAGES_COLUMN} AS messages" if has_messages else f"NULL::{MESSAGES_TYPE} AS messages"
        if name == "shard":
            return f"regexp_extract({_IDS}.filename, '([^/\\\\]*)\\.ids\\.parquet$', 1) AS shard"
        return f"{_IDS}.file_row_number AS row" if name == "row" else f"{_IDS}.{name}"

    def _pieces(self, with_texts: bool) -> list[list[Shard]]:
        """Return runs of shards of about PIECE_ROWS rows; with texts, all shards of a text file stay together."""
        pieces: list[list[Shard]] = []
        rows = PIECE_ROWS
        for _, run in groupby(self.documents_of.shards, key=lambda shard: shard.text_path if with_texts else shard.key):
            shards = list(run)
            if rows >= PIECE_ROWS:
                pieces.append([])
                rows = 0
            pieces[-1] += shards
            rows += sum(shard.num_rows for shard in shards)
        return pieces

    def _ids(self, shards: Sequence[Shard]) -> str:
        return read_files([present(one.ids_path) for one in shards], "filename = true", "file_row_number = true")

    def _texts(self, shards: Sequence[Shard], *options: str) -> str:
        if self._text_problem is not None:
            # Raised only where a query asks for the column, so that all other questions can still be answered.
            rows = sum(shard.num_rows for shard in shards)
            return f"(SELECT error({text_literal(self._text_problem)})::VARCHAR AS text FROM range({rows}))"
        return read_files(list(dict.fromkeys(shard.text_path for shard in shards)), *options)

    @cached_property
    def _text_problem(self) -> str | None:
        for path, num_rows in self._text_files.items():
            found = _rows_or_problem(path)
            if found != num_rows:
                wrong = f"{found} rows" if isinstance(found, int) else found
                return problem(path, wrong, f"{num_rows} rows as when it was read in", "run the recipe again")
        return None

    @cached_property
    def _text_files(self) -> dict[Path, int]:
        """Text file -> rows its shards had when it was read in; a file of the user's can hold several shards."""
        shards = self.documents_of.shards
        runs = [
            (path, sum(s.num_rows for s in run)) for path, run in groupby(shards, key=lambda shard: shard.text_path)
        ]
        if len(dict(runs)) != len(runs) or len({shard.text_column for shard in shards}) != 1:
            raise ValueError(f"source {self.documents_of.name}: shards of a text file are not one after the other")
        return dict(runs)


def present(path: Path, fix: str = "run the recipe again") -> Path:
    """Return the path of a file that is there; raises InputError where it is gone."""
    if not path.is_file():
        raise InputError(problem(path, "the file is gone", fix=fix))
    return path


def _aligned(folder: Path, shards: Sequence[Shard]) -> str:
    return read_files([present(part_path(folder, shard)) for shard in shards])


def _rows_or_problem(path: Path) -> int | str:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        return f"cannot be read ({(str(error).splitlines() or [type(error).__name__])[0]})"
