"""The ledger: for every step and source, in = kept + dropped by reason + cut + held out + over budget.

Documents and bytes, and tokens where they are counted (by the recipe's first stage `tokens`); integers only. Bytes and
tokens are those of the text as it was read: what is cut out of a kept document counts as cut, what is replaced in it as
kept, whatever stands there instead. Tokens that are cut are those of the text less those of the text without the cuts,
which can be below 0: where a cut parts a word, more tokens can be left than there were.
"""

import polars as pl

SCHEMA = {
    "step": pl.String,  # selection, or mixture:<name>
    "source": pl.String,
    "outcome": pl.String,  # in, kept, dropped, held_out, cut, over_budget
    "reason": pl.String,  # drop reason, held-out set, rule of balance or what cuts, else null
    "documents": pl.Int64,
    "bytes": pl.Int64,
    "tokens": pl.Int64,  # null where nobody counted them
}
OUTCOMES = ("in", "kept", "dropped", "held_out", "cut", "over_budget")


def unbalanced(ledger: pl.DataFrame) -> pl.DataFrame:
    """Return the (step, source) rows whose outcomes do not add up to what came in; empty where all is well.

    Columns: step, source, unit, came_in, accounted_for.
    """
    is_in = pl.col("outcome") == "in"
    checks = []
    for unit in ("documents", "bytes", "tokens"):
        checks.append(
            ledger.filter(pl.col(unit).is_not_null())
            .group_by("step", "source", maintain_order=True)
            .agg(
                pl.lit(unit).alias("unit"),
                pl.col(unit).filter(is_in).sum().alias("came_in"),
                pl.col(unit).filter(~is_in).sum().alias("accounted_for"),
            )
            .filter(pl.col("came_in") != pl.col("accounted_for"))
        )
    return pl.concat(checks)
