"""Sources before and after the selection: documents, bytes, tokens, shares, licences, effective number of sources."""

from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from engine.formats.selection import KEPT
from engine.report.charts import Bar, Segment, bars
from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import MISSING, amount, count, share

_MAX_BARS = 15


@dataclass(frozen=True)
class Sources:
    """What each source brought and what is left of it."""

    rows: pl.DataFrame
    """source, documents, bytes, kept_documents, kept_bytes, tokens (null without a token store); the recipe's order."""
    licenses: pl.DataFrame
    """license, sources, documents, bytes, kept_documents, kept_bytes; the most bytes first."""

    protected: frozenset[str] = frozenset()
    """Sources of which no rule drops a document."""


def sources(evidence: Evidence) -> Sources:
    """Return what every source brought, and what the selection left of it (everything where there is no selection)."""
    parts = []
    for _, frame in evidence.frames(["source", "license", "num_bytes"]):
        kept = pl.col("decision") == KEPT if "decision" in frame.columns else pl.lit(value=True)
        counted = frame.group_by("source", pl.col("license").fill_null("unknown")).agg(
            pl.len().cast(pl.Int64).alias("documents"),
            pl.col("num_bytes").sum().alias("bytes"),
            kept.sum().cast(pl.Int64).alias("kept_documents"),
            pl.col("num_bytes").filter(kept).sum().alias("kept_bytes"),
        )
        parts.append(counted)
    names = [source.name for source in evidence.sources]
    all_parts = pl.concat(parts) if parts else _NOTHING
    sums = [pl.col("documents", "bytes", "kept_documents", "kept_bytes").sum()]
    rows = pl.DataFrame({"source": names}, schema={"source": pl.String})
    rows = rows.join(all_parts.group_by("source").agg(sums), on="source", how="left", maintain_order="left")
    licenses = all_parts.group_by("license").agg(pl.col("source").n_unique().alias("sources"), *sums)
    return Sources(
        rows.with_columns(pl.exclude("source").fill_null(0)).join(
            _tokens(evidence), on="source", how="left", maintain_order="left"
        ),
        licenses.sort(["bytes", "license"], descending=[True, False]),
        frozenset(source.name for source in evidence.sources if source.config.get("protected", False)),
    )


def sources_chart(numbers: Sources) -> Markup:
    """Return each source's share of all bytes, and of the kept ones."""
    before, after = int(numbers.rows.get_column("bytes").sum()), int(numbers.rows.get_column("kept_bytes").sum())
    largest = numbers.rows.sort(["bytes", "source"], descending=[True, False]).head(_MAX_BARS)
    rows = []
    for name, came, kept in largest.select("source", "bytes", "kept_bytes").iter_rows():
        lanes = ((came, before, "in", "before"), (kept, after, "kept", "after"))
        segments = [
            Segment(
                0,
                100 * value / whole if whole else 0.0,
                tone,
                f"{name} {when}: {share(value, whole)}, {amount(value)}",
                lane,
            )
            for lane, (value, whole, tone, when) in enumerate(lanes)
        ]
        rows.append(Bar(name, f"{share(came, before)} to {share(kept, after)}", tuple(segments)))
    title = "Share of the bytes per source"
    if numbers.rows.height > _MAX_BARS:
        title += f", the {_MAX_BARS} largest of {numbers.rows.height}"
    return bars(title, rows, {"in": "before the selection", "kept": "kept"})


def sources_table(numbers: Sources) -> Table:
    """Return the sources with documents, bytes, tokens and shares, and a row of totals."""
    totals = numbers.rows.select(pl.exclude("source").sum())
    came, kept, tokens = (int(totals.get_column(name).item()) for name in ("bytes", "kept_bytes", "tokens"))
    has_tokens = bool(numbers.rows.get_column("tokens").is_not_null().any())
    rows = []
    everything = pl.concat(
        [numbers.rows, totals.select(pl.lit("all").alias("source"), pl.all())], how="vertical_relaxed"
    )
    for name, documents, size, kept_documents, kept_size, num_tokens in everything.iter_rows():
        row = [
            f"{name} (protected)" if name in numbers.protected else name,
            count(documents),
            amount(size),
            share(size, came),
            count(kept_documents),
            amount(kept_size),
            share(kept_size, kept),
        ]
        row += (
            [count(num_tokens), share(num_tokens, tokens) if num_tokens is not None else MISSING] if has_tokens else []
        )
        rows.append(row)
    headings = ["source", "documents", "bytes", "share", "kept documents", "kept bytes", "kept share"]
    headings += ["stored tokens", "token share"] if has_tokens else []
    # Not those of the ledger: a document is stored with its end and its control tokens, of another tokenizer perhaps.
    stored = "; stored tokens include ends of documents and control tokens" if has_tokens else ""
    return table(headings, rows, caption=f"Sources as read and as kept{stored}", total=True)


def licenses_table(numbers: Sources) -> Table:
    """Return documents and bytes per licence as the sources state it."""
    rows = [
        [name, count(num_sources), count(documents), amount(size), count(kept), amount(kept_size)]
        for name, num_sources, documents, size, kept, kept_size in numbers.licenses.iter_rows()
    ]
    return table(
        ["licence", "sources", "documents", "bytes", "kept documents", "kept bytes"], rows, caption="Licences as stated"
    )


_NOTHING = pl.DataFrame(
    schema={
        "source": pl.String,
        "license": pl.String,
        "documents": pl.Int64,
        "bytes": pl.Int64,
        "kept_documents": pl.Int64,
        "kept_bytes": pl.Int64,
    }
)


def _tokens(evidence: Evidence) -> pl.DataFrame:
    if evidence.store is None:
        return pl.DataFrame(schema={"source": pl.String, "tokens": pl.Int64})
    return evidence.store.documents().group_by("source").agg(pl.col("num_tokens").cast(pl.Int64).sum().alias("tokens"))
