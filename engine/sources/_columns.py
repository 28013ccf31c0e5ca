"""Python rows to Arrow columns, and column types that several batches agree on.

Strings, integers, floats and booleans keep their type; nested values, integers beyond 64 bits and columns of mixed
types become strings: what was a string as it stands, everything else as JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic_core import to_json

from engine.base.errors import InputError, problem

READ_PROBLEM = "read_problem"
TEXT = pa.large_string()
_PLAIN = {str: TEXT, int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def to_table(place: object, rows: Sequence[Mapping[str, Any]], problems: Sequence[str | None]) -> pa.Table:
    """Return rows (mappings by column) as a table with the column `read_problem`; absent keys are null."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    if READ_PROBLEM in names:
        needed = "another name; this one is kept for rows that cannot be read"
        raise InputError(problem(place, f"a column is called '{READ_PROBLEM}'", needed, "rename the column"))
    columns = {name: to_array([row.get(name) for row in rows]) for name in names}
    return pa.table(columns | {READ_PROBLEM: pa.array(problems, pa.large_string())})


def to_array(values: Sequence[Any]) -> pa.Array:
    """Return values of any JSON types as one Arrow column."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    if kinds == {int, float}:
        kinds = {float}
    if len(kinds) == 1 and (plain := _PLAIN.get(next(iter(kinds)))):
        try:
            return pa.array(values, plain)
        except (OverflowError, pa.ArrowInvalid):  # an integer beyond 64 bits, or beyond what a float holds
            pass
    return pa.array([None if value is None else json_text(value) for value in values], TEXT)


def json_text(value: Any) -> str:
    """Return a string as it is, everything else as JSON; a float without fraction reads like the integer."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        value = int(value)
    return to_json(value, inf_nan_mode="constants").decode()


def merge_schemas(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the schema that all of these fit into; columns in the order they first appear."""
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            types[field.name] = _merge(types[field.name], field.type) if field.name in types else field.type
    return pa.schema(list(types.items()))


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with the columns and types of `schema`; columns it lacks are null."""
    return pa.table([_conform(table, field) for field in schema], schema=schema)


def _merge(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else TEXT


def _conform(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, field.type)])
    column = table.column(field.name)
    if column.type == field.type:
        return column
    if field.type == TEXT and not (pa.types.is_null(column.type) or pa.types.is_string(column.type)):
        return pa.chunked_array([pa.array([None if v is None else json_text(v) for v in column.to_pylist()], TEXT)])
    return column.cast(field.type, safe=False)
