"""Files of scores in pieces: their ids and columns, of the types the recipe says.

CSV and JSON lines are read as text and every value has to be one of its type; Parquet columns have types already. Where
something is wrong, three rows are named (from 1, the header of a CSV file apart), and nothing is guessed.
"""

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from engine.base.errors import InputError, problem

ROWS_AT_ONCE = 1 << 17
CSV_BYTES_AT_ONCE = 8 << 20
SHOWN = 3
_READING = pyarrow.csv.ReadOptions(block_size=CSV_BYTES_AT_ONCE)
_PARSING = pyarrow.csv.ParseOptions(newlines_in_values=True)
_KINDS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_PACKED = (".gz", ".zst", ".bz2")
_NOT_A_NUMBER = r"(?i)^\s*[+-]?nan\s*$"
_NEEDED = {"float": "finite numbers", "int": "whole numbers of 64 bits", "string": "text", "bool": "true or false"}


@dataclass(frozen=True)
class Piece:
    """Some rows of a file."""

    path: Path
    first_row: int
    """Number of the first row, from 1."""
    ids: pa.ChunkedArray
    values: pl.DataFrame
    """Columns by their names in the file, of the types of the recipe."""


def column_name(column: str) -> str:
    """Return what a column of the file is called behind the prefix."""
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")


def pieces(path: Path, id_column: str, columns: Mapping[str, str]) -> Iterator[Piece]:
    """Yield the file or the files of a folder in pieces.

    Raises InputError for a file that cannot be read, columns it lacks, and values that are of another type.
    """
    for file in score_files(path):
        first_row = 1
        for table in _tables(file, _wanted(id_column, columns)):
            plain = {name: _decoded(table.column(name)) for name in table.column_names}
            values = {name: _typed(file, first_row, plain[name], name, kind) for name, kind in columns.items()}
            yield Piece(file, first_row, plain[id_column], pl.DataFrame(values))
            first_row += table.num_rows


def check_columns(path: Path, id_column: str, columns: Mapping[str, str]) -> None:
    """Look at the beginning of every file; raises InputError as `pieces`, as far as that can be seen there.

    Of JSON lines only the first one is read: it has to have an id, but may leave out what is null.
    """
    wanted = _wanted(id_column, columns)
    for file in score_files(path):
        with _reading(file):
            kind = file_kind(file)
            if kind == "parquet":
                _require_columns(file, pq.read_schema(file).names, wanted)
            elif kind == "csv":
                _require_columns(file, _csv_header(file), wanted)
            else:
                with pa.input_stream(file, compression="detect") as stream:
                    lines = ((number, line) for number, line in enumerate(io.BufferedReader(stream), 1) if line.strip())
                    for number, line in islice(lines, 1):
                        _require_columns(file, sorted(_object(file, number, line)), [id_column])


def _wanted(id_column: str, columns: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys([id_column, *columns]))


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without its dictionary, as categories of pandas have one."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def score_files(path: Path) -> list[Path]:
    """Return the files of scores at a path, sorted; raises InputError where there is none or they are of two kinds."""
    found = [path]
    if path.is_dir():
        found = sorted(inner for inner in path.iterdir() if inner.is_file() and file_kind(inner) is not None)
    kinds = {file_kind(file) for file in found}
    if len(kinds) != 1 or None in kinds:
        what = f"files of {len(kinds)} kinds" if len(kinds) > 1 else "no file of scores"
        raise InputError(problem(path, what, f"one of {', '.join(_KINDS)} (text also with {', '.join(_PACKED)})"))
    return found


