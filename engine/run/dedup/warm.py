"""Compile the kernels once: `python -m engine.run.dedup.warm`, run by `make setup`.

numba compiles a loop when it is first called, and keeps it on disk; this calls them all, by deduplicating a few texts.
"""

import tempfile
import time
from pathlib import Path

import polars as pl

from engine.run.dedup import dedup


def warm() -> float:
    """Deduplicate a few texts in a temporary folder; return the seconds it took."""
    started = time.monotonic()
    words = [f"word{number}" for number in range(200)]
    # Copies with one other word each, enough of them to be compared as a family, in ASCII and beyond.
    texts = [" ".join([*words[:place], "Stra\u00dfe", *words[place + 1 :]]) for place in range(40)]
    texts += [" ".join(words), "\u65e5\u672c\u8a9e " * 40, "\u65e5\u672c\u8a9e " * 40]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.parquet"
        pl.DataFrame({"text": texts}).write_parquet(path)
        dedup([path], Path(folder) / "out")
    return time.monotonic() - started


if __name__ == "__main__":
    print(f"kernels compiled in {warm():.0f} s")
