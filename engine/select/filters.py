"""Filters: rules of the recipe over columns, each with the reason it gives; the first that fails decides.

A filter keeps a document where its SQL expression is true, and drops it where that is false or null. An expression
speaks about one row: aggregates, windows and subqueries would depend on how the documents are cut into shards.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Discriminator, Field, Tag, field_validator

from engine.base.errors import RecipeError, closest, problem, unknown
from engine.base.stage import StrictModel
from engine.select.presets import HEURISTICS, PRESETS

Action = Literal["drop", "tag"]
DROP: Action = "drop"
TAG: Action = "tag"
_BEYOND_ONE_ROW = {"Agg": "an aggregate", "Over": "a window", "Len": "a count of rows", "SubPlan": "a subquery"}
_VALUES = ("Column", "Literal")


class Filter(StrictModel):
    """One rule: which documents stay, and why the others go."""

    reason: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="drop reason of the documents it does not keep")
    keep: str = Field(description="SQL expression over columns; true keeps, false and null drop")
    action: Action = Field(default=DROP, description="drop, or tag: the document stays, with the reason among its tags")

    @field_validator("keep")
    @classmethod
    def _parses(cls, keep: str) -> str:
        parse_condition(keep)
        return keep


class Preset(StrictModel):
    """A published rule set, by name: engine.select.presets."""

    preset: str = Field(description="name of the rule set")
    prefix: str = Field(
        default=HEURISTICS,
        alias="as",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="prefix of the columns it reads, where heuristics stands in the recipe under another name",
    )

    action: Action = Field(default=DROP, description="what its rules do: drop, or tag")
    where: str | None = Field(
        default=None,
        description="SQL condition; the rules judge only documents for which it is true, as language__top = 'en'",
    )

    @field_validator("where")
    @classmethod
    def _parses(cls, where: str | None) -> str | None:
        if where is not None:
            parse_condition(where)
        return where

    @field_validator("preset")
    @classmethod
    def _exists(cls, preset: str) -> str:
        if preset not in PRESETS:
            guess = closest(preset, PRESETS)
            fix = f". Fix: did you mean '{guess}'?" if guess else ""
            raise ValueError(f"no rule set '{preset}'. Needed: one of {', '.join(sorted(PRESETS))}{fix}")
        return preset

    def filters(self) -> tuple[Filter, ...]:
        """Return its rules as filters, in the order they were published."""
        # Most published rules were made for English web pages; whoever is not meant passes, and so does a null.
        others = "" if self.where is None else f"NOT COALESCE(({self.where}), FALSE) OR "
        return tuple(
            Filter(reason=rule.reason, keep=others + rule.keep.format(h=self.prefix), action=self.action)
            for rule in PRESETS[self.preset]
        )


def _form(item: Any) -> str:
    return "Preset" if isinstance(item, Preset) or (isinstance(item, Mapping) and "preset" in item) else "Filter"


FilterItem = Annotated[Annotated[Filter, Tag("Filter")] | Annotated[Preset, Tag("Preset")], Discriminator(_form)]
"""What stands in a recipe's list of filters."""


TAG_PREFIX = "tagged__"
"""What the columns of `tag_column` begin with."""


def tag_column(reason: str) -> str:
    """Return the name under which balance and control tokens read whether a document has this reason as a tag."""
    return f"{TAG_PREFIX}{reason}"


def expanded(items: Iterable[Filter | Preset]) -> tuple[Filter, ...]:
    """Return the filters of a recipe, each rule set replaced by its rules."""
    return tuple(rule for item in items for rule in (item.filters() if isinstance(item, Preset) else (item,)))


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
