"""The ledger of a selection: what came in, and what became of it, counted over the codes of the decisions."""

from dataclasses import dataclass

import polars as pl

from engine.formats.ledger import SCHEMA as LEDGER
from engine.formats.selection import KEPT
from engine.select.decide import Decided

STEP = "selection"


@dataclass(frozen=True)
class Cut:
    """What is cut out of the kept documents of a shard."""

    by: str = ""
    """Prefixes of the stages that cut; empty where nothing is cut."""
    num_bytes: int = 0
    num_tokens: int = 0
    """Of the texts before, less those of the texts without what is cut; can be below 0."""


def ledger_rows(
    decided: Decided, num_bytes: pl.Series, tokens: pl.Series | None, source: str, cut: Cut
) -> pl.DataFrame:
    """Return the ledger of some documents of one source: what came in, and what became of it by decision and reason.

    num_bytes, tokens: integers, of the text of each document; tokens None where none were counted, a null counts as 0.
    `cut` has bytes and tokens but no documents, and is taken off what is kept. Rows are sorted.
    """
    documents = pl.DataFrame(
        {
            "code": decided.codes,
            "bytes": num_bytes.cast(pl.Int64),
            "tokens": tokens.cast(pl.Int64) if tokens is not None else pl.Series([0]).new_from_index(0, len(num_bytes)),
        }
    )
    sums = [pl.len().cast(pl.Int64).alias("documents"), pl.col("bytes", "tokens").sum()]
    names = pl.DataFrame(decided.outcomes, schema={"outcome": pl.String, "reason": pl.String}, orient="row")
    by_code = documents.group_by("code").agg(sums)
    # Rules may share a reason, so codes are summed once more.
    outcomes = by_code.select(names[by_code["code"]].get_columns() + by_code.drop("code").get_columns())
    outcomes = outcomes.group_by("outcome", "reason").agg(pl.col("documents", "bytes", "tokens").sum())
    is_kept = pl.col("outcome") == KEPT
    outcomes = outcomes.sort("outcome", "reason").with_columns(
        pl.col("bytes") - pl.when(is_kept).then(cut.num_bytes).otherwise(0),
        pl.col("tokens") - pl.when(is_kept).then(cut.num_tokens).otherwise(0),
    )
    came_in = documents.select(pl.lit("in").alias("outcome"), pl.lit(None, pl.String).alias("reason"), *sums)
    cut_rows = [("cut", cut.by, 0, cut.num_bytes, cut.num_tokens)] if cut.by else []
    rows = pl.concat([came_in, outcomes, pl.DataFrame(cut_rows, schema=outcomes.schema, orient="row")])
    if tokens is None:
        rows = rows.with_columns(pl.lit(None, pl.Int64).alias("tokens"))
    return rows.select(pl.lit(STEP).alias("step"), pl.lit(source).alias("source"), pl.all()).cast(LEDGER)  # type: ignore[arg-type]
