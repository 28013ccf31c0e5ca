"""heuristics: rate on one and two threads, with and without the split of words that stages share, beside datatrove's
filters; and how often a rule of ours and of theirs decides alike, each by its own definition at the same threshold.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.annotate.texts import Sample
from benchmarks.annotate.timing import View, stage_rate
from benchmarks.harness import Row
from benchmarks.near_dup.tools import BENCH_PYTHON
from engine.annotate import heuristics
from engine.select.conditions import parse_condition
from engine.select.filters import Filter, Preset

PEER = Path(__file__).parent / "peers" / "run_datatrove_filters.py"
PEER_MB, QUICK_PEER_MB = 2, 0.2
PRESETS = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
CONFIG = heuristics.Config()


def annotate(view: Any) -> pl.DataFrame:
    """Return the columns of one shard."""
    return heuristics.annotate(view, CONFIG)


def annotate_after_words(view: View) -> pl.DataFrame:
    """The same after the words that other stages read."""
    assert view.words is not None
    return annotate(view)


def stage_rows(samples: Sequence[Sample], scratch: Path, quick: bool) -> tuple[str, list[Row]]:
    """Return (about, rows)."""
    rows = []
    for sample in samples:
        for threads in (1, 2):
            name = f"heuristics, {threads} thread{'s' if threads > 1 else ''}"
            rows.append(stage_rate(name, sample, annotate, threads, "all columns, its own split of words included"))
        rows.append(
            stage_rate("heuristics and shared words, 2 threads", sample, annotate_after_words, 2, "words split twice")
        )
        rows += _beside_datatrove(sample.first(int((QUICK_PEER_MB if quick else PEER_MB) * 1e6)), scratch)
    about = (
        f"{len(heuristics.ADDS)} columns over texts in memory; the bar is 100 MB/s on two cores. datatrove's filters "
        "take one process each, on the first texts of the same sample; time is of the processor. Below, rules one by "
        "one at our thresholds: documents dropped by each, and the share that both judge alike."
    )
    return about, rows


def _beside_datatrove(sample: Sample, scratch: Path) -> list[Row]:
    if not BENCH_PYTHON.is_file():
        why = "skipped: no .bench-venv: python -m benchmarks.near_dup.tools makes it"
        return [Row(f"datatrove, {preset}", None, "MB/s", "one filter", why) for preset in PRESETS]
    texts, out = scratch / "texts.parquet", scratch / "out.json"
    pl.DataFrame({"text": sample.texts}).write_parquet(texts)
    subprocess.run([BENCH_PYTHON, PEER, out, texts], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = json.loads(out.read_text())
    said = f"{sample.name}, {len(sample.texts):,} documents, {sample.num_bytes / 1e6:,.1f} MB"
    rows = [
        Row(f"datatrove, {name}", sample.num_bytes / 1e6 / seconds, "MB/s", "one filter, one process", said)
        for name, seconds in found["seconds"].items()
    ]
    together = sample.num_bytes / 1e6 / sum(found["seconds"].values())
    return [
        *rows,
        Row("datatrove, all four", together, "MB/s", "one filter after the other", said),
        *_agree(sample, found),
    ]


def _agree(sample: Sample, found: dict[str, Any]) -> list[Row]:
    """Return one row a rule: the share of documents that both judge alike, where theirs does not fail."""
    frame = pl.concat([annotate(View(shard)) for shard in sample.shards()])
    rows = []
    for rule in (rule for preset in PRESETS for rule in Preset(preset=preset).filters()):
        if rule.reason in found["drops"]:
            rows.append(_agreement(rule, frame, pl.Series(found["drops"][rule.reason], dtype=pl.Boolean), sample.name))
    return rows


def _agreement(rule: Filter, frame: pl.DataFrame, theirs: pl.Series, name: str) -> Row:
    ours = ~frame.select(parse_condition(rule.keep).alias("keeps"))["keeps"]
    judged = theirs.is_not_null()
    alike = int((ours == theirs).filter(judged).sum())
    more: dict[str, float | int | str] = {
        "dropped": int(ours.filter(judged).sum()),
        "dropped by datatrove": int(theirs.filter(judged).sum()),
    }
    share = 100 * alike / max(int(judged.sum()), 1)
    return Row(rule.reason, share, "% alike", rule.keep, f"{name}, {int(judged.sum()):,} documents", details=more)
