"""How much of a text is written in capitals: an annotator as another package brings it, found by its entry point."""

from typing import Literal

import polars as pl
from pydantic import Field

from engine.base.stage import Column, StageConfig
from engine.formats.annotation import ShardView

SCOPE = "shard"
VERSION = 1
HOLDS_GIL = True
READS = ("text",)
ADDS = {
    "shouting__fraction": Column(pl.Float64, "capitals of all letters, rounded to 1e-4; null without a letter"),
    "shouting__is_loud": Column(pl.Boolean, "whether that is more than the recipe allows; null without a letter"),
}
DROPS = {"shouted": "shouting__is_loud"}


class Config(StageConfig):
    """Options of shouting."""

    stage: Literal["shouting"] = "shouting"
    at_most: float = Field(default=0.5, ge=0, le=1, description="fraction of capitals that is not loud yet")


def annotate(shard: ShardView, config: Config) -> pl.DataFrame:
    """Return the columns, one row per document."""
    text = pl.Series("text", pl.from_arrow(shard.text))
    letters, capitals = text.str.count_matches(r"\p{L}"), text.str.count_matches(r"\p{Lu}")
    fraction = pl.select(pl.when(letters > 0).then((capitals / letters).round(4))).to_series()
    return pl.DataFrame({"shouting__fraction": fraction, "shouting__is_loud": fraction > config.at_most})
