"""Quality: does a classifier tell technical and book text from damaged copies of it and from web text, and how fast.

Two results: `quality` (held-out AUC, overall and by kind of bad text, also where that kind was not trained on, and the
speed of scoring) and `quality_worst` (the ten worst mistakes; how they begin says worst.json of the model). Model,
calibration table and all mistakes lie in build/bench/quality.
"""

from importlib.metadata import version
from pathlib import Path


def main(quick: bool = False, corpus: Path | None = None) -> None:  # noqa: ARG001 - the corpora are the shared ones
    """Measure and record; quick results (a tenth of the documents) go to build/bench/quick and are no figures."""
    from benchmarks.harness import FOLDER, RESULTS, record
    from benchmarks.quality.figures import auc_rows, speed_rows, train, worst_rows
    from benchmarks.quality.texts import all_texts

    build = FOLDER.parent / "build" / "bench"
    results = build / "quick" if quick else RESULTS
    texts = all_texts()
    texts = texts.gather_every(10) if quick else texts
    whole = train(texts, build / "quality" / "whole")
    versions = {"fasttext-community": version("fasttext-community")}
    about, rows = auc_rows(texts, whole, build / "quality")
    rows += speed_rows(texts, build / "quality" / "whole", 1 if quick else 5)
    record("quality", about, rows, results, versions)
    record("quality_worst", *worst_rows(build / "quality" / "whole"), results, versions, own_memory=False)
