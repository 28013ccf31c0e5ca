"""Rules that give documents a value by what is stated of them: conditions over core columns, no text is read.

Every condition of a rule has to hold; of several rules the first that fits decides. A null fits no condition.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Self

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from engine.base.stage import StrictModel


def _is_a_pattern(value: str) -> str:
    try:
        pl.Series([""]).str.contains(value)
    except pl.exceptions.ComputeError as error:
        said = [line.removeprefix("error: ") for line in str(error).splitlines() if line.startswith("error: ")]
        reason = ", ".join(said) or str(error).splitlines()[0]
        raise ValueError(f"'{value}' is no regular expression ({reason}). Needed: Rust's syntax") from error
    return value


Pattern = Annotated[str, AfterValidator(_is_a_pattern)]
"""A regular expression in Rust's syntax."""


class Rule(StrictModel):
    """The conditions all stages with rules know; a stage adds more of them, and the value a rule gives."""

    PATTERNS: ClassVar[Mapping[str, str]] = {"url": "url"}
    """Key that holds a pattern -> core column it is found in."""
    VALUES: ClassVar[Mapping[str, str]] = {}
    """Key that holds a value -> core column that has to be equal to it."""

    url: Pattern | None = Field(
        default=None, description="regular expression that is found in the document's url (Rust's syntax)"
    )
    sources: tuple[str, ...] = Field(default=(), description="names of sources")

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if not self._conditions():
            keys = [*self.PATTERNS, "sources", *self.VALUES]
            raise ValueError(f"a rule without a condition. Needed: {', '.join(keys[:-1])} or {keys[-1]}")
        return self

    @property
    def condition(self) -> pl.Expr:
        """Whether it fits, over the core columns: Boolean, never null."""
        return pl.all_horizontal(self._conditions()).fill_null(False)

    def _conditions(self) -> list[pl.Expr]:
        patterns = ((getattr(self, key), pl.col(column)) for key, column in self.PATTERNS.items())
        values = ((getattr(self, key), pl.col(column)) for key, column in self.VALUES.items())
        return [
            *(column.str.contains(pattern) for pattern, column in patterns if pattern is not None),
            *([pl.col("source").is_in(list(self.sources))] if self.sources else []),
            *(column == value for value, column in values if value is not None),
        ]


def first_that_fits(rules: Iterable[tuple[Rule, str]]) -> pl.Expr:
    """Return the value (String) of the first rule that fits, null where none does; rules: (rule, its value)."""
    chain: pl.Expr = pl.lit(None, dtype=pl.String)
    for rule, value in reversed(list(rules)):
        chain = pl.when(rule.condition).then(pl.lit(value)).otherwise(chain)
    return chain
