"""Control tokens: what columns say about a document, written in front of it as tokens a model can be steered by.

A tag has a name and labels, and each label is one token, `<|quality:high|>`. Of a text column the labels are values, of
a column of numbers ranges that do not overlap. A document whose value has no label gets no token of that tag.
"""

from itertools import pairwise
from typing import Annotated, Any

import polars as pl
from pydantic import BeforeValidator, Field, field_validator, model_validator

from engine.base.seeded import drawn
from engine.base.stage import StrictModel

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]+$")]
Value = bool | int | str
Bound = int | float | None


def _two_ends(given: Any) -> Any:
    ends = given if isinstance(given, list | tuple) else ()
    if len(ends) != 2 or any(isinstance(end, bool) or not isinstance(end, int | float | None) for end in ends):
        raise ValueError(f"got {given!r}. Needed: two ends, [from, below], such as [0, 50] or [50, null] for no end")
    return given


Range = Annotated[tuple[Bound, Bound], BeforeValidator(_two_ends), Field(description="from, below; null: without end")]


class Tag(StrictModel):
    """One tag: a column, and what its values are called."""

    tag: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name of the tag, first part of its tokens")
    column: str = Field(description="column it says")
    values: dict[Label, list[Value]] | list[Label] | None = Field(
        default=None,
        description="of a column of text, truth or whole numbers: label -> values, or values of a text "
        "column that are their own labels",
    )
    ranges: dict[Label, Range] | None = Field(
        default=None, description="of a column of numbers: label -> [from, below], null for no end"
    )

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, in the order of the recipe."""
        return tuple(self.values if self.values is not None else self.ranges or ())

    @property
    def tokens(self) -> tuple[str, ...]:
        """The control tokens of its labels: `<|tag:label|>`."""
        return tuple(f"<|{self.tag}:{label}|>" for label in self.labels)

    @property
    def label_values(self) -> dict[str, list[Value]]:
        """Label -> the values it stands for; empty where the tag goes by ranges."""
        if isinstance(self.values, dict):
            return dict(self.values)
        return {label: [label] for label in self.values or ()}

    @model_validator(mode="after")
    def _is_one_kind(self) -> "Tag":
        if (self.values is None) == (self.ranges is None):
            found = "it has both values and ranges" if self.values is not None else "it has neither values nor ranges"
            raise ValueError(f"{found}. Needed: one of them, values: [en, de] or ranges: {{short: [0, 50]}}")
        if not self.labels:
            raise ValueError("it has no labels")
        named = [value for values in self.label_values.values() for value in values]
        twice = next((value for value in named if named.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"two labels for {twice!r}; each value may have one")
        return self

    @field_validator("ranges")
    @classmethod
    def _do_not_overlap(cls, ranges: dict[str, Range] | None) -> dict[str, Range] | None:
        ends = (float("-inf"), float("inf"))
        bounds = sorted(
            (ends[0] if low is None else low, ends[1] if below is None else below, label)
            for label, (low, below) in (ranges or {}).items()
        )
        for low, below, label in bounds:
            if low >= below:
                raise ValueError(f"{label}: no number is at least {low} and below {below}")
        for (_, below, label), (low, _, other) in pairwise(bounds):
            if low < below:
                raise ValueError(f"{label} and {other} overlap from {low} on; each number may have one label")
        return ranges


class Config(StrictModel):
    """The control tokens of a recipe."""

    tags: tuple[Tag, ...] = Field(min_length=1, description="tags, in the order in which their tokens stand")
    drop_out: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="share of documents without any of their tags, so that a model can do without",
    )
    drop_out_each: float = Field(default=0, ge=0, le=1, description="share of each tag that is left out of the others")
    grow: bool = Field(
        default=True, description="whether a copy of the tokenizer may get new ids where it has too few free slots"
    )
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of what is left out")

    @field_validator("tags")
    @classmethod
    def _are_distinct(cls, tags: tuple[Tag, ...]) -> tuple[Tag, ...]:
        names = [tag.tag for tag in tags]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two tags are called '{twice}'; one name each")
        return tags


def control_token_columns(config: Config) -> tuple[str, ...]:
    """Return the columns the tags read, each once."""
    return tuple(dict.fromkeys(tag.column for tag in config.tags))


def all_tokens(config: Config) -> tuple[str, ...]:
    """Return every control token of a recipe, in its order."""
    return tuple(token for tag in config.tags for token in tag.tokens)


def assign(documents: pl.DataFrame, config: Config) -> pl.Series:
    """Return the control tokens of each document: List(String) in the order of the recipe, null where there are none.

    documents: doc_id and `control_token_columns`. Values are compared as they are stored, ranges take their lower end
    and not the upper one; null and NaN have no label.
    """
    doc_ids = documents["doc_id"]
    without_any = drawn(doc_ids, config.seed, config.drop_out, "all tags")
    tokens = []
    for tag in config.tags:
        left_out = without_any | drawn(doc_ids, config.seed, config.drop_out_each, f"tag {tag.tag}")
        token = documents.select(_token(tag, documents.schema[tag.column])).to_series()
        tokens.append(pl.select(pl.when(~left_out).then(token)).to_series().alias(tag.tag))
    found = pl.DataFrame(tokens).select(pl.concat_list(pl.all()).list.drop_nulls().alias("control_tokens"))
    return found.select(pl.when(pl.col("control_tokens").list.len() > 0).then("control_tokens")).to_series()


def _token(tag: Tag, dtype: pl.DataType) -> pl.Expr:
    """Return the expression of a tag's token: String, null where the value has no label."""
    column = pl.col(tag.column)
    if tag.ranges is None:
        token_of = {
            value: token
            for token, values in zip(tag.tokens, tag.label_values.values(), strict=True)
            for value in values
        }
        return column.replace_strict(token_of, default=None, return_dtype=pl.String).alias(tag.tag)
    found: Any = pl.when(pl.lit(False)).then(pl.lit(None, pl.String))
    is_number = column.is_not_nan() if dtype.is_float() else pl.lit(True)
    for token, (low, below) in zip(tag.tokens, tag.ranges.values(), strict=True):
        above = pl.lit(True) if low is None else column >= low
        found = found.when(is_number & above & (pl.lit(True) if below is None else column < below)).then(pl.lit(token))
    return pl.when(column.is_not_null()).then(found.otherwise(None)).alias(tag.tag)
