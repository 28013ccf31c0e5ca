"""Conditions: SQL expressions of a recipe over the columns of one document, true, false or null.

Aggregates, windows and subqueries are refused: they would depend on how the documents are cut into shards.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import polars as pl
from pydantic import AfterValidator

from engine.base.errors import RecipeError, problem, unknown

_BEYOND_ONE_ROW = {"Agg": "an aggregate", "Over": "a window", "Len": "a count of rows", "SubPlan": "a subquery"}
_VALUES = ("Column", "Literal")


def parse_condition(condition: str) -> pl.Expr:
    """Return the expression of an SQL condition over the columns of one row; raises ValueError where it is none."""
    try:
        expression = pl.sql_expr(condition)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"not an SQL expression: {_first_line(error)}") from error
    beyond = [
        _BEYOND_ONE_ROW[node]
        for node in _nodes(json.loads(expression.meta.serialize(format="json")))
        if node in _BEYOND_ONE_ROW
    ]
    if beyond:
        raise ValueError(f"{beyond[0]} looks at more than one document; a condition is over the columns of one")
    return expression


def _parsing(condition: str) -> str:
    parse_condition(condition)
    return condition


Condition = Annotated[str, AfterValidator(_parsing)]
"""The text of a condition, refused where it is none."""


def condition_columns(condition: str | None) -> tuple[str, ...]:
    """Return the columns an SQL condition reads, sorted; none for None."""
    return tuple(sorted(set(parse_condition(condition).meta.root_names()))) if condition is not None else ()


def check_condition(place: object, condition: str, schema: Mapping[str, Any]) -> None:
    """Raise RecipeError where a condition reads a column `schema` (name -> Polars type) lacks, or is no condition."""
    for name in condition_columns(condition):
        if name not in schema:
            raise RecipeError(unknown(place, "column", name, schema))
    try:
        types = pl.LazyFrame(schema=dict(schema)).select(parse_condition(condition).alias("holds")).collect_schema()
    except pl.exceptions.PolarsError as error:
        raise RecipeError(problem(place, f"'{condition}': {_first_line(error)}")) from error
    if types["holds"] not in (pl.Boolean, pl.Null):
        found, needed = f"'{condition}' is {types['holds']}", "true, false or null"
        raise RecipeError(problem(place, found, needed, "write a comparison"))


def holds(frame: pl.DataFrame, condition: str, place: object) -> pl.Series:
    """Return for each row whether a condition is true: Boolean[rows], false where it is null.

    Raises RecipeError where it fails on a row, as a CAST of a text that is no number does.
    """
    try:
        values = frame.select(parse_condition(condition).fill_null(False)).to_series()
    except pl.exceptions.PolarsError as error:
        needed = "a condition that has a value for every document"
        fix = "write TRY_CAST for CAST, NULLIF(x, 0) to divide by x"
        raise RecipeError(problem(place, f"'{condition}': {_first_line(error)}", needed, fix)) from error
    # What reads no column has one value, however many rows there are.
    return values if len(values) == frame.height else values.new_from_index(0, frame.height)


def _nodes(value: Any) -> Iterator[str]:
    # Operations of a serialised expression, without the names of its columns and its texts.
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in _VALUES:
                yield from _nodes(inner)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
