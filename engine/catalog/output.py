"""Results as files and streams: csv, jsonl, json, markdown, Parquet. Rows pass through in batches.

The file is written here and not by DuckDB, whose fence allows no writing, and only where the user says.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.atomic import atomic_file
from engine.base.errors import InputError, RecipeError, problem, unknown
from engine.catalog.values import executed, plain_rows

FORMATS = ("table", "markdown", "csv", "json", "jsonl", "parquet")
STREAMED = ("csv", "jsonl")
BATCH_ROWS = 20_000
_ENDINGS = {
    ".txt": "table",
    ".md": "markdown",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
}


def chosen_format(given: str | None, out: Path | str | None, as_json: bool) -> tuple[str | None, Path | None]:
    """Return the format and the path of the file; raises RecipeError where they do not go together."""
    if given is not None and given not in FORMATS:
        raise RecipeError(unknown("--format", "format", given, FORMATS))
    if out is None:
        if given == "parquet":
            raise RecipeError(problem("--format parquet", "no file", "--out FILE", "add --out rows.parquet"))
        if given in STREAMED and as_json:
            raise RecipeError(
                problem(f"--format {given}", "with --json", "one of them", "add --out FILE, or leave one")
            )
        return given, None
    path = Path(out)
    shape = given or _ENDINGS.get(path.suffix.lower())
    if shape is None:
        needed = f"a name that ends with {', '.join(_ENDINGS)}"
        raise RecipeError(problem("--out", f"'{path.name}' says no format", needed, "or add --format"))
    own = _ENDINGS.get(path.suffix.lower(), shape)
    if own != shape:
        fix = f"leave --format out, or name {path.with_suffix(_ending(shape)).name}"
        raise RecipeError(problem(f"--format {shape}", f"the name '{path.name}' says {own}", "one format", fix))
    if path.is_dir():
        raise InputError(problem(path, "is a folder", "a file", "name a file in it"))
    if not path.parent.is_dir():
        raise InputError(problem(path, f"there is no folder {path.parent}", "a folder that exists", "make it first"))
    return shape, path


def _ending(shape: str) -> str:
    return next(ending for ending, one in _ENDINGS.items() if one == shape)


def write_stdout(connection: duckdb.DuckDBPyConnection, asked: str, query: str, shape: str) -> dict[str, Any]:
    """Write the rows to stdout; return columns, types, num_rows and format."""
    rows = _Rows(connection, asked, query)
    count = rows.write(sys.stdout, shape)
    return rows.described(shape) | {"num_rows": count, "out": None}


def write_file(connection: duckdb.DuckDBPyConnection, asked: str, query: str, shape: str, path: Path) -> dict[str, Any]:
    """Write the rows to a file that is whole or not there; return columns, types, num_rows, format and out."""
    with atomic_file(path) as temporary:
        if shape == "parquet":
            try:
                described, count = _write_parquet(connection, asked, query, temporary)
            except pa.ArrowException as error:
                raise InputError(problem("query", " ".join(str(error).split()))) from error
            except OSError as error:
                # Arrow hands over DuckDB's errors as those of a file; those of the disk have a number.
                if error.errno is not None:
                    raise
                raise InputError(problem("query", " ".join(str(error).split()))) from error
        else:
            rows = _Rows(connection, asked, query)
            with temporary.open("w", encoding="utf-8", newline="") as stream:
                count = rows.write(stream, shape)
            described = rows.described(shape)
    return described | {"num_rows": count, "out": str(path)}


def plan_lines(plan: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return the lines of DuckDB's plans as rows of one column."""
    return [[line] for *_, text in plan for line in str(text).rstrip("\n").split("\n")]


