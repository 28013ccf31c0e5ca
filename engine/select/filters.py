"""Filters: rules of the recipe over columns, each with the reason it gives; the first that fails decides.

A filter keeps a document where its SQL expression is true, and drops it where that is false or null. An expression
speaks about one row: aggregates, windows and subqueries would depend on how the documents are cut into shards.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from pydantic import Field, field_validator

from engine.base.errors import RecipeError, problem, unknown
from engine.base.stage import StrictModel

_BEYOND_ONE_ROW = {"Agg": "an aggregate", "Over": "a window", "Len": "a count of rows", "SubPlan": "a subquery"}
_VALUES = ("Column", "Literal")


class Filter(StrictModel):
    """One rule: which documents stay, and why the others go."""

    reason: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="drop reason of the documents it does not keep")
    keep: str = Field(description="SQL expression over columns; true keeps, false and null drop")

    @field_validator("keep")
    @classmethod
    def _parses(cls, keep: str) -> str:
        parse_condition(keep)
        return keep


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


def condition_columns(condition: str) -> tuple[str, ...]:
    """Return the columns an SQL condition reads, sorted."""
    return tuple(sorted(set(parse_condition(condition).meta.root_names())))


def filter_columns(rule: Filter) -> tuple[str, ...]:
    """Return the columns a filter reads, sorted."""
    return condition_columns(rule.keep)


def check_filter(place: object, rule: Filter, schema: Mapping[str, Any]) -> None:
    """Raise RecipeError where a filter reads a column `schema` (name -> Polars type) lacks, or is no condition."""
    for name in filter_columns(rule):
        if name not in schema:
            raise RecipeError(unknown(f"{place} ({rule.reason})", "column", name, schema))
    try:
        found = (
            pl.LazyFrame(schema=dict(schema)).select(parse_condition(rule.keep).alias("keep")).collect_schema()["keep"]
        )
    except pl.exceptions.PolarsError as error:
        raise RecipeError(problem(f"{place} ({rule.reason})", f"'{rule.keep}': {_first_line(error)}")) from error
    if found not in (pl.Boolean, pl.Null):
        needed = "true, false or null"
        raise RecipeError(
            problem(f"{place} ({rule.reason})", f"'{rule.keep}' is {found}", needed, "write a comparison")
        )


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
