"""Conditions: SQL expressions of a recipe over the columns of one document, true, false or null.

Aggregates, windows and subqueries are refused: they would depend on how the documents are cut into shards.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import polars as pl
from pydantic import AfterValidator

from engine.base.errors import RecipeError, closest, problem, unknown

_BEYOND_ONE_ROW = {"Agg": "an aggregate", "Over": "a window", "Len": "a count of rows", "SubPlan": "a subquery"}
_VALUES = ("Column", "Literal")
_EXAMPLE = "SQL, such as language IN ('en', 'de') AND heuristics__num_words >= 20"
_FIX = "write TRY_CAST for CAST, NULLIF(x, 0) to divide by x"
_NO_COLUMNS = {
    "text": "a condition reads columns beside the text, such as num_chars or heuristics__num_words",
    "None": "write IS NULL or IS NOT NULL",
}
"""What is written like a column and never is one -> what to write."""


def parse_condition(condition: str) -> pl.Expr:
    """Return the expression of an SQL condition over the columns of one row; raises ValueError where it is none."""
    try:
        expression = pl.sql_expr(condition)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"not an SQL expression: {_first_line(error)}. Needed: {_EXAMPLE}") from error
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
    columns = condition_columns(condition)
    for name in columns:
        if name not in schema:
            raise RecipeError(_unknown_column(place, name, condition, schema))
    nobody = pl.DataFrame(schema={name: schema[name] for name in columns})
    try:
        # Worked out over no rows: some mistakes about types are no mistakes to the planner.
        found = nobody.select(parse_condition(condition)).to_series().dtype
    except pl.exceptions.PolarsError as error:
        types = ", ".join(f"{name} is {dtype}" for name, dtype in nobody.schema.items())
        raise RecipeError(
            problem(place, f"'{condition}': {_first_line(error)}", f"what suits its columns: {types}")
        ) from error
    if found not in (pl.Boolean, pl.Null):
        raise RecipeError(problem(place, f"'{condition}' is {found}", "true, false or null", "write a comparison"))


def holds(frame: pl.DataFrame, condition: str, place: object) -> pl.Series:
    """Return for each row whether a condition is true: Boolean[rows], false where it is null.

    Raises RecipeError where it fails on a row, as a CAST of a text that is no number does.
    """
    try:
        values = frame.select(parse_condition(condition).fill_null(False)).to_series()
    except pl.exceptions.PolarsError as error:
        needed, fix = "a condition that has a value for every document", _FIX
        if "is not supported" in _first_line(error):  # by TRY_CAST neither
            fix = "compare the column as it is stored, a date as in date >= '2020-01-31'"
        raise RecipeError(problem(place, f"'{condition}': {_first_line(error)}", needed, fix)) from error
    # What reads no column has one value, however many rows there are.
    return values if len(values) == frame.height else values.new_from_index(0, frame.height)


def _unknown_column(place: object, name: str, condition: str, known: Mapping[str, Any]) -> str:
    """Return the message for a column that is not there, or is no column but a slip."""
    if name in _NO_COLUMNS:
        return problem(place, f"no column '{name}' in '{condition}'", fix=_NO_COLUMNS[name])
    if f'"{name}"' in condition and closest(name, known) is None:
        fix = f"write '{name}' with single quotes where it is a text"
        return problem(place, f"no column '{name}', and double quotes are for names", fix=fix)
    return unknown(place, "column", name, known)


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
