"""The licence of each document as an SPDX expression, by a rule, by what the source states, or by the text itself.

The first that says something decides: the recipe's `rules` in their order, then the core column `license` (what the
source or the document's own metadata state), then notices at the beginning of the text. Free names ("Apache 2.0",
"CC BY-SA 3.0", "GPL-2+", addresses of licences) become identifiers (engine.annotate.license.names); what names a family
but no version becomes LicenseRef-..., as `LicenseRef-CC-BY`. Nothing known is `unknown`, a value like others.

Nothing here is legal advice: it is what was stated, in one spelling. What a text says of itself stands in
`license__in_text` as well, so that it can be held against what the source says. Rules are trusted: check them by
`provender sql @licenses`.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator

from engine.annotate import _rules
from engine.base.stage import Column, StageConfig

if TYPE_CHECKING:
    from engine.formats.annotation import ShardView

SCOPE = "shard"
VERSION = 1
UNKNOWN = "unknown"
ADDS = {
    "license__spdx": Column(pl.String, "SPDX licence expression; unknown where nothing is known"),
    "license__from": Column(pl.String, "what it is known from: rule, stated, text; unknown where nothing is known"),
    "license__family": Column(
        pl.String,
        "what it asks for, public_domain to proprietary, other, unknown (engine.annotate.license.families)",
    ),
    "license__in_text": Column(pl.String, "SPDX expression of notices at the beginning of the text; null without any"),
}


class Rule(_rules.Rule):
    """Documents for which every condition holds have this licence."""

    PATTERNS: ClassVar = {"url": "url", "domain": "domain", "stated": "license"}
    license: str = Field(description="SPDX expression or a name of a licence; unknown, to distrust what is stated")
    domain: _rules.Pattern | None = Field(default=None, description="regular expression found in the document's domain")
    stated: _rules.Pattern | None = Field(
        default=None, description="regular expression found in the licence as it is stated"
    )

    @field_validator("license")
    @classmethod
    def _is_a_licence(cls, value: str) -> str:
        from engine.annotate.license.names import spdx_of

        found = spdx_of(value)
        if found == UNKNOWN and value.strip().lower() != UNKNOWN:
            raise ValueError(f"'{value}' is no licence that is known. Write its SPDX identifier, or LicenseRef-<name>")
        return found


class Config(StageConfig):
    """Options of license."""

    stage: Literal["license"] = "license"
    rules: tuple[Rule, ...] = Field(default=(), description="licences the recipe knows; the first that holds decides")
    text_chars: int = Field(
        default=4096, ge=0, description="characters at the beginning of a text that are searched for notices; 0: none"
    )


def READS(config: Config) -> tuple[str, ...]:  # noqa: N802 - the name is the contract's
    """Columns read; the text only where it is searched."""
    return ("source", "license", "url", "domain", *(("text",) if config.text_chars else ()))


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return the columns, one row per document; only `license__in_text` can be null."""
    from engine.annotate.license.families import family_of
    from engine.annotate.license.names import spdx_of
    from engine.annotate.license.notices import notices_in

    documents = shard.columns(["source", "license", "url", "domain"])
    stated = {name: spdx_of(name) for name in documents["license"].unique().drop_nulls()}
    documents = documents.with_columns(
        by_rule=_rules.first_that_fits((rule, rule.license) for rule in config.rules),
        stated=pl.col("license").replace_strict(stated, default=UNKNOWN, return_dtype=pl.String).fill_null(UNKNOWN),
        in_text=notices_in(pl.Series(pl.from_arrow(shard.text)), config.text_chars) if config.text_chars else None,
    ).with_columns(pl.col("in_text").cast(pl.String))
    by_rule, is_stated, in_text = pl.col("by_rule"), pl.col("stated") != UNKNOWN, pl.col("in_text")
    found = documents.select(
        pl.when(by_rule.is_not_null()).then(by_rule).when(is_stated).then("stated").otherwise(in_text).fill_null(UNKNOWN)
        .alias("spdx"),
        pl.when(by_rule.is_not_null()).then(pl.lit("rule")).when(is_stated).then(pl.lit("stated"))
        .when(in_text.is_not_null()).then(pl.lit("text")).otherwise(pl.lit(UNKNOWN)).alias("from"),
        "in_text",
    )  # fmt: skip
    families = {name: family_of(name) for name in found["spdx"].unique()}
    return found.select(
        pl.col("spdx").alias("license__spdx"),
        pl.col("from").alias("license__from"),
        pl.col("spdx").replace_strict(families, return_dtype=pl.String).alias("license__family"),
        pl.col("in_text").alias("license__in_text"),
    )
