"""Tags: kept documents that a rule names all the same, because it only tags or because their source is protected."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import amount, count, counted, listed, share

_MOST_NAMED = 3
_COUNTS = {"reason": pl.String, "source": pl.String, "documents": pl.Int64, "bytes": pl.Int64}


@dataclass(frozen=True)
class Tags:
    """Documents that stay with tags."""

    rows: pl.DataFrame
    """reason, source, documents, bytes; a document counts for each of its tags. The most documents first."""
    spared: dict[str, int]
    """Protected source -> documents that a rule would have dropped in another source."""
    protected: dict[str, int]
    """Protected source -> its documents."""


def tags(evidence: Evidence) -> Tags | None:
    """Return how many documents carry which tag, or None where nothing is tagged and no source is protected."""
    protected = {s.name: s.num_documents for s in evidence.sources if s.config.get("protected", False)}
    if evidence.selection is None:
        return None
    only_tag = _only_tagging(evidence.selection.rules().get("rules", []))
    parts, spared = [pl.DataFrame(schema=_COUNTS)], dict.fromkeys(protected, 0)
    for shard, frame in evidence.frames(["num_bytes"]):
        tagged = frame.filter(pl.col("tags").is_not_null())
        if tagged.is_empty():
            continue
        if shard.source in protected:
            by_drop = pl.col("tags").list.set_difference(pl.lit(only_tag, pl.List(pl.String))).list.len() > 0
            spared[shard.source] += tagged.filter(by_drop).height
        counts = tagged.explode("tags").group_by(pl.col("tags").alias("reason")).agg(
            pl.len().cast(pl.Int64).alias("documents"), pl.col("num_bytes").sum().alias("bytes")
        )  # fmt: skip
        parts.append(counts.select("reason", pl.lit(shard.source).alias("source"), "documents", "bytes"))
    rows = pl.concat(parts).group_by("reason", "source").agg(pl.col("documents", "bytes").sum())
    if rows.is_empty() and not protected:
        return None
    return Tags(rows.sort(["documents", "reason", "source"], descending=[True, False, False]), spared, protected)


def tags_table(numbers: Tags) -> Table | None:
    """Return one row per tag and source; None where no document is tagged."""
    if numbers.rows.is_empty():
        return None
    rows = [
        [reason, f"{source} (protected)" if source in numbers.protected else source, count(documents), amount(size)]
        for reason, source, documents, size in numbers.rows.iter_rows()
    ]
    caption = "Kept with a tag: a document counts for each of its tags"
    return table(["tag", "source", "documents", "bytes"], rows, 2, caption)


def tags_findings(numbers: Tags | None) -> Iterator[str]:
    """Yield what protection kept that a rule would have dropped."""
    if numbers is not None and (spared := {name: n for name, n in numbers.spared.items() if n}):
        named = [
            f"{counted(documents, 'document')} of '{name}' ({share(documents, numbers.protected[name])})"
            for name, documents in list(spared.items())[:_MOST_NAMED]
        ]
        more = f" and {len(spared) - _MOST_NAMED:,} more sources" if len(spared) > _MOST_NAMED else ""
        yield f"Kept only because their source is protected: {listed(named)}{more}; a rule would have dropped them."


def _only_tagging(rules: list[dict[str, str]]) -> list[str]:
    drops = {rule["reason"] for rule in rules if rule.get("action", "drop") != "tag"}
    return sorted({rule["reason"] for rule in rules} - drops)
