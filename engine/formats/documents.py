"""Document shards: where texts lie, and the core columns beside them.

documents/<source>/<input digest>/
    source.json              what was read, and the list of shards
    00000.ids.parquet        the core columns (engine.formats.columns), one row per document
    00000.parquet            text and all other columns of the source, only where the source had to be converted
    receipt.json

A Parquet source is read where it lies: its shards are runs of row groups of the user's own files. Everything derived
from a shard is row-aligned with it and named by the shard's key (digest of its core columns), so a shard that did not
change keeps its annotations, whatever happens to its neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.atomic import read_json, write_json
from engine.base.errors import InputError, problem


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

    def read_text(self) -> pa.ChunkedArray:
        """Return the texts as Arrow large strings, null where a row has none.

        Raises InputError where the file was renamed, cut short or changed since it was read in.
        """
        try:
            table = pq.ParquetFile(self.text_path).read_row_groups(list(self.row_groups), columns=[self.text_column])
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                problem(
                    self.text_path,
                    f"cannot be read ({_first_line(error)})",
                    "the whole file as it was",
                    "run the recipe again",
                )
            ) from error
        if table.num_rows != self.num_rows:
            raise InputError(
                problem(
                    self.text_path,
                    f"{table.num_rows} rows",
                    f"{self.num_rows} rows as when it was read in",
                    "run the recipe again",
                )
            )
        return table.column(0).cast(pa.large_string())

    def read_core(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the core columns, one row per document."""
        return pl.read_parquet(self.ids_path, columns=list(columns) if columns is not None else None)


@dataclass(frozen=True)
class SourceDocuments:
    """All documents of one source."""

    name: str
    digest: str
    """Digest of the documents themselves, the same for any cut into files or shards."""
    folder: Path
    shards: tuple[Shard, ...]
    config: dict[str, Any]

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
        )
        for row in content["shards"]
    )
    return SourceDocuments(content["name"], content["digest"], folder, shards, content["config"])


def _stored(text_path: Path, folder: Path) -> str:
    # Converted shards are stored relative, so that a workspace can be moved; the user's own files stay absolute.
    return text_path.name if text_path.parent == folder else str(text_path.resolve())


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
