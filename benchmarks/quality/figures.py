"""What is measured: AUC by kind of bad text, calibration, the worst mistakes, and the rate of scoring."""

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.harness import Row
from engine.annotate._classifier.examples import choose, is_held_out
from engine.annotate._classifier.measure import auc
from engine.annotate._classifier.options import TrainingOptions
from engine.annotate._classifier.score import open_classifier, score_documents, score_texts
from engine.annotate._classifier.texts import prepare
from engine.annotate.quality import SIDES, fit_quality
from engine.base.atomic import read_json
from engine.base.hashing import digest_bytes
from engine.text.windows import text_windows

SPEED_BYTES = 20_000_000


def train(texts: pl.DataFrame, folder: Path, **options: Any) -> dict[str, Any]:
    """Train as the stage does and return model.json."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    candidates = texts.with_columns(
        text_digest=pl.Series([digest_bytes(text.encode()) for text in texts["text"]], dtype=pl.Binary),
        num_bytes=pl.col("text").str.len_bytes().cast(pl.Int64),
    )
    settings = TrainingOptions(**options)
    chosen, shared = choose(candidates, SIDES, settings, ("good", "bad"))
    return fit_quality(chosen.drop("key"), shared, settings, folder, "benchmark", chosen["key"])


def auc_rows(texts: pl.DataFrame, whole: dict[str, Any], build: Path) -> tuple[str, list[Row]]:
    """Return what was measured, and one row per kind: trained on all kinds, and on all but that one."""
    includes = "nothing of time"
    rows = [_row("good against all bad", whole, includes, f"{_sizes(whole)}; calibration: {_calibrated(whole)}")]
    unigrams = train(texts, build / "unigrams", word_ngrams=1)
    single = {row["source"]: row["auc"] for row in unigrams["by_source"]}
    for row in (row for row in whole["by_source"] if row["side"] == "negative"):
        kind = row["source"]
        unseen = _unseen(texts, kind, build / "without")
        said = f"single words only {single[kind]:.4f}; where this kind was not trained on {unseen:.4f}"
        rows.append(_row(f"good against {kind}", row, includes, said, row["held_out_documents"]))
    files = _other_files(texts, build / "without")
    rows.append(
        Row("good against webtext of a file not trained on", None, "", includes, "mean", details={"AUC": files})
    )
    for row in (row for row in whole["by_source"] if row["side"] == "positive"):
        rows.append(_row(f"{row['source']} against all bad", row, includes, "", row["held_out_documents"]))
    about = (
        f"Held-out AUC of a classifier with the stage's default options; {texts.height:,} passages of at least 200 "
        "characters. Good: PEPs, Rust RFCs, EIPs, books, Wikipedia. Bad: one damaged copy of each, and nltk's webtext. "
        "Original and copy are on one side of the split; passages of one book may be on both."
    )
    return about, rows


def speed_rows(texts: pl.DataFrame, folder: Path, repeats: int) -> list[Row]:
    """Return the rate of scoring on one core, of the documents' text and of what is read of it."""
    sample = texts.filter(pl.col("text").str.len_bytes().cast(pl.Int64).cum_sum() <= SPEED_BYTES)["text"]
    digests = pl.Series([digest_bytes(text.encode()) for text in sample], dtype=pl.Binary)
    classifier, windows = open_classifier(folder, None), text_windows(sample)
    read = int(windows["window"].str.len_bytes().sum()) / 1e6
    whole = int(sample.str.len_bytes().sum()) / 1e6
    said = f"{sample.len():,} passages, {whole:.1f} MB, of which {read:.1f} MB are read"

    def score() -> None:
        score_documents(classifier, prepare(windows, classifier.text), digests)

    includes, cut = "processor time: prepare the windows, ask fastText", "processor time: cut the windows"
    return [
        _rate("scoring, MB that are read", read, score, includes, said, repeats),
        _rate("scoring, MB of documents", whole, score, includes, said, repeats),
        _rate("windows, MB of documents", whole, lambda: text_windows(sample), cut, said, repeats),
    ]


def worst_rows(folder: Path) -> tuple[str, list[Row]]:
    """Return the ten worst mistakes."""
    rows = [
        Row(
            one["name"],
            None,
            "",
            "nothing of time",
            "",
            details={"score": one["score"], "side": one["side"], "characters": one["num_chars"]},
        )
        for one in read_json(folder / "worst.json")
    ]
    return (
        "Held-out passages whose score is furthest from their side; how they begin says worst.json of the model.",
        rows,
    )


def _row(name: str, figures: dict[str, Any], includes: str, said: str, count: int | None = None) -> Row:
    low, high = figures["auc_interval_95"]
    details: dict[str, float | int | str] = {"AUC": figures["auc"], "95 % interval": f"{low:.4f}-{high:.4f}"}
    return Row(name, None, "", includes, said, details=details | ({} if count is None else {"held out": count}))


def _sizes(model: dict[str, Any]) -> str:
    counts = {name: (side["documents"], side["held_out_documents"]) for name, side in model["classes"].items()}
    return "; ".join(f"{name} {learnt:,} trained, {tested:,} held out" for name, (learnt, tested) in counts.items())


def _calibrated(model: dict[str, Any]) -> str:
    return ", ".join(
        f"{row['mean_score']:.2f}: {row['positive_share']:.2f} of {row['documents']}"
        for row in model["calibration"]
        if row["documents"]
    )


def _unseen(texts: pl.DataFrame, kind: str, folder: Path) -> float:
    """Return the AUC of held-out good text against all text of a kind, where that kind was not trained on."""
    train(texts.filter(pl.col("source") != kind), folder)
    return _auc(texts, pl.col("source") == kind, folder)


def _other_files(texts: pl.DataFrame, folder: Path) -> float:
    """Return the mean AUC of held-out good text against each file of webtext, that file not trained on."""
    file = pl.col("name").str.extract(r"webtext/(\w+)\.txt")
    names = texts.select(file.unique().drop_nulls().sort()).to_series()
    found = []
    for name in names:
        is_file = file.fill_null("") == name
        train(texts.filter(~is_file), folder)
        found.append(_auc(texts, is_file, folder))
    return float(np.mean(found))


def _auc(texts: pl.DataFrame, bad: pl.Expr, folder: Path) -> float:
    held_out = texts.filter(is_held_out(texts["key"])).filter(pl.col("label") == 1)
    tested = pl.concat([held_out, texts.filter(bad & (pl.col("label") == 0))])
    units = score_texts(open_classifier(folder, None), tested["text"])[:, 1]
    return float(auc(units, tested["label"].to_numpy() == 1)["auc"])


def _rate(name: str, megabytes: float, work: Callable[[], object], includes: str, said: str, repeats: int) -> Row:
    """Return the median MB per second of a processor, after a warm-up, with the slowest and the fastest."""
    work()
    rates = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        rates.append(megabytes / (time.process_time() - started))
    return Row(name, statistics.median(rates), "MB/s", includes, said, min(rates), max(rates))
