"""Sums of documents, bytes, words and tokens by source and domain, and what they say against the general text."""

from typing import TYPE_CHECKING

import polars as pl
from pydantic import Field

from engine.annotate._units import UNITS
from engine.base.errors import RecipeError, problem
from engine.base.stage import StrictModel

if TYPE_CHECKING:
    from engine.annotate.tokens import Config
    from engine.formats.annotation import Corpus

GROUP = ("source", "domain")
SUMS = ("documents", "bytes", "words", "tokens")
FIT_SCHEMA = {
    "source": pl.String,
    "domain": pl.String,  # null where the document has none
    "is_general": pl.Boolean,
    "documents": pl.Int64,  # with text
    "bytes": pl.Int64,
    "words": pl.Int64,
    "tokens": pl.Int64,
    "tokens_per_word": pl.Float64,  # null without words
    "tokens_per_byte": pl.Float64,
    "bytes_per_token": pl.Float64,
    "ratio_per_word": pl.Float64,  # tokens per word over those of the general text; null without it
    "ratio_per_byte": pl.Float64,
    "tokens_over_general": pl.Int64,  # tokens more than the same bytes take in the general text; null without it
}


class General(StrictModel):
    """The text a tokenizer is taken to fit, which domains are compared with."""

    sources: tuple[str, ...] = Field(min_length=1, description="sources of general text")


def is_general(general: General | None) -> pl.Expr:
    """Return whether a document's source is one of the general text."""
    return pl.col("source").is_in(list(general.sources) if general else [])


def group_sums(corpus: "Corpus", config: "Config") -> pl.DataFrame:
    """Return source, domain, is_general and SUMS (Int64) of every group with text, ordered by source and domain."""
    total = pl.DataFrame(schema={**dict.fromkeys(GROUP, pl.String), **dict.fromkeys(SUMS, pl.Int64)})
    for shard in corpus.shards:
        keys = corpus.columns(shard, list(dict.fromkeys(["source", "num_bytes", config.domain_column])))
        counted = pl.concat([keys, corpus.part(shard)], how="horizontal").drop_nulls("tokens")
        rows = counted.select(
            "source",
            domain(keys, config),
            pl.lit(1, dtype=pl.Int64).alias("documents"),
            pl.col("num_bytes").alias("bytes"),
            pl.col("words").cast(pl.Int64),
            pl.col("tokens").cast(pl.Int64),
        )
        total = pl.concat([total, rows]).group_by(GROUP).agg(pl.col(SUMS).sum())
    return total.with_columns(is_general(config.general).alias("is_general")).sort(GROUP, nulls_last=True)


def domain(frame: pl.DataFrame, config: "Config") -> pl.Expr:
    """Return the column `domain` (String); raises RecipeError where the frame's `domain_column` cannot be one."""
    column = config.domain_column
    dtype = frame.schema[column]
    if dtype.is_nested() or dtype == pl.Binary:
        place = f"{config.column_prefix}: domain_column"
        raise RecipeError(problem(place, f"{column} is of type {dtype}", "a column of single values"))
    return pl.col(column).cast(pl.String).alias("domain")


def fit_table(groups: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of fit.parquet for the sums of groups."""
    whole = groups.filter("is_general").select(SUMS).sum().row(0, named=True)
    rows = [row | _rates(row) | _against(row, whole) for row in groups.iter_rows(named=True)]
    return pl.DataFrame(rows, schema=FIT_SCHEMA)


def rounded_down(part: int, whole: int) -> float | None:
    """Return part / whole rounded down to 1e-4, None where the whole is 0."""
    return part * UNITS // whole / UNITS if whole else None


def _rates(row: dict[str, int]) -> dict[str, float | None]:
    return {
        "tokens_per_word": rounded_down(row["tokens"], row["words"]),
        "tokens_per_byte": rounded_down(row["tokens"], row["bytes"]),
        "bytes_per_token": rounded_down(row["bytes"], row["tokens"]),
    }


def _against(row: dict[str, int], whole: dict[str, int]) -> dict[str, float | int | None]:
    over = row["tokens"] - row["bytes"] * whole["tokens"] // whole["bytes"] if whole["bytes"] else None
    return {
        "ratio_per_word": rounded_down(row["tokens"] * whole["words"], row["words"] * whole["tokens"]),
        "ratio_per_byte": rounded_down(row["tokens"] * whole["bytes"], row["bytes"] * whole["tokens"]),
        "tokens_over_general": over,
    }
