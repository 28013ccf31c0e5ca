"""What a dry run says about the work ahead: time from what the same step took before, disk from what it leaves.

Figures of this workspace where the step ran in it before. Else rough rates of two shared cores, measured for most
stages, guessed for the others; they only give an order.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.formats.receipt import NAME, read_receipt
from engine.recipe import Stage
from engine.run.steps import PAIRS, STALE, TOKEN_STORE, RunContext

MB_PER_SECOND = {
    "source": 20.0,
    "benchmark": 10_000.0,
    "exact_dup": 500.0,
    "near_dup": 20.0,
    "heuristics": 50.0,
    "quality": 8.0,
    "language": 20.0,
    "domain": 8.0,
    "contamination": 15.0,
    "perplexity": 0.002,
    "pii": 60.0,
    "license": 200.0,
    "toxicity": 300.0,
    "difficulty": 60.0,
    "scores": 100.0,
    "split": 200.0,
    "selection": 200.0,
    "tokenizer": 3.0,
    "tokens": 2.0,
    TOKEN_STORE: 3.0,
    "audit": 15.0,
    "mixture": 50.0,
}
DISK_BYTES_PER_TEXT_BYTE = {"source": 0.35, "near_dup": 0.25, TOKEN_STORE: 0.6}
"""Zstandard text, signatures of 1 KB a document, two bytes a token of about four bytes of text."""
_FOLDERS = {
    "mixture": "mixtures",
    "split": "splits",
    "selection": "selections",
    "tokenizer": "tokenizers",
    TOKEN_STORE: "tokens",
    "audit": "audits",
    "benchmark": "benchmarks",
}


def estimate(context: RunContext, steps: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the seconds and disk bytes the stale steps will take, and the disk that is free."""
    sizes = {source.config.name: _input_bytes(source, context.recipe.base) for source in context.recipe.sources}
    samples = {stage.config.column_prefix: getattr(stage.config, "sample", 1.0) for stage in context.recipe.annotate}
    names = {stage.config.column_prefix: stage.config.stage for stage in context.recipe.annotate}
    seconds, disk = 0.0, 0.0
    for step in steps:
        if step["state"] == STALE:
            kind, _, name = step["name"].partition(" ") if step["name"] != TOKEN_STORE else (TOKEN_STORE, "", "")
            text_bytes = sizes[name] if kind == "source" else sum(sizes.values())
            rate = MB_PER_SECOND.get(names.get(kind, kind), 20.0)
            before = _seconds_before(context.workspace.root, kind, name)
            seconds += before if before is not None else text_bytes * samples.get(kind, 1.0) / 1e6 / rate
            disk += text_bytes * DISK_BYTES_PER_TEXT_BYTE.get(kind, 0.01)
    root = context.workspace.root.absolute()
    existing = next(path for path in (root, *root.parents) if path.exists())
    return {"seconds": round(seconds, 1), "disk_bytes": int(disk), "free_disk_bytes": shutil.disk_usage(existing).free}


def _input_bytes(source: Stage, base: Path) -> int:
    return sum(path.stat().st_size for path in source.module.files(source.config, base))


def _seconds_before(root: Path, kind: str, name: str) -> float | None:
    """Return what the newest receipt of the same step says, None where there is none."""
    if kind == "source":
        folder = root / "documents" / name
    else:
        folder = root / _FOLDERS.get(kind, f"annotations/{kind}")
        folder = folder / name if kind == "mixture" else folder
    # Pairs are a step of their own beside the stage they lie with.
    found = [path for path in folder.rglob(NAME) if ("_pairs" in path.parts) == (name == PAIRS)]
    receipts = sorted(found, key=lambda path: path.stat().st_mtime)
    receipt = read_receipt(receipts[-1].parent) if receipts else None
    return receipt.seconds if receipt is not None else None
