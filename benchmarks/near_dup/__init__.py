"""Near-duplicates: ours beside the peers on the same files, in speed, memory and truth.

Six results: `near_dup` (speed on the whole corpus), `near_dup_scale` (three sizes), `near_dup_code`,
`near_dup_licences`, `near_dup_languages` (decisions judged exactly), and `near_dup_kernels` (loops alone).
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sizes:
    """Megabytes of text each part works on."""

    whole: int
    scale: tuple[int, ...]
    code: int
    datasketch: int
    datatrove: int
    judged: int
    kernels: int


# What the slow peers get takes them one to two minutes.
FULL = Sizes(1400, (14, 140), 140, 140, 35, 1000, 40)
QUICK = Sizes(5, (1,), 2, 2, 1, 1, 2)


def main(quick: bool = False, corpus: Path | None = None) -> None:
    """Measure and record; quick results go to build/bench/quick and are no figures."""
    import sys

    from benchmarks.harness import RESULTS, Row, record
    from benchmarks.near_dup.corpora import first_megabytes, system_corpus
    from benchmarks.near_dup.correctness import judged_rows
    from benchmarks.near_dup.kernels import kernel_rows
    from benchmarks.near_dup.speed import scale_rows, speed_rows, warm_up
    from benchmarks.near_dup.tools import ROOT, Runs, peer_versions

    sizes, build = QUICK if quick else FULL, ROOT / "build" / "bench"
    results = build / "quick" if quick else RESULTS
    if quick:
        whole = system_corpus(corpus or build / "quick-corpus", sizes.whole * 1_000_000, (sys.prefix,))
    else:
        whole = system_corpus(corpus or build / "corpus", sizes.whole * 1_000_000)
    with tempfile.TemporaryDirectory(prefix="near_dup-", dir=_made(build)) as scratch:
        if quick:
            whole = first_megabytes(whole, sizes.whole, Path(scratch) / "whole")
        runs = Runs(Path(scratch), most_repeats=0 if quick else 3)
        warm_up(runs)
        parts: dict[str, Callable[[], tuple[str, list[Row]]]] = {
            "near_dup": lambda: speed_rows(runs, whole, sizes),
            "near_dup_scale": lambda: scale_rows(runs, whole, sizes),
            "near_dup_code": lambda: judged_rows(runs, "code", whole, sizes),
            "near_dup_licences": lambda: judged_rows(runs, "licences", whole, sizes),
            "near_dup_languages": lambda: judged_rows(runs, "languages", whole, sizes),
            "near_dup_kernels": lambda: kernel_rows(sizes.kernels * 1_000_000),
        }
        for what, measure in parts.items():
            about, rows = measure()
            record(what, about, rows, results, peer_versions(), own_memory=what == "near_dup_kernels")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
