"""Building blocks of the views: SELECTs over lists of files, over nothing with the right columns, small tables.

DuckDB binds no values in CREATE VIEW, so paths and names are quoted here, in one place.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

STORED = "stored"
"""Schema of the views the files of sql/catalog read."""
_GLOB = frozenset("*?[")
_TYPES = {
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.UInt8: "UTINYINT",
    pl.UInt16: "USMALLINT",
    pl.UInt32: "UINTEGER",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.Float64: "DOUBLE",
    pl.List(pl.String): "VARCHAR[]",
}


def text_literal(value: str) -> str:
    """Return a value as an SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a column or view name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def pattern(path: Path) -> str:
    """Return the glob pattern that matches exactly this path: DuckDB takes every path for a pattern."""
    return _literal_pattern(str(path.resolve()))


def _literal_pattern(path: str) -> str:
    return "".join(f"[{c}]" if c in _GLOB else c for c in path)


def read_files(paths: Sequence[Path], *options: str) -> str:
    """Return the table function that reads these Parquet files one after the other, in this order."""
    # Links are followed once for each folder: thousands of shards lie in a few, and each step of a path costs a call.
    folders = {parent: parent.resolve() for parent in {path.parent for path in paths}}
    places = [path.resolve() if path.is_symlink() else folders[path.parent] / path.name for path in paths]
    listed = ", ".join(text_literal(_literal_pattern(str(path))) for path in places)
    return f"read_parquet({', '.join([f'[{listed}]', *options])})"


def typed(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return column -> DuckDB type of a schema of engine.formats; binary columns there are 128-bit ids."""
    return {name: "UUID" if dtype == pl.Binary else _TYPES[dtype] for name, dtype in schema.items()}


def nothing(columns: Mapping[str, str]) -> str:
    """Return a SELECT with these columns (name -> DuckDB type) and no row."""
    return f"SELECT {', '.join(f'NULL::{dtype} AS {identifier(name)}' for name, dtype in columns.items())} WHERE false"


def union(selects: Iterable[str], columns: Mapping[str, str]) -> str:
    """Return all rows of the SELECTs in their order; without any SELECT, no row of these columns."""
    return "\nUNION ALL\n".join(selects) or nothing(columns)


def failing(select: str, damage: str | None) -> str:
    """Return the SELECT; with damage, one that raises it where it is read, so that other questions are answered."""
    if damage is None:
        return select
    raised = f"error({text_literal(damage)})::BOOLEAN"
    return f"SELECT found.* FROM ({select}) AS found FULL JOIN range(1) ON true WHERE {raised}"


def create_view(connection: duckdb.DuckDBPyConnection, name: str, select: str) -> None:
    """Create a view the files of sql/catalog can read."""
    connection.execute(f"CREATE VIEW {STORED}.{identifier(name)} AS {select}")


def create_table(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> None:
    """Create a small table the files of sql/catalog can read."""
    connection.register("frame_of_table", frame.to_arrow())
    connection.execute(f"CREATE TABLE {STORED}.{identifier(name)} AS SELECT * FROM frame_of_table")
    connection.unregister("frame_of_table")


def create_rows(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    frame: pl.DataFrame,
    damage: str | None = None,
    ids: Sequence[str] = (),
) -> None:
    """Create a view of a small table, which raises `damage` where it is read; `ids`: its columns of ids, as text."""
    create_table(connection, f"{name}_rows", frame)
    replaced = ", ".join(f"{identifier(one)}::UUID AS {identifier(one)}" for one in ids)
    columns = f"* REPLACE ({replaced})" if ids else "*"
    create_view(connection, name, failing(f"SELECT {columns} FROM {STORED}.{identifier(f'{name}_rows')}", damage))


def beside(
    constants: Mapping[str, Any], path: Path, schema: Mapping[str, Any], computed: Mapping[str, str] | None = None
) -> str:
    """Return a SELECT of constants, a file's columns, and columns computed from these in place of or after them."""
    columns = {name: _literal(value) for name, value in constants.items()}
    columns |= {name: identifier(name) for name in schema} | dict(computed or {})
    listed = ", ".join(f"{value} AS {identifier(name)}" for name, value in columns.items())
    return f"SELECT {listed} FROM {read_files([path])}"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return text_literal(value)
    return str(value).lower() if isinstance(value, bool) else f"{value}::BIGINT"
