"""Compile the kernels once: `python -m engine.run.warm`, run by `make setup`.

numba compiles a loop when it is first called, and keeps it on disk; this calls them all, by deduplicating,
decontaminating, annotating and balancing a few texts and by packing a few pieces.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from engine.pack.packing import Pieces, pack
from engine.run.decontaminate import decontaminate
from engine.run.dedup import dedup
from engine.run.pipeline import run

WORDS = [f"word{number}" for number in range(200)]
QUESTION = "How many of the seven words in line 12 stand there twice, and which of them are names?"
STAGES = (
    {"stage": "heuristics"},
    {"stage": "pii"},
    {"stage": "license"},
    {"stage": "difficulty", "by": "reading_grade"},
    {"stage": "toxicity", "lists": "lists", "fallback": "en"},
)
"""Those with kernels of their own."""


def warm() -> float:
    """Work on a few texts in a temporary folder; return the seconds it took."""
    started = time.monotonic()
    # Copies with one other word each, enough of them to be compared as a family, in ASCII and beyond.
    texts = [" ".join([*WORDS[:place], "Stra\u00dfe", *WORDS[place + 1 :]]) for place in range(40)]
    texts += [
        " ".join(WORDS),
        "\u65e5\u672c\u8a9e " * 40,
        "\u65e5\u672c\u8a9e " * 40,
        QUESTION,
        "Write to ada@analytical.org.",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, items = folder / "texts.parquet", folder / "items.parquet"
        pl.DataFrame({"text": texts}).write_parquet(path)
        pl.DataFrame({"question": [QUESTION], "answer": ["none"]}).write_parquet(items)
        dedup([path], folder / "deduplicated")
        decontaminate([path], [items], folder / "decontaminated")
        _annotate(folder, path)
    _pack()
    return time.monotonic() - started


def _annotate(folder: Path, path: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "en").write_text("word7\nword8 word9\nw*rd\n")
    source = {"stage": "parquet", "name": "texts", "path": path.name}
    balance = {"reason": "few", "by": ["source"], "cap": 20}
    recipe = {"name": "warm", "sources": [source], "annotate": list(STAGES), "balance": [balance]}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    run(folder / "recipe.yaml", folder / "workspace", jobs=1)


def _pack() -> None:
    """Whole rows beside short documents, a row a step: full rows do not keep the shares, so every way is tried."""
    length = np.array([64] * 20 + [8] * 8, dtype=np.int32)
    first, labels = np.array([0, 20, 28]), length - 1
    pack(Pieces(length, labels, first, once=np.diff(first), longest=np.array([63, 7])), 64, 1)


if __name__ == "__main__":
    print(f"kernels compiled in {warm():.0f} s")
