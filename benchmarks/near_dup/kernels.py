"""The compiled loops alone, on one core: words, shingle sets, signatures, beside datasketch's signatures."""

import sysconfig
from pathlib import Path

import datasketch
import pyarrow as pa

from benchmarks.harness import Row, rate
from engine.annotate.near_dup.minhash import signatures
from engine.text.words import ShingleSets, shingle_sets, split_words

NGRAM_WORDS = 5


def texts_of_the_environment(max_bytes: int) -> list[str]:
    """Return Python sources of the standard library and the installed packages, in the order of their paths."""
    roots = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib")]
    texts, size = [], 0
    for path in (path for root in roots for path in sorted(root.rglob("*.py"))):
        text = path.read_text(encoding="utf-8", errors="replace")
        texts.append(text)
        size += len(text.encode())
        if size > max_bytes:
            break
    return texts


def kernel_rows(max_bytes: int) -> tuple[str, list[Row]]:
    """Measure; return (what on, rows)."""
    texts = texts_of_the_environment(max_bytes)
    column = pa.array(texts, pa.large_string())
    size = sum(len(text.encode()) for text in texts) / 1e6
    words = split_words(column)
    sets = shingle_sets(words, NGRAM_WORDS)
    golden = "golden vectors, and equal to a reference on all scripts (tests)"
    signed = "bit-equal to datasketch affine32 (tests)"
    rows = [
        rate("words", size, "MB/s", lambda: split_words(column), "split, fold, hash", golden),
        rate(
            "5-word shingle sets", size, "MB/s", lambda: shingle_sets(words, NGRAM_WORDS), "hash, sort, unique", golden
        ),
        rate("256 permutations", size, "MB/s", lambda: signatures(sets), "signing", signed),
        _datasketch(sets, size),
    ]
    return f"One core, {len(texts):,} Python files, {size:.1f} MB, word {NGRAM_WORDS}-grams.", rows


def _datasketch(sets: ShingleSets, size: float) -> Row:
    def sign() -> None:
        for document in range(len(sets.offsets) - 1):
            sketch = datasketch.MinHash(num_perm=256, scheme="affine32", hashfunc=lambda h: int(h) & 0xFFFFFFFF)
            sketch.update_batch(sets.hashes[sets.offsets[document] : sets.offsets[document + 1]])

    return rate(
        "datasketch 2, 256 permutations",
        size,
        "MB/s",
        sign,
        "signing only, shingles already hashed",
        "the reference",
        repeats=1,
    )
