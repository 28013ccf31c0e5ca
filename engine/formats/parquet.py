"""Writing and reading our own Parquet files: atomic, zstd, 128-bit ids as UUID.

DuckDB writes 128-bit integers as doubles and Polars cannot write the UUID type, so pyarrow writes every file: a binary
column whose name is `doc_id` or ends with `_id` and holds 16-byte values gets the Parquet UUID type. DuckDB then reads
UUID, Polars 16-byte binary.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.atomic import atomic_file
from engine.base.errors import InputError, problem

ROW_GROUP_ROWS = 131_072
AGAIN = "delete it and run the recipe again"


def write_parquet(path: Path, frame: pl.DataFrame | pa.Table, row_group_rows: int = ROW_GROUP_ROWS) -> None:
    """Write a frame atomically; the same frame gives the same bytes."""
    table = frame if isinstance(frame, pa.Table) else frame.to_arrow()
    table = _with_uuids(table)
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=row_group_rows, store_schema=False)


def write_parquet_parts(path: Path, parts: Iterable[pl.DataFrame], schema: Mapping[str, Any]) -> int:
    """Write frames one after the other, a row group each, atomically; return the rows written.

    schema: columns of every frame and their types (Polars); without a frame the file has them too, and no row.
    """
    rows, columns = 0, _with_uuids(pl.DataFrame(schema=schema).to_arrow()).schema
    with (
        atomic_file(path) as temporary,
        pq.ParquetWriter(temporary, columns, compression="zstd", store_schema=False) as file,
    ):
        for part in parts:
            file.write_table(_with_uuids(part.to_arrow()))
            rows += part.height
    return rows


def read_parquet(path: Path, columns: list[str] | None = None, fix: str = AGAIN) -> pl.DataFrame:
    """Read one of our files; UUID columns arrive as 16-byte binary.

    Raises InputError, with this fix, for a damaged or missing file.
    """
    with _named(path, fix):
        return pl.read_parquet(path, columns=columns, use_pyarrow=False, glob=False)


def read_parquet_where(path: Path, condition: pl.Expr, fix: str = AGAIN) -> pl.DataFrame:
    """Read the rows for which a condition holds; row groups whose statistics rule it out are not read.

    Raises as `read_parquet`.
    """
    with _named(path, fix):
        return pl.scan_parquet(path, use_statistics=True, glob=False).filter(condition).collect()


@contextmanager
def _named(path: Path, fix: str) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.ComputeError, FileNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(problem(path, f"cannot be read ({reason})", fix=fix)) from error


def _with_uuids(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if field.name.endswith("_id") and pa.types.is_large_binary(field.type) | pa.types.is_binary(field.type):
            storage = table.column(index).cast(pa.binary(16))
            chunks = [pa.ExtensionArray.from_storage(pa.uuid(), chunk) for chunk in storage.chunks]
            table = table.set_column(index, field.name, pa.chunked_array(chunks, type=pa.uuid()))
    return table
