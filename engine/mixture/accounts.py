"""What a mixture takes from each source and what it leaves: manifest rows, ledger, effective number of sources."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from engine.formats.ledger import SCHEMA as LEDGER_SCHEMA
from engine.formats.manifest import MixtureSource, Phase
from engine.mixture.phases import Cell
from engine.mixture.weights import spent

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
    cells: Sequence[Cell],
    candidates: pl.DataFrame,
    input_digests: Mapping[str, str],
    objectives: Mapping[str, str],
) -> list[MixtureSource]:
    """Return one row per phase, source and role: by phase, domain text first, then by name."""
    available = candidates.group_by("source").agg(pl.len(), pl.col("num_tokens").cast(pl.Int64).sum())
    there = {source: (documents, tokens) for source, documents, tokens in available.iter_rows()}
    tokens = candidates["num_tokens"].to_numpy()
    supervised = candidates["supervised_tokens"].to_numpy()
    rows = []
    for cell in sorted(cells, key=lambda cell: (cell.phase, cell.is_replay, cell.source)):
        licenses = candidates["license"].gather(cell.rows).fill_null("unknown").value_counts(name="documents")
        rows.append(
            MixtureSource(
                source=cell.source,
                is_replay=cell.is_replay,
                phase=cell.phase,
                objective=objectives.get(cell.source, "text"),
                input_digest=input_digests[cell.source],
                budget_tokens=cell.budget_tokens,
                available_documents=there[cell.source][0],
                available_tokens=there[cell.source][1],
                documents=cell.rows.size,
                unique_tokens=int(tokens[cell.rows].sum(dtype=np.int64)),
                first_documents=0,  # counted over all rows when the version is written
                first_tokens=0,
                tokens=spent(tokens[cell.rows], cell.repeats),
                supervised_tokens=spent(supervised[cell.rows], cell.repeats),
                max_repeats=int(cell.repeats.max()),
                licenses=dict(licenses.sort("license").iter_rows()),
            )
        )
    return rows


def phase_rows(names_and_curricula: Iterable[tuple[str, str]], rows: Sequence[MixtureSource]) -> list[Phase]:
    """Return one row per phase, the sums of its rows."""
    found = []
    for number, (name, curriculum) in enumerate(names_and_curricula):
        mine = [row for row in rows if row.phase == number]
        found.append(
            Phase(
                name=name,
                curriculum=curriculum,
                budget_tokens=sum(row.budget_tokens for row in mine),
                documents=sum(row.documents for row in mine),
                tokens=sum(row.tokens for row in mine),
                supervised_tokens=sum(row.supervised_tokens for row in mine),
            )
        )
    return found


def ledger(step: str, candidates: pl.DataFrame, cells: Iterable[Cell]) -> pl.DataFrame:
    """Return the mixture's ledger (engine.formats.ledger): per source what came in, is used, and is over budget.

    Every document counts once, however often and in however many phases it is used.
    """
    is_used = np.zeros(candidates.height, dtype=np.bool_)
    for cell in cells:
        is_used[cell.rows] = True
    outcome = pl.when(pl.col("is_used")).then(pl.lit("kept")).otherwise(pl.lit("over_budget"))
    sums = [
        pl.col("documents").sum(),
        pl.col("bytes").sum(),
        pl.col("tokens").sum(),
    ]
    parts = (
        candidates.lazy()
        .with_columns(pl.Series("is_used", is_used))
        .group_by("source", "is_used")
        .agg(
            pl.len().cast(pl.Int64).alias("documents"),
            pl.col("num_bytes").cast(pl.Int64).sum().alias("bytes"),
            pl.col("num_tokens").cast(pl.Int64).sum().alias("tokens"),
        )
        .with_columns(outcome=outcome)
        .drop("is_used")
        .collect()
    )
    whole = parts.group_by("source").agg(sums).with_columns(outcome=pl.lit("in"))
    schema = pl.Schema(LEDGER_SCHEMA)
    return (
        pl.concat([whole, parts.select(whole.columns)])
        .with_columns(step=pl.lit(step), reason=pl.lit(None, pl.String))
        .select(schema.names())
        .cast(schema)
        .sort("source", pl.col("outcome").replace_strict({"in": 0, "kept": 1, "over_budget": 2}))
    )
