"""Compile the kernels once: `python -m engine.run.oneshot.warm`, run by `make setup`.

numba compiles a loop when it is first called, and keeps it on disk; this calls them all, by deduplicating a few texts
and decontaminating them.
"""

import tempfile
import time
from pathlib import Path

import polars as pl

from engine.run.decontaminate import decontaminate
from engine.run.dedup import dedup

WORDS = [f"word{number}" for number in range(200)]
QUESTION = "How many of the seven words in line 12 stand there twice, and which of them are names?"


def warm() -> float:
    """Deduplicate and decontaminate a few texts in a temporary folder; return the seconds it took."""
    started = time.monotonic()
    # Copies with one other word each, enough of them to be compared as a family, in ASCII and beyond.
    texts = [" ".join([*WORDS[:place], "Stra\u00dfe", *WORDS[place + 1 :]]) for place in range(40)]
    texts += [" ".join(WORDS), "\u65e5\u672c\u8a9e " * 40, "\u65e5\u672c\u8a9e " * 40, QUESTION]
    with tempfile.TemporaryDirectory() as folder:
        path, items = Path(folder) / "texts.parquet", Path(folder) / "items.parquet"
        pl.DataFrame({"text": texts}).write_parquet(path)
        pl.DataFrame({"question": [QUESTION], "answer": ["none"]}).write_parquet(items)
        dedup([path], Path(folder) / "deduplicated")
        decontaminate([path], [items], Path(folder) / "decontaminated")
    return time.monotonic() - started


if __name__ == "__main__":
    print(f"kernels compiled in {warm():.0f} s")