def rows_as_text(shape: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows of plain values in a format of text, without the last line break."""
    stream = StringIO()
    write_rows(stream, shape, columns, iter([rows] if rows else []))
    return stream.getvalue().removesuffix("\n")


def write_rows(stream: IO[str], shape: str, columns: Sequence[str], batches: Iterator[Sequence[Sequence[Any]]]) -> int:
    """Write batches of plain values as csv, markdown, json or jsonl; return the number of rows."""
    count = 0
    if shape == "csv":
        csv.writer(stream, lineterminator="\n").writerow(columns)
    elif shape == "markdown":
        stream.write(f"{_line(columns)}|{'---|' * len(columns)}\n")
    elif shape == "json":
        stream.write("[")
    for batch in batches:
        if shape == "csv":
            texts = ([_text(value) for value in row] for row in batch)
            csv.writer(stream, lineterminator="\n").writerows(texts)
        elif shape == "markdown":
            stream.writelines(_line([_text(value) for value in row]) for row in batch)
        elif shape == "jsonl":
            stream.writelines(f"{_object(columns, row)}\n" for row in batch)
        else:
            stream.write(("," if count else "") + "\n" + ",\n".join(_object(columns, row) for row in batch))
        count += len(batch)
    if shape == "json":
        stream.write("\n]\n")
    return count


class _Rows:
    """The result of a query, batch by batch, as plain values."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, asked: str, query: str) -> None:
        self._result, self.columns, self.types = executed(connection, asked, query)

    def described(self, shape: str) -> dict[str, Any]:
        return {"columns": self.columns, "types": self.types, "format": shape}

    def write(self, stream: IO[str], shape: str) -> int:
        if shape != "table":
            return write_rows(stream, shape, self.columns, self._batches())
        from engine.catalog.show import show_sql

        rows = [row for batch in self._batches() for row in batch]
        stream.write(f"{show_sql({'columns': self.columns, 'types': self.types, 'rows': rows})}\n")
        return len(rows)

    def _batches(self) -> Iterator[list[list[Any]]]:
        while batch := self._result.fetchmany(BATCH_ROWS):
            yield plain_rows(batch, self.types)


def _object(columns: Sequence[str], row: Sequence[Any]) -> str:
    return json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, allow_nan=False)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _line(cells: Sequence[str]) -> str:
    shown = (cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>") for cell in cells)
    return f"| {' | '.join(shown)} |\n"


def _write_parquet(
    connection: duckdb.DuckDBPyConnection, asked: str, query: str, path: Path
) -> tuple[dict[str, Any], int]:
    none = connection.execute(f"SELECT * FROM ({asked}) LIMIT 0", [query])
    columns = {name: str(dtype) for name, dtype, *_ in none.description or ()}
    # Names differ: of two that are one, `query` calls the second a_1.
    # DuckDB hands 128-bit integers over as doubles; a decimal of 38 digits keeps them.
    items = ", ".join(
        f'"{name}"::DECIMAL(38, 0) AS "{name}"' if dtype in ("HUGEINT", "UHUGEINT") else f'"{name}"'
        for name, dtype in ((name.replace('"', '""'), dtype) for name, dtype in columns.items())
    )
    reader = connection.sql(f"SELECT {items} FROM ({asked})", params=[query]).to_arrow_reader(BATCH_ROWS)
    uuids = [position for position, dtype in enumerate(columns.values()) if dtype == "UUID"]
    schema = reader.schema
    for position in uuids:
        schema = schema.set(position, pa.field(schema.field(position).name, pa.uuid()))
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
        for batch in reader:
            arrays = [_uuids(one) if number in uuids else one for number, one in enumerate(batch.columns)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            count += batch.num_rows
    return {"columns": list(columns), "types": list(columns.values()), "format": "parquet"}, count


def _uuids(array: pa.Array) -> pa.Array:
    import polars as pl

    digits = pl.Series(pl.from_arrow(array.cast(pa.large_string()))).str.replace_all("-", "", literal=True)
    storage = digits.str.decode("hex").to_arrow().cast(pa.binary()).cast(pa.binary(16))
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)
