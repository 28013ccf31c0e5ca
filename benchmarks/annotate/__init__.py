"""Annotate stages: speed on one and two threads, and agreement, beside peers on the same texts.

One result for each stage, `annotate_<stage>`; a module of this folder with the stage's name returns its rows. One of
all annotators in one recipe, `annotate_whole`.
"""

import importlib
import tempfile
from pathlib import Path

STAGES = ("heuristics",)
FULL_MB, QUICK_MB = 100, 2


def main(quick: bool = False, corpus: Path | None = None) -> None:
    """Measure and record; quick results go to build/bench/quick and are no figures."""
    import sys

    from benchmarks.annotate.texts import prose, sample_of
    from benchmarks.annotate.whole import whole_rows
    from benchmarks.harness import RESULTS, record
    from benchmarks.near_dup.corpora import system_corpus
    from benchmarks.near_dup.tools import ROOT, peer_versions

    build, megabytes = ROOT / "build" / "bench", QUICK_MB if quick else FULL_MB
    results = build / "quick" if quick else RESULTS
    build.mkdir(parents=True, exist_ok=True)
    if corpus is None:
        roots = {"roots": (sys.prefix,)} if quick else {}
        corpus = system_corpus(build / ("quick-corpus" if quick else "corpus"), megabytes * 1_000_000, **roots)
    with tempfile.TemporaryDirectory(prefix="annotate-", dir=build) as scratch:
        samples = [sample_of(corpus, megabytes), *prose(megabytes)]
        for stage in STAGES:
            module = importlib.import_module(f"benchmarks.annotate.{stage}")
            about, rows = module.stage_rows(samples, Path(scratch), quick)
            record(f"annotate_{stage}", about, rows, results, peer_versions())
        about, rows = whole_rows([sample_of(corpus, 3 * megabytes), *prose(megabytes)], Path(scratch), quick)
        record("annotate_whole", about, rows, results)
