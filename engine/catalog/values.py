"""Values of DuckDB as JSON can hold them: ids and times as text, bytes as hex, not-a-number and infinities as text."""

import datetime
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np

from engine.catalog.relation import identifier

_ZONED = "TIMESTAMP WITH TIME ZONE"


def executed(
    connection: duckdb.DuckDBPyConnection, asked: str, query: str
) -> tuple[duckdb.DuckDBPyConnection, list[str], list[str]]:
    """Run `asked`, which takes the query as its one value; return the result, its columns and their types.

    Times with a zone come as text, in UTC: as values DuckDB hands them over with a package for zones alone.
    """
    result = connection.execute(asked, [query])
    columns = {name: str(dtype) for name, dtype, *_ in result.description or ()}
    as_text = [
        f"CAST({identifier(name)} AS {dtype.replace(_ZONED, 'VARCHAR')}) AS {identifier(name)}"
        for name, dtype in columns.items()
        if _ZONED in dtype
    ]
    if as_text:
        result = connection.execute(f"SELECT * REPLACE ({', '.join(as_text)}) FROM ({asked})", [query])
    return result, list(columns), list(columns.values())


def plain_rows(rows: Sequence[Sequence[Any]], types: Sequence[str]) -> list[list[Any]]:
    """Return the rows with plain values; `types` are DuckDB's types of the columns."""
    # A 32-bit float is shown with the digits it has, not with those its 64-bit neighbour would need.
    of_column = [_single if dtype == "FLOAT" else plain_value for dtype in types]
    return [[plain(value) for plain, value in zip(of_column, row, strict=True)] for row in rows]


def plain_value(value: Any) -> Any:
    """Return one value, also a nested one, as JSON can hold it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(plain_value(key)): plain_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(one) for one in value]
    return _PLAIN.get(type(value), str)(value)


def _single(value: float | None) -> float | str | None:
    return None if value is None else _double(float(str(np.float32(value))))


def _double(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _decimal(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


_PLAIN: dict[type, Callable[[Any], Any]] = {
    float: _double,
    Decimal: _decimal,
    bytes: bytes.hex,
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
}
