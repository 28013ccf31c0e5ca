"""One line of a table from one run, and what is said of the corpus it ran on."""

from functools import cache
from pathlib import Path

import polars as pl

from benchmarks.harness import Row
from benchmarks.near_dup.corpora import first_megabytes
from benchmarks.near_dup.tools import Result, Runs


def row(
    result: Result,
    correctness: str,
    ours: Result | None = None,
    name: str | None = None,
    details: dict[str, float | int | str] | None = None,
) -> Row:
    """Return the line of one run: MB of text a second, seconds, peak memory, and how much faster `ours` is."""
    run, name = result.run, name or result.tool.name
    if run.failure is not None:
        return Row(name, None, "MB/s", result.tool.about, f"skipped: {run.failure}")
    more: dict[str, float | int | str] = {"seconds": f"{run.seconds:.2f}", "peak MB": round(run.peak_mb)}
    if ours is not None and ours.run.failure is None:
        more["our rate / its rate"] = f"{_rate(ours, ours.run.seconds) / _rate(result, run.seconds):.2f}"
    rate, low, high = (_rate(result, seconds) for seconds in (run.seconds, run.high, run.low))
    is_repeated = low < high
    return Row(
        name,
        rate,
        "MB/s",
        result.tool.about,
        correctness,
        low if is_repeated else None,
        high if is_repeated else None,
        more | (details or {}),
    )


@cache
def size_of(folder: Path) -> tuple[int, int]:
    """Return (documents, bytes of text) of a corpus."""
    counts = pl.scan_parquet(sorted(folder.glob("*.parquet"))).select(
        pl.len(), size=pl.col("text").str.len_bytes().cast(pl.Int64).sum()
    )
    documents, size = counts.collect().row(0)
    return documents, size


def described(folder: Path) -> str:
    """Return the size of a corpus in words."""
    documents, size = size_of(folder)
    return f"{documents:,} documents, {size / 1e6:,.0f} MB"


def sample(runs: Runs, whole: Path, megabytes: int) -> Path:
    """Return the folder of the first megabytes of a corpus; made once."""
    folder = runs.scratch / f"{whole.name}-first-{megabytes}-MB"
    return folder if folder.is_dir() else first_megabytes(whole, megabytes, folder)


def _rate(result: Result, seconds: float) -> float:
    return size_of(result.folder)[1] / 1e6 / seconds
