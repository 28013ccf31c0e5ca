"""Parquet, read where it lies: shards are runs of row groups of the user's own files.

The text may be a string, a large string, or a dictionary of strings. The format does not check that strings are UTF-8,
so all columns we read are checked. With `on_bad_row: drop` a file that holds other bytes is copied into the workspace,
the damaged strings as null, and its damaged rows have the problem `invalid_utf8`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.base.errors import InputError, problem
from engine.formats.columns import STATED
from engine.sources._columns import READ_PROBLEM, TEXT
from engine.sources._config import FileConfig, missing_column, row_problem
from engine.sources._files import find_files

VERSION = 1
IN_PLACE = True
SUFFIXES = (".parquet", ".pq")
SHARD_BYTES = 64 << 20


class Config(FileConfig):
    """Parquet files."""

    stage: Literal["parquet"] = "parquet"


def files(config: Config, base: Path) -> list[Path]:
    """Return the input files; raises InputError for a pattern without any."""
    return find_files(config, base)


def runs(path: Path, config: Config, shard_bytes: int | None = None) -> list[tuple[int, ...]]:
    """Return runs of row groups with about `shard_bytes` (default 64 MB) of text each, by the sizes in the footer.

    Raises InputError for a file that is no whole Parquet file, lacks a mapped column, or whose text is no string.
    """
    with _open(path) as file:
        _check(path, file.schema_arrow, config)
        metadata = file.metadata
    leaf = next(i for i in range(metadata.num_columns) if metadata.schema.column(i).path == config.mapping["text"])
    found: list[tuple[int, ...]] = []
    run: list[int] = []
    size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.num_rows == 0:
            continue
        run.append(number)
        size += group.column(leaf).total_uncompressed_size
        if size >= (shard_bytes or SHARD_BYTES):
            found.append(tuple(run))
            run, size = [], 0
    return [*found, tuple(run)] if run else found


def read_run(path: Path, row_groups: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
    """Return these row groups, all columns or those named; raises InputError where pages are damaged."""
    with _open(path) as file:
        try:
            return file.read_row_groups(list(row_groups), columns=list(columns) if columns is not None else None)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, error) from error


def read_columns(path: Path, config: Config) -> list[str]:
    """Return the columns of a file that fill core columns."""
    with _open(path) as file:
        present = set(file.schema_arrow.names)
    wanted = list(dict.fromkeys([*config.mapping.values(), *STATED]))
    return [name for name in wanted if name in present]


def invalid_rows(table: pa.Table) -> np.ndarray:
    """Return bool[rows]: where a string column holds bytes that are not UTF-8."""
    found = np.zeros(table.num_rows, dtype=bool)
    for column in table.columns:
        if _is_string(column.type) and not _is_valid(column):
            found |= np.array([not _is_utf8(value) for value in _bytes_of(column)], dtype=bool)
    return found


def require_utf8(path: Path, config: Config) -> bool:
    """Return whether all strings that fill core columns are UTF-8.

    Raises InputError naming the file and the first row (from 0) where one is not, unless on_bad_row: drop.
    """
    first = 0
    for row_groups in runs(path, config):
        invalid = invalid_rows(read_run(path, row_groups, read_columns(path, config)))
        if invalid.any():
            row = first + int(np.flatnonzero(invalid)[0])
            row_problem(f"{path}, row {row}", "a string that is not UTF-8", "invalid_utf8", config)
            return False
        first += len(invalid)
    return True


def cleaned(table: pa.Table, read: Sequence[str]) -> pa.Table:
    """Return a copy whose strings are all UTF-8, the others null; `read_problem` says where one of `read` was not.

    A row with a problem keeps no text: all columns of `read` are null there.
    """
    bad = invalid_rows(table.select(list(read)))
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        clean = column
        if _is_string(column.type) and not _is_valid(column):
            values = [value if _is_utf8(value) else None for value in _bytes_of(column)]
            clean = pa.chunked_array([pa.array(values, pa.large_binary()).cast(TEXT)])
        columns[name] = pc.if_else(pa.array(bad), pa.scalar(None, clean.type), clean) if name in read else clean
    problems = pa.array(["invalid_utf8" if is_bad else None for is_bad in bad], pa.large_string())
    return pa.table(columns | {READ_PROBLEM: problems})


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(problem(path, f"cannot be read ({reason})", "a whole Parquet file", "copy or download it again"))


def _check(path: Path, schema: pa.Schema, config: Config) -> None:
    for core, column in config.mapping.items():
        if column not in schema.names:
            raise missing_column(path, core, column, schema.names)
    text = schema.field(config.mapping["text"])
    kind = text.type.value_type if pa.types.is_dictionary(text.type) else text.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        fix = "name the column of strings: columns: {text: <column>}"
        raise InputError(problem(path, f"column '{text.name}' holds {text.type}", "strings", fix))


def _is_string(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_valid(column: pa.ChunkedArray) -> bool:
    try:
        for chunk in column.chunks:
            # Validation of a dictionary array does not look into its dictionary.
            (chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _bytes_of(column: pa.ChunkedArray) -> list[bytes | None]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.large_binary()).to_pylist()


def _is_utf8(value: bytes | None) -> bool:
    try:
        _ = value is None or value.decode()
    except UnicodeDecodeError:
        return False
    return True
