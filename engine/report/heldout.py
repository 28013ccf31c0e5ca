"""Held-out sets and contamination: what is kept for measuring, who was searched for it, how well the search finds."""

from dataclasses import dataclass
from itertools import chain

import polars as pl

from engine.formats.parquet import read_parquet
from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import MISSING, amount, count

RECALL = "planted_recall"
FLAG_RATE, HIGH_FLAG_RATE = "control_flag_rate", 0.05
"""Share of control texts from which on flags are doubtful: of 50 of them, three."""
_SHARES = ("recall", "share", "fraction", "rate")
_PARTS = ("verbatim_recall", "rewrapped_recall", "recased_recall", "buried_recall", "control_documents")
"""What a page has no room for beside the recall of all copies; coverage.parquet has it."""


@dataclass(frozen=True)
class HeldOut:
    """The held-out sets of the split and the coverage sheets of the contamination stages."""

    sets: pl.DataFrame
    """set, source, documents, groups, bytes, tokens (null where nobody counted them)."""
    grouped: dict[str, int]
    """Set -> documents of its groups that represent nobody: kept out of training, not measured."""
    searched: pl.DataFrame
    """mixture, set, documents, searched_documents, contaminated_documents: as the manifests say."""
    coverage: dict[str, pl.DataFrame]
    """Column prefix -> coverage.parquet as the stage wrote it."""

    @property
    def lowest_recall(self) -> float | None:
        """The lowest recall on planted copies of any set, or None where none was measured."""
        values = [float(value) for sheet in self.coverage.values() for value in sheet.get_column(RECALL).drop_nulls()]
        return min(values) if values else None

    @property
    def doubtful(self) -> list[tuple[str, float]]:
        """Benchmarks and held-out sets with a high share of control texts flagged, and that share; the highest first.

        Control texts are dealt from fragments of the items, and hold none of them as a whole.
        """
        rates = [sheet.select("benchmark", FLAG_RATE).rows() for sheet in self.coverage.values()]
        high = {
            (name, rate) for name, rate in chain.from_iterable(rates) if rate is not None and rate >= HIGH_FLAG_RATE
        }
        return sorted(high, key=lambda one: (-one[1], one[0]))


def heldout(evidence: Evidence) -> HeldOut | None:
    """Return held-out sets and coverage, or None where the recipe has neither."""
    sheets = {}
    for annotation in evidence.instances("contamination"):
        folder = evidence.artifact(annotation.prefix)
        if folder is not None and (folder / "coverage.parquet").is_file():
            sheets[annotation.prefix] = read_parquet(folder / "coverage.parquet")
    if evidence.split is None and not sheets:
        return None
    sets, grouped = _NO_SETS, {}
    if evidence.split is not None:
        documents = evidence.split.heldout()
        sets = documents.group_by("set", "source").agg(
            pl.len().cast(pl.Int64).alias("documents"),
            pl.col("group_id").n_unique().cast(pl.Int64).alias("groups"),
            pl.col("num_bytes").sum().alias("bytes"),
            pl.when(pl.col("num_tokens").is_not_null().all()).then(pl.col("num_tokens").sum()).alias("tokens"),
        )
        others = evidence.split.groups().join(documents, on="doc_id", how="anti")
        grouped = dict(others.group_by("set").agg(pl.len()).sort("set").iter_rows())
    searched = [
        (mixture.reference, s.set, s.documents, s.searched_documents, s.contaminated_documents)
        for mixture in evidence.mixtures
        for s in mixture.manifest.held_out
    ]
    names = ["mixture", "set", "documents", "searched_documents", "contaminated_documents"]
    schema = dict.fromkeys(names[:2], pl.String) | dict.fromkeys(names[2:], pl.Int64)
    return HeldOut(sets.sort("set", "source"), grouped, pl.DataFrame(searched, schema=schema, orient="row"), sheets)


def heldout_tables(numbers: HeldOut) -> list[Table]:
    """Return the held-out sets, who was searched for them, and every coverage sheet."""
    tables = []
    if numbers.sets.height:
        headings = ["set", "source", "documents", "groups", "bytes", "tokens"]
        rows = [
            [s, source, count(d), count(g), amount(b), MISSING if t is None else count(t)]
            for s, source, d, g, b, t in numbers.sets.iter_rows()
        ]
        tables.append(table(headings, rows, 2, "Held-out sets, never trained on"))
    for prefix, whole in numbers.coverage.items():
        sheet = whole.drop(_PARTS)
        headings = [name.replace("_", " ") for name in sheet.columns]
        rows = [[_cell(name, value) for name, value in row.items()] for row in sheet.iter_rows(named=True)]
        tables.append(table(headings, rows, caption=f"Coverage of the search ({prefix})"))
    if numbers.searched.height:
        rows = [[mixture, s, *(count(n) for n in counts)] for mixture, s, *counts in numbers.searched.iter_rows()]
        headings = ["mixture", "set", "set's documents", "searched", "dropped for a passage"]
        tables.append(table(headings, rows, 2, "Documents of each mixture searched for held-out passages"))
    return tables


def _cell(name: str, value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, float) and any(word in name for word in _SHARES):
        return f"{100 * value:.1f} %"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return count(value) if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


_NO_SETS = pl.DataFrame(
    schema={"set": pl.String, "source": pl.String} | dict.fromkeys(("documents", "groups", "bytes", "tokens"), pl.Int64)
)