def file_kind(path: Path) -> str | None:
    """Return parquet, csv or jsonl, None for a file of another kind."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        return _KINDS.get(suffixes[-2]) if len(suffixes) > 1 and suffixes[-2] != ".parquet" else None
    return _KINDS.get(suffixes[-1]) if suffixes else None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(problem(path, f"cannot be read ({reason})", "a whole file of scores")) from error


def _tables(path: Path, names: Sequence[str]) -> Iterator[pa.Table]:
    kind = file_kind(path)
    with _reading(path):
        if kind == "parquet":
            with pq.ParquetFile(path) as file:
                _require_columns(path, file.schema_arrow.names, names)
                for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(names)):
                    yield pa.Table.from_batches([batch])
        elif kind == "csv":
            yield from _csv_tables(path, names)
        else:
            with pa.input_stream(path, compression="detect") as stream:
                yield from _jsonl_tables(path, io.BufferedReader(stream), names)


def _require_columns(path: Path, present: Sequence[str], names: Sequence[str]) -> None:
    lacking = [name for name in names if name not in present]
    if lacking:
        found = f"no column {', '.join(map(repr, lacking[:SHOWN]))} (have: {', '.join(present)})"
        raise InputError(problem(path, found, "the columns the recipe names under id and columns"))
    if twice := [name for name in names if list(present).count(name) > 1]:
        found = f"several columns {', '.join(map(repr, twice[:SHOWN]))}"
        raise InputError(problem(path, found, "one column of a name", "call the others something else, or remove them"))


def _csv_tables(path: Path, names: Sequence[str]) -> Iterator[pa.Table]:
    _require_columns(path, _csv_header(path), names)
    converting = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.large_string()),
        include_columns=list(names),
        strings_can_be_null=True,
        null_values=[""],
    )
    with (
        pa.input_stream(path, compression="detect") as stream,
        pyarrow.csv.open_csv(stream, _READING, _PARSING, converting) as reader,
    ):
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _csv_header(path: Path) -> list[str]:
    with (
        pa.input_stream(path, compression="detect") as stream,
        pyarrow.csv.open_csv(stream, _READING, _PARSING) as reader,
    ):
        names: list[str] = reader.schema.names
        return names


def _jsonl_tables(path: Path, stream: BinaryIO, names: Sequence[str]) -> Iterator[pa.Table]:
    numbered = enumerate(stream, 1)
    seen: set[str] = set()
    while lines := list(islice(numbered, ROWS_AT_ONCE)):
        rows = [_object(path, number, line) for number, line in lines if line.strip()]
        for row in rows:
            seen.update(row)
        # A column may be left out where it is null, but not everywhere.
        _require_columns(path, sorted(seen), names)
        columns = {name: pa.array([_json_text(row.get(name)) for row in rows], pa.large_string()) for name in names}
        yield pa.table(columns)


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(problem(f"{path}, line {number:,}", f"no JSON ({error})", "one object a line")) from error
    if not isinstance(row, dict):
        raise InputError(problem(f"{path}, line {number:,}", f"{type(row).__name__}", "one object a line"))
    return row


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        # 1.0 is 1, as in the ids of documents.
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if type(value) is int else json.dumps(value)


def _typed(path: Path, first_row: int, column: pa.ChunkedArray, name: str, kind: str) -> pl.Series:
    raw = pl.Series(name, pl.from_arrow(column))
    values = _from_text(raw, kind) if raw.dtype == pl.String else _from_typed(raw, kind)
    if values is None:
        found = f"it is {raw.dtype}"
        raise InputError(
            problem(f"{path}, column '{name}'", found, _NEEDED[kind], "mend it, or its type in the recipe")
        )
    is_lost = raw.is_not_null() & values.is_null() & ~_is_not_a_number(raw, kind)
    if is_lost.any():
        rows = is_lost.arg_true()
        shown = ", ".join(f"'{raw[row]}' in row {first_row + row:,}" for row in rows[:SHOWN])
        more = f" and {len(rows) - SHOWN:,} more near them" if len(rows) > SHOWN else ""
        fix = "mend them, or the type in the recipe"
        raise InputError(problem(f"{path}, column '{name}'", f"{shown}{more}", _NEEDED[kind], fix))
    return values


def _is_not_a_number(raw: pl.Series, kind: str) -> pl.Series:
    """Return which values are written as NaN: nulls of every type but text, whatever the format."""
    if raw.dtype.is_float():
        return raw.is_nan().fill_null(False)
    if raw.dtype == pl.String and kind != "string":
        return raw.str.contains(_NOT_A_NUMBER).fill_null(False)
    return pl.repeat(False, len(raw), dtype=pl.Boolean, eager=True)


def _from_text(raw: pl.Series, kind: str) -> pl.Series | None:
    """Return text as values of a type, null where it is none."""
    if kind == "string":
        return raw
    text = raw.str.strip_chars()
    if kind == "bool":
        lower = text.str.to_lowercase()
        return lower.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    if kind == "int":
        whole = text.str.extract(r"^([+-]?[0-9]+)(?:\.0*)?$").str.strip_prefix("+")
        return whole.cast(pl.Int64, strict=False)
    return _rounded(text.cast(pl.Float64, strict=False))


def _from_typed(raw: pl.Series, kind: str) -> pl.Series | None:
    """Return values of another type, null where they do not fit, None where the column is of another kind."""
    dtype = raw.dtype
    if dtype == pl.Null:
        return raw.cast({"float": pl.Float64, "int": pl.Int64, "string": pl.String, "bool": pl.Boolean}[kind])
    if kind == "string":
        return raw.cast(pl.String) if dtype in (pl.Categorical, pl.Enum) else None
    if kind == "bool":
        return raw if dtype == pl.Boolean else None
    if not dtype.is_numeric():
        return None
    if kind == "float":
        return _rounded(raw.cast(pl.Float64))
    if dtype.is_integer():
        return raw.cast(pl.Int64, strict=False)
    whole = raw.cast(pl.Int64, strict=False)
    return pl.select(pl.when(whole.cast(pl.Float64) == raw.cast(pl.Float64)).then(whole)).to_series()


def _rounded(values: pl.Series) -> pl.Series:
    """Return finite values rounded to 1e-4, null for others."""
    # Adding zero makes -0.0 and 0.0 the same value.
    rounded = values.round(4) + 0.0
    return pl.select(pl.when(rounded.is_finite()).then(rounded)).to_series()
