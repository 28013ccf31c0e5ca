"""Filters: rules of the recipe over columns, each with the reason it gives; the first that fails decides.

A filter keeps a document where its SQL condition (engine.select.conditions) is true, and drops it where that is false
or null.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from engine.base.errors import closest
from engine.base.stage import StrictModel
from engine.select.conditions import Condition, check_condition, condition_columns
from engine.select.presets import HEURISTICS, PRESETS

Action = Literal["drop", "tag"]
DROP: Action = "drop"
TAG: Action = "tag"


class Filter(StrictModel):
    """One rule: which documents stay, and why the others go."""

    reason: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="drop reason of the documents it does not keep")
    keep: Condition = Field(description="SQL expression over columns; true keeps, false and null drop")
    action: Action = Field(default=DROP, description="drop, or tag: the document stays, with the reason among its tags")


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
    where: Condition | None = Field(
        default=None,
        description="SQL condition; the rules judge only documents for which it is true, as language__top = 'en'",
    )

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


def filter_columns(rule: Filter) -> tuple[str, ...]:
    """Return the columns a filter reads, sorted."""
    return condition_columns(rule.keep)


def check_filter(place: object, rule: Filter, schema: Mapping[str, Any]) -> None:
    """Raise RecipeError where a filter reads a column `schema` (name -> Polars type) lacks, or is no condition."""
    check_condition(f"{place} ({rule.reason})", rule.keep, schema)
