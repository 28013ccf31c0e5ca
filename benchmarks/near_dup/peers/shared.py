"""What the scripts of the peers share: the words they are fed, Parquet in, decisions out. Runs in the peers' own venv.

Words are the lower-cased maximal runs of Python's `\\w` and of marks: nearly `\\w` as UTS 18 and Daft's regular
expressions have it. Python's own has no marks and would cut Hindi words to pieces. (Marks above U+FFFF are left out: a
character class that holds them takes four times as long.)
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

NGRAM_WORDS = 5
THRESHOLD = 0.8
MARKS = [code for code in range(0x10000) if unicodedata.category(chr(code))[0] == "M"]
ASCII_WORD = re.compile(r"\w+")
WORD = re.compile(f"[\\w\u200c\u200d{''.join(map(chr, MARKS))}]+")


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return (ASCII_WORD if text.isascii() else WORD).findall(text.lower())


def ngrams(text: str) -> list[str]:
    """Return the word 5-grams of a text, repeats kept; of a shorter text, all its words as one; without words, none."""
    found = words(text)
    if len(found) <= NGRAM_WORDS:
        return [" ".join(found)] if found else []
    return list(map(" ".join, zip(*(found[start:] for start in range(NGRAM_WORDS)), strict=False)))


def arguments() -> tuple[list[str], Path]:
    """Return (Parquet files, file to write the decisions to) of `script OUT.parquet FILE...`."""
    return sys.argv[2:], Path(sys.argv[1])


def documents(files: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (path, text), read in batches."""
    import pyarrow.parquet as pq

    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=1000, columns=["path", "text"]):
            yield from zip(batch.column("path").to_pylist(), batch.column("text").to_pylist(), strict=True)


def write_removed(out: Path, removed: list[str]) -> None:
    """Write the ids of the removed documents."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": pa.array(removed, pa.string())}), out)
