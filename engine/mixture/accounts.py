"""What a mixture takes from each source and what it leaves: manifest rows, ledger, effective number of sources."""

import math
from collections.abc import Iterable, Mapping

import polars as pl

from engine.formats.ledger import SCHEMA as LEDGER_SCHEMA
from engine.formats.manifest import MixtureSource

UNITS = ("documents", "bytes", "tokens")


def effective_sources(amounts: Iterable[int]) -> float:
    """Return exp(H) of the shares of these counts, rounded to 1e-4: n for n equal sources, 0 for none.

    H: Shannon entropy in nats (Hill 1973, diversity of order 1).
    """
    counts = sorted(count for count in amounts if count)
    total = sum(counts)
    entropy = -math.fsum(count * math.log(count / total) for count in counts) / total if counts else -math.inf
    return round(math.exp(entropy), 4)


def effective_before_and_after(ledger: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Return unit -> {before, after}: effective number of sources of what came in and of what was kept.

    ledger: of one step (engine.formats.ledger). Tokens are left out where a source has none counted.
    """
    found = {}
    for unit in UNITS:
        rows = ledger.filter(pl.col("outcome").is_in(["in", "kept"]))
        if rows.height and not rows[unit].null_count():
            found[unit] = {
                when: effective_sources(
                    rows.filter(pl.col("outcome") == outcome).group_by("source").agg(pl.col(unit).sum())[unit]
                )
                for when, outcome in (("before", "in"), ("after", "kept"))
            }
    return found


def source_rows(
    documents: pl.DataFrame,
    candidates: pl.DataFrame,
    budgets: Mapping[tuple[str, bool], int],
    input_digests: Mapping[str, str],
) -> list[MixtureSource]:
    """Return one row per source and role, domain text first, then by name.

    `documents` has the candidates' columns, `is_replay` and `repeats`; `budgets`: (source, is_replay) -> supervised
    tokens.
    """
    used = documents.with_columns(
        *(
            (pl.col(name).cast(pl.Int64) * pl.col("repeats").cast(pl.Int64)).alias(f"all_{name}")
            for name in ("num_tokens", "supervised_tokens")
        )
    )
    rows = []
    for source, is_replay in sorted(budgets, key=lambda key: (key[1], key[0])):
        there = candidates.filter(pl.col("source") == source)
        mine = used.filter((pl.col("source") == source) & (pl.col("is_replay") == is_replay))
        licenses = mine.group_by(pl.col("license").fill_null("unknown")).len().sort("license")
        rows.append(
            MixtureSource(
                source=source,
                is_replay=is_replay,
                input_digest=input_digests[source],
                budget_tokens=budgets[source, is_replay],
                available_documents=there.height,
                available_tokens=total(there, "num_tokens"),
                documents=mine.height,
                unique_tokens=total(mine, "num_tokens"),
                tokens=total(mine, "all_num_tokens"),
                supervised_tokens=total(mine, "all_supervised_tokens"),
                max_repeats=int(mine["repeats"].max()),  # type: ignore[arg-type]  # a column of integers, not empty
                licenses=dict(licenses.iter_rows()),
            )
        )
    return rows


def ledger(step: str, candidates: pl.DataFrame, documents: pl.DataFrame) -> pl.DataFrame:
    """Return the mixture's ledger (engine.formats.ledger): per source what came in, is used, and is over budget.

    Every document counts once, however often it is used.
    """
    is_used = pl.col("doc_id").is_in(documents["doc_id"].implode())
    outcome = pl.when(is_used).then(pl.lit("kept")).otherwise(pl.lit("over_budget"))
    rows = pl.concat([candidates.with_columns(outcome=pl.lit("in")), candidates.with_columns(outcome=outcome)])
    schema = pl.Schema(LEDGER_SCHEMA)
    return (
        rows.group_by("source", "outcome")
        .agg(
            pl.len().alias("documents"),
            pl.col("num_bytes").cast(pl.Int64).sum().alias("bytes"),
            pl.col("num_tokens").cast(pl.Int64).sum().alias("tokens"),
        )
        .with_columns(step=pl.lit(step), reason=pl.lit(None, pl.String))
        .select(schema.names())
        .cast(schema)
        .sort("source", pl.col("outcome").replace_strict({"in": 0, "kept": 1, "over_budget": 2}))
    )


def total(frame: pl.DataFrame, column: str) -> int:
    """Return the sum of an integer column in 64 bits."""
    return int(frame[column].cast(pl.Int64).sum())
