"""The training loop: tokens per second of the demo's Llama, full fine-tuning, and the proof it starts with."""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from benchmarks.harness import Row
from engine.formats.run import open_run
from engine.formats.workspace import Workspace
from engine.recipe import check_recipe
from engine.run.pipeline import run
from trainers.train import train

STEPS = 30
DATA: dict[str, Any] = {
    "name": "bench",
    "sources": [{"stage": "python_env", "name": "docs", "kind": "docstrings", "packages": "stdlib"}],
    "annotate": [{"stage": "exact_dup"}],
    "guard": {"max_source_loss": 1.0},
    "tokenizer": {"train": {"sources": ["docs"], "vocab_size": 4096}},
    "mixtures": {"bench": {"sources": ["docs"], "row_tokens": 256, "rows_per_step": 16}},
}
TRAINING: dict[str, Any] = {
    "name": "bench",
    "mixture": "bench",
    "base": {"tiny": {"hidden_size": 192, "layers": 4, "heads": 6, "intermediate_size": 512}},
    "optimizer": {"learning_rate": 3.0e-3},
    "max_steps": STEPS,
}


def tiny_row() -> Row:
    """Train the demo's Llama and return its row."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run(check_recipe(DATA, folder / "bench.yaml"), folder / "ws")
        (folder / "train.yaml").write_text(yaml.safe_dump(TRAINING))
        train(folder / "train.yaml", folder / "ws")
        content = open_run(Workspace(folder / "ws"), "bench")
        steps = content.metrics(range(6, STEPS + 1)).filter(pl.col("source").is_null())
    rates = (steps["tokens"] / steps["seconds"]).to_list()
    proof = content.content["isolation"]
    correct = f"documents isolated: {proof['documents_isolated']}, packed = unpacked: {proof['packed_equals_unpacked']}"
    parameters = content.content["model"]["parameters"] / 1e6
    return Row(
        f"full fine-tuning of a Llama from scratch, {parameters:.1f} M parameters, 16 rows of 256",
        statistics.median(rates),
        "tokens/s",
        f"steps 6 to {STEPS} of a run on documentation strings: gather, forward, backward, AdamW; no padding",
        correct,
        min(rates),
        max(rates),
    )
