"""Quality scores of kept against dropped documents: the distribution, by source, by drop reason."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from markupsafe import Markup

from engine.formats.annotation import Annotation
from engine.formats.selection import DROPPED, KEPT
from engine.report.charts import Bar, Group, Segment, bars, histogram
from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import count, decimal

_NUM_BINS = 25
_MAX_BARS = 15
_QUANTILES = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}


@dataclass(frozen=True)
class Quality:
    """Scores of one instance of the quality stage; held-out documents and documents without a score are not counted."""

    prefix: str
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    """Kept documents per bin of `edges`; the last bin holds its upper bound too."""
    dropped: tuple[int, ...]
    by_source: pl.DataFrame
    """source, documents, p10, p25, median, p75, p90: of the kept documents."""
    by_reason: pl.DataFrame
    """reason ("kept" or a drop reason), documents, p10, p25, median, p75, p90; the most documents first."""


def quality(evidence: Evidence) -> list[Quality]:
    """Return the scores of every quality stage of the recipe; empty where there is none or nothing was selected."""
    if evidence.selection is None:
        return []
    found = [_scores(evidence, annotation) for annotation in evidence.instances("quality")]
    return [numbers for numbers in found if numbers is not None]


def quality_chart(numbers: Quality) -> Markup:
    """Return the two distributions, each in percent of its own group, so that unequal groups compare."""
    groups = []
    for name, tone, counts in (("kept", "kept", numbers.kept), ("dropped", "lost", numbers.dropped)):
        whole = sum(counts)
        heights = tuple(100 * n / whole if whole else 0.0 for n in counts)
        groups.append(Group(f"{name} ({count(whole)} documents)", tone, heights, is_outline=name == "dropped"))
    return histogram(f"Distribution of {numbers.prefix}__score", numbers.edges, groups, ("score", "% of the group"))


def quality_sources_chart(numbers: Quality) -> Markup:
    """Return the spread of the kept documents' scores per source: 10-90 % light, 25-75 % dark, the median as a line."""
    low, high = numbers.edges[0], numbers.edges[-1]
    rows = []
    for name, documents, p10, p25, median, p75, p90 in numbers.by_source.head(_MAX_BARS).iter_rows():
        hint = f"{name}: 10 % {p10:.3f}, 25 % {p25:.3f}, median {median:.3f}, 75 % {p75:.3f}, 90 % {p90:.3f}"
        pieces = (("track", low, high), ("range", p10, p90), ("middle", p25, p75), ("median", median, median))
        segments = tuple(Segment(a - low, b - a, tone, hint) for tone, a, b in pieces)
        rows.append(Bar(name, f"{median:.3f} ({count(documents)})", segments))
    legend = {"range": "10 to 90 %", "middle": "25 to 75 %", "median": "median"}
    return bars(
        f"Scores of the kept documents per source, from {low:g} to {high:g}: median (documents)",
        rows,
        legend,
        high - low,
    )


def quality_table(numbers: Quality) -> Table:
    """Return the scores of the kept documents and of those that each reason dropped."""
    rows = [
        [reason, count(documents), *(decimal(value, 3) for value in quantiles)]
        for reason, documents, *quantiles in numbers.by_reason.iter_rows()
    ]
    return table(
        ["decision", "documents", "10 %", "25 %", "median", "75 %", "90 %"], rows, caption="Scores by decision"
    )


def _scores(evidence: Evidence, annotation: Annotation) -> Quality | None:
    score = f"{annotation.prefix}__score"
    if score not in annotation.columns:
        return None
    counts = _counted(evidence, score)
    if not counts.height:
        return None
    edges = _edges(float(counts["score"].min()), float(counts["score"].max()))  # type: ignore[arg-type]
    kept, dropped = counts.filter(pl.col("reason") == KEPT), counts.filter(pl.col("reason") != KEPT)
    order = {source.name: position for position, source in enumerate(evidence.sources)}
    return Quality(
        prefix=annotation.prefix,
        edges=tuple(edges.tolist()),
        kept=_histogram(kept, edges),
        dropped=_histogram(dropped, edges),
        by_source=_spread(kept, "source").sort(pl.col("source").replace_strict(order, return_dtype=pl.Int64)),
        by_reason=_spread(counts, "reason").sort(["documents", "reason"], descending=[True, False]),
    )


def _counted(evidence: Evidence, score: str) -> pl.DataFrame:
    # Documents per source, reason ("kept" too) and score. Scores are rounded when stored, so this stays small where the
    # documents do not.
    keys = ["source", "reason", "score"]
    total = pl.DataFrame(schema={"source": pl.String, "reason": pl.String, "score": pl.Float64, "documents": pl.Int64})
    for _, frame in evidence.frames(["source", score]):
        known = frame.filter(pl.col(score).is_finite() & pl.col("decision").is_in([KEPT, DROPPED]))
        rows = known.select(
            "source",
            pl.when(pl.col("decision") == KEPT).then(pl.lit(KEPT)).otherwise("reason").alias("reason"),
            pl.col(score).cast(pl.Float64).alias("score"),
            pl.lit(1, dtype=pl.Int64).alias("documents"),
        )
        total = pl.concat([total, rows]).group_by(keys).agg(pl.col("documents").sum())
    return total.sort(keys)


def _histogram(counts: pl.DataFrame, edges: np.ndarray) -> tuple[int, ...]:
    numbers, _ = np.histogram(counts["score"].to_numpy(), edges, weights=counts["documents"].to_numpy())
    return tuple(int(n) for n in numbers)


def _spread(counts: pl.DataFrame, key: str) -> pl.DataFrame:
    # A quantile is the score of the document at place round(q * (n - 1)) of the n in order.
    by_score = counts.group_by(key, "score").agg(pl.col("documents").sum()).sort(key, "score")
    upto, whole = pl.col("documents").cum_sum(), pl.col("documents").sum()
    quantiles = [
        pl.col("score").filter(upto > (q * (whole - 1) + 0.5).floor()).first().alias(name)
        for name, q in _QUANTILES.items()
    ]
    return (
        by_score.group_by(key, maintain_order=True).agg(whole.alias("total"), *quantiles).rename({"total": "documents"})
    )


def _edges(lowest: float, highest: float) -> np.ndarray:
    # A classifier's score lies in 0..1 and is shown there whole; any other score over the range it has.
    low, high = (0.0, 1.0) if lowest >= 0 and highest <= 1 else (lowest, max(highest, lowest + 1e-6))
    return np.linspace(low, high, _NUM_BINS + 1)
