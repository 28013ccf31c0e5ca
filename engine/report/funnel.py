"""The funnel: what came in, was dropped for which reason, was held out, was kept. All from the ledger."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from engine.formats.ledger import unbalanced
from engine.report.charts import Bar, Segment, bars
from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import amount, count, share

STEP = "selection"
_TONES = {"in": "in", "dropped": "lost", "cut": "lost", "held_out": "held", "over_budget": "in", "kept": "kept"}


@dataclass(frozen=True)
class Funnel:
    """The ledger of the selection; `reason` is filled in every row."""

    steps: pl.DataFrame
    """outcome, reason, documents, bytes, tokens over all sources; in first, then the selection's order, kept last."""
    by_source: pl.DataFrame
    """source, outcome, reason, documents, bytes, tokens; sources in the recipe's order."""
    unbalanced: pl.DataFrame
    """What engine.formats.ledger.unbalanced found; empty where the ledger is right."""

    @property
    def units(self) -> tuple[tuple[str, Callable[[int | None], str]], ...]:
        """The units the ledger counts, and how they are written: documents and bytes; tokens where they are known."""
        known = self.by_source.height and not self.by_source.get_column("tokens").null_count()
        return (("documents", count), ("bytes", amount), *([("tokens", count)] if known else []))

    def total(self, outcome: str, unit: str = "documents") -> int:
        """Return the documents, bytes or tokens of an outcome over all sources and reasons."""
        return int(self.steps.filter(pl.col("outcome") == outcome).get_column(unit).sum())

    def of_source(self, source: str, outcome: str, unit: str = "documents") -> int:
        """Return the documents, bytes or tokens of an outcome of one source."""
        rows = self.by_source.filter((pl.col("source") == source) & (pl.col("outcome") == outcome))
        return int(rows.get_column(unit).sum())

    @property
    def drops(self) -> pl.DataFrame:
        """The rows of `steps` that are losses: dropped and cut."""
        return self.steps.filter(pl.col("outcome").is_in(["dropped", "cut"]))

    @property
    def source_names(self) -> list[str]:
        """The sources, in the recipe's order."""
        return self.by_source.get_column("source").unique(maintain_order=True).to_list()


def funnel(evidence: Evidence) -> Funnel | None:
    """Return the funnel of the recipe's selection, or None where there is none."""
    if evidence.selection is None:
        return None
    ledger = evidence.selection.ledger().filter(pl.col("step") == STEP)
    rows = ledger.with_columns(pl.col("reason").fill_null(pl.col("outcome")))
    said = evidence.selection.rules()
    rules = [rule["reason"] for rule in [*said["rules"], *said.get("balance", [])]]
    known = pl.when(pl.col("tokens").is_not_null().all()).then(pl.col("tokens").sum())
    units = [pl.col("documents", "bytes").sum(), known.alias("tokens")]
    steps = _in_order(rows.group_by("outcome", "reason").agg(units), rules, [])
    sources = {source.name: position for position, source in enumerate(evidence.sources)}
    by_source = rows.group_by("source", "outcome", "reason").agg(units)
    place = pl.col("source").replace_strict(sources, default=len(sources), return_dtype=pl.Int64)
    return Funnel(steps, _in_order(by_source, rules, [place, pl.col("source")]), unbalanced(ledger))


def funnel_charts(numbers: Funnel) -> list[Markup]:
    """Return the funnel in documents and in tokens, or else in bytes: each loss stands where it was taken from."""
    charts = []
    for unit, words in (numbers.units[0], numbers.units[-1]):
        whole = left = numbers.total("in", unit)
        rows = []
        for outcome, reason, value in numbers.steps.select("outcome", "reason", unit).iter_rows():
            start = 0 if outcome in ("in", "kept") else left - value
            left = left if outcome in ("in", "kept") else start
            hint = f"{reason}: {words(value)} ({share(value, whole)} of what came in)"
            value_words = words(value) if outcome == "in" else f"{words(value)} ({share(value, whole)})"
            rows.append(Bar(_label(outcome, reason), value_words, (Segment(start, value, _TONES[outcome], hint),)))
        charts.append(bars(f"From all {unit} to the kept ones", rows, half=True))
    return charts


def funnel_tables(numbers: Funnel) -> list[Table]:
    """Return the funnel per source, once in every unit; every row adds up to its first number."""
    columns = [row for row in numbers.steps.select("outcome", "reason").iter_rows() if row[0] != "in"]
    headings = ["source", "in", *(_label(*column) for column in columns), "kept of in"]
    tables = []
    for unit, words in numbers.units:
        cells = {
            (s, o, r): v for s, o, r, v in numbers.by_source.select("source", "outcome", "reason", unit).iter_rows()
        }
        rows = []
        for source in numbers.source_names:
            came, kept = numbers.of_source(source, "in", unit), numbers.of_source(source, "kept", unit)
            rows.append([source, words(came), *(words(cells.get((source, *c), 0)) for c in columns), share(kept, came)])
        totals = [int(v) for v in numbers.steps.filter(pl.col("outcome") != "in").get_column(unit)]
        came, kept = numbers.total("in", unit), numbers.total("kept", unit)
        rows.append(["all", words(came), *(words(v) for v in totals), share(kept, came)])
        tables.append(table(headings, rows, caption=f"Per source, in {unit}", total=True))
    return tables


def _in_order(rows: pl.DataFrame, rules: list[str], first: list[pl.Expr]) -> pl.DataFrame:
    # A held-out set is the reason of its documents; its place is that of the one rule for all sets. Rows that could not
    # be read, or have no text, were decided before any rule.
    rule = pl.when(pl.col("outcome") == "held_out").then(pl.lit("held_out")).otherwise(pl.col("reason"))
    asked = {reason: position for position, reason in enumerate(rules)}
    end = pl.col("outcome").replace_strict({"in": -1, "over_budget": 1, "kept": 2}, default=0, return_dtype=pl.Int64)
    return rows.sort(*first, end, rule.replace_strict(asked, default=-1, return_dtype=pl.Int64), "reason")


def _label(outcome: str, reason: str) -> str:
    if outcome == "held_out":
        return "held out" if reason == "held_out" else f"held out: {reason}"
    if outcome == "over_budget":
        return "over budget" if reason == outcome else f"over budget: {reason}"
    return outcome.replace("_", " ") if reason == outcome else reason
