"""What `decontaminate` says about itself: report.json, the same for a terminal, and the recipe it amounts to."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from engine.annotate.contamination.index import Index
from engine.run.decontaminate.changes import CUT, DROP, Outcome
from engine.run.decontaminate.search import Searched
from engine.run.memory import peak_memory_bytes
from engine.run.oneshot.inputs import Input
from engine.run.oneshot.phases import Phases
from engine.run.oneshot.recipe import recipe_sources
from engine.sources._benchmarks import FoundBenchmarks

SOURCE = "decontaminate"
WENT = {"drop": "dropped", "cut": "with nothing left dropped", "tag": "dropped"}


def report_of(
    found: FoundBenchmarks,
    searched: Searched,
    hits: pl.DataFrame,
    sheet: pl.DataFrame,
    outcome: Outcome,
    index: Index,
    phases: Phases,
) -> dict[str, Any]:
    """Return the counts, what is known of each benchmark, and what it took."""
    by_name = {row["benchmark"]: row for row in sheet.iter_rows(named=True)}
    shown = ("items", "matchable_items", "planted_recall", "flagged_documents", "control_flag_rate")
    benchmarks = [
        {"benchmark": one.name}
        | {name: by_name.get(one.name, {}).get(name) for name in shown}
        | {"path": str(one.path), "fields": one.shape, "notes": list(one.notes)}
        for one in found.benchmarks
    ]
    return {
        "documents": searched.num_documents,
        "with_text": searched.num_with_text,
        "bytes": searched.num_bytes,
        "flagged": hits["document"].n_unique(),
        "hits": hits.height,
        "kept": outcome.num_kept,
        "dropped": outcome.num_gone,
        "cut": outcome.num_cut,
        "benchmarks": benchmarks,
        "passed_over": {str(path): why for path, why in found.passed_over.items()},
        "seconds": phases.seconds(),
        "megabytes_per_second": phases.rate(searched.num_bytes),
        "search_megabytes_per_second": round(searched.num_bytes / 1e6 / max(phases.seconds()["search"], 1e-3), 2),
        "peak_memory_bytes": peak_memory_bytes(),
        "index_bytes": index.num_bytes,
    }


def recipe_of(
    files: Sequence[Input],
    columns: dict[str, str],
    benchmarks: Sequence[str],
    fields: dict[str, dict[str, str]],
    action: str,
) -> dict[str, Any]:
    """Return a recipe with the same documents, benchmarks and decisions."""
    stage = {"stage": "contamination"} | ({"action": action} if action != DROP else {})
    return {
        "name": "decontaminate",
        "sources": recipe_sources(SOURCE, files, columns),
        "benchmarks": list(benchmarks),
        **({"benchmark_fields": fields} if fields else {}),
        "annotate": [stage],
    }


def show_decontaminate(result: dict[str, Any]) -> str:
    """Return what was searched for, found and measured, for a terminal."""
    import yaml

    seconds, memory = result["seconds"], result["peak_memory_bytes"]
    phases = ", ".join(f"{name} {spent:.1f}" for name, spent in seconds.items() if name != "total")
    lines = [
        _counts(result),
        "",
        *_table(result["benchmarks"]),
        *(f"{one['benchmark']}: {note}" for one in result["benchmarks"] for note in one["notes"]),
        *(f"passed over: {path}: {why.partition('. Needed: ')[0]}" for path, why in result["passed_over"].items()),
        "",
        f"searched at {result['search_megabytes_per_second']:.3g} MB/s; {seconds['total']:.1f} s in all ({phases})",
        f"{memory / 1e6:,.0f} MB of memory at most, {result['index_bytes'] / 1e6:,.0f} of it the index",
        f"what was found: {result['out']}/hits.parquet; what cannot be: {result['out']}/unmatchable.parquet",
        "",
        "the recipe this amounts to:",
        yaml.safe_dump(result["recipe"], sort_keys=False, default_flow_style=None, width=100).rstrip(),
    ]
    return "\n".join(lines)


def _counts(result: dict[str, Any]) -> str:
    cut = f"{result['cut']:,} cut, " if result["action"] == CUT else ""
    return (
        f"{result['documents']:,} documents, {result['flagged']:,} flagged; "
        f"{cut}{result['dropped']:,} {WENT[result['action']]}, {result['kept']:,} kept"
    )


def _table(benchmarks: Sequence[dict[str, Any]]) -> list[str]:
    """Return one line per benchmark under a head, in columns."""
    rows = [("benchmark", "flagged", "items", "matchable", "planted recall", "control")]
    rows += [
        (
            one["benchmark"],
            f"{one['flagged_documents']:,}",
            f"{one['items']:,}",
            f"{one['matchable_items']:,}",
            _share(one["planted_recall"]),
            _share(one["control_flag_rate"]),
        )
        for one in benchmarks
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
