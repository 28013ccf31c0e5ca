"""All annotators in one recipe, as a user runs them: `provender run` on two cores, each stage's share of the time.

Without tokens and perplexity, whose rate is that of a tokenizer and of a language model. The classifiers are trained
before, on a tenth of the texts against the same with shuffled words, the word list is drawn from the texts.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.annotate.texts import Sample
from benchmarks.harness import Row
from engine.run.warm import warm

FILES = 16
REPEATS = 3
LISTED_WORDS = 400
STAGES = (
    {"stage": "exact_dup"},
    {"stage": "heuristics"},
    {"stage": "language"},
    {"stage": "quality", "model": "models/quality"},
    {"stage": "domain", "model": "models/domain"},
    {"stage": "pii"},
    {"stage": "toxicity", "lists": "lists", "fallback": "en"},
    {"stage": "license"},
    {"stage": "difficulty", "by": "reading_grade"},
)


def whole_rows(samples: Sequence[Sample], scratch: Path, quick: bool) -> tuple[str, list[Row]]:
    """Return what was measured, and the rows: of each sample the rate, then every stage's share of the work."""
    rows: list[Row] = []
    warm()
    for number, sample in enumerate(samples):
        folder = scratch / f"whole-{number}"
        _prepare(folder, sample)
        runs = sorted((_run(folder, again) for again in range(1 if quick else REPEATS)), key=lambda run: run[0])
        rows += _rows(sample, runs)
    about = (
        "Eight annotators and exact_dup in one recipe, `provender run` from Parquet to columns, on all cores; the bar "
        "is 15 MB/s on two. Rates of stages are by the seconds workers spent in them; what stages share stands in "
        "brackets. The start of the worker processes is in it, and weighs most in a small sample."
    )
    return about, rows


def _rows(sample: Sample, runs: list[tuple[float, dict[str, Any]]]) -> list[Row]:
    size = sample.num_bytes / 1e6
    seconds, result = runs[len(runs) // 2]
    waves = result["annotating"]
    said = f"{len(sample.texts):,} documents, {size:,.0f} MB"
    rates = [size / one for one, _ in runs]
    wall = sum(wave["wall_seconds"] for wave in waves)
    rows = [
        Row(
            f"{sample.name}: the command",
            size / seconds,
            "MB/s",
            "start, reading in, selection",
            said,
            rates[-1],
            rates[0],
        ),
        Row(f"{sample.name}: the annotate pass", size / wall, "MB/s", "worker processes started, parts written", said),
    ]
    work: dict[str, float] = {}
    for wave in waves:
        for name, spent in wave["work_seconds"].items():
            work[name] = work.get(name, 0.0) + spent
    whole = sum(work.values())
    for name, spent in sorted(work.items(), key=lambda item: -item[1]):
        share = {"share of the work": f"{spent / whole:.0%}"}
        rows.append(Row(f"{sample.name}: {name}", size / spent, "MB/s", "one core", "", details=share))
    return rows


def _run(folder: Path, number: int) -> tuple[float, dict[str, Any]]:
    command = [sys.executable, "-m", "engine.cli", "run", "recipe.yaml", "--workspace", f"workspace-{number}", "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"provender run ended with {done.returncode}: {done.stderr[-2000:]}")
    return seconds, json.loads(done.stdout)


def _prepare(folder: Path, sample: Sample) -> None:
    """Write texts, word list, models and recipe."""
    (folder / "texts").mkdir(parents=True)
    (folder / "lists").mkdir()
    step = -(-len(sample.texts) // FILES)
    for number, start in enumerate(range(0, len(sample.texts), step)):
        pl.DataFrame({"text": sample.texts.slice(start, step)}).write_parquet(folder / "texts" / f"{number:02}.parquet")
    draw = random.Random(1)
    tenth = sample.texts.gather_every(10)
    words = sorted({word for text in tenth.head(200) for word in text.split() if word.isalpha()})
    (folder / "lists" / "en").write_text("\n".join(draw.sample(words, min(LISTED_WORDS, len(words)))))
    shuffled = [" ".join(draw.sample(words, len(words))) for words in (text[:3000].split() for text in tenth)]
    pl.DataFrame({"text": tenth}).write_parquet(folder / "good.parquet")
    pl.DataFrame({"text": shuffled}).write_parquet(folder / "bad.parquet")
    _train(folder)
    texts = {"stage": "parquet", "name": "texts", "path": "texts/*.parquet"}
    (folder / "recipe.yaml").write_text(json.dumps({"name": "whole", "sources": [texts], "annotate": list(STAGES)}))


def _train(folder: Path) -> None:
    from engine.run.pipeline import run

    sides = [{"stage": "parquet", "name": name, "path": f"{name}.parquet"} for name in ("good", "bad")]
    trained = [
        {"stage": "quality", "positive": ["good"], "negative": ["bad"]},
        {"stage": "domain", "sources": {"good": "order", "bad": "disorder"}},
    ]
    (folder / "train.yaml").write_text(json.dumps({"name": "train", "sources": sides, "annotate": trained}))
    run(folder / "train.yaml", folder / "training", jobs=1)
    (folder / "models").mkdir()
    for model in sorted((folder / "training" / "models").iterdir()):
        made_by = json.loads((model / "receipt.json").read_text())["made_by"]
        model.rename(folder / "models" / made_by.partition("/")[0])
