"""Near-duplicates: kernels a core, the whole verb from files to decisions, beside datasketch; exactly judged."""

import shutil
import sysconfig
import tempfile
from pathlib import Path

import datasketch
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Row, rate, record
from engine.annotate.near_dup.minhash import signatures
from engine.run.dedup import dedup
from engine.text.words import shingle_sets, split_words

THRESHOLD, NGRAM_WORDS = 0.8, 5
MAX_BYTES = 40_000_000


def texts_of_the_environment(max_bytes: int = MAX_BYTES) -> list[str]:
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


def pairs_by_inverted_index(texts: list[str]) -> set[tuple[int, int]]:
    """Return pairs at or above the threshold by an exact inverted index; shingles in over 400 files propose none."""
    sets = shingle_sets(split_words(pa.array(texts, pa.large_string())), NGRAM_WORDS)
    sizes = np.diff(sets.offsets)
    owners = np.repeat(np.arange(len(texts)), sizes)
    order = np.argsort(sets.hashes, kind="stable")
    hashes, owners = sets.hashes[order], owners[order]
    edges = np.flatnonzero(np.diff(hashes)) + 1
    shared: dict[tuple[int, int], int] = {}
    for group in np.split(owners, edges):
        # Boilerplate would propose millions of pairs; a pair made of nothing else would be missed by this judge.
        if 1 < len(group) <= 400:
            for position, one in enumerate(group):
                for other in group[position + 1 :]:
                    key = (int(one), int(other))
                    shared[key] = shared.get(key, 0) + 1
    candidates = [
        pair for pair, count in shared.items() if count * 2 >= min(sizes[pair[0]], sizes[pair[1]]) * THRESHOLD
    ]
    found = set()
    for one, other in candidates:
        a, b = (sets.hashes[sets.offsets[i] : sets.offsets[i + 1]] for i in (one, other))
        both = len(np.intersect1d(a, b, assume_unique=True))
        if both * 10 >= 8 * (len(a) + len(b) - both):
            found.add((one, other))
    return found


def main() -> None:
    """Measure and record."""
    texts = texts_of_the_environment()
    column = pa.array(texts, pa.large_string())
    size = sum(len(text.encode()) for text in texts) / 1e6
    words = split_words(column)
    sets = shingle_sets(words, NGRAM_WORDS)
    golden = "golden vectors, and equal to a reference on all scripts (tests)"
    rows = [
        rate("words, one core", size, "MB/s", lambda: split_words(column), "split, fold, hash", golden),
        rate(
            "5-word shingle sets, one core",
            size,
            "MB/s",
            lambda: shingle_sets(words, NGRAM_WORDS),
            "hash, sort, unique",
            golden,
        ),
        rate(
            "256 permutations, one core",
            size,
            "MB/s",
            lambda: signatures(sets),
            "signing",
            "bit-equal to datasketch affine32 (tests)",
        ),
    ]
    rows += _whole_verb(texts, size)
    rows.append(_datasketch(sets, size))
    record(
        "near_dup",
        f"{len(texts):,} Python files, {size:.1f} MB, threshold {THRESHOLD}, word {NGRAM_WORDS}-grams.",
        rows,
    )


def _whole_verb(texts: list[str], size: float) -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pq.write_table(
            pa.table({"id": [str(i) for i in range(len(texts))], "text": texts}),
            folder / "in.parquet",
            compression="zstd",
        )

        def whole() -> None:
            shutil.rmtree(folder / "out", ignore_errors=True)
            dedup([folder / "in.parquet"], folder / "out", id="id")

        whole()
        pairs = pq.read_table(folder / "out" / "pairs.parquet").to_pylist()
        removed = pq.read_table(folder / "out" / "removed.parquet").to_pylist()
        exact = {row["id"] for row in removed if row["reason"] == "exact_duplicate"}
        survivors = [i for i in range(len(texts)) if str(i) not in exact]
        truth = pairs_by_inverted_index([texts[i] for i in survivors])
        named = {tuple(sorted((int(p["id"]), int(p["other_id"])))) for p in pairs}
        wanted = {(survivors[a], survivors[b]) for a, b in truth}
        found, wrong = len(named & wanted), len(named - wanted)
        correct = f"{found:,} of {len(wanted):,} pairs of an exact inverted index found, {wrong} wrong"
        return [
            rate(
                "dedup, whole verb, all cores",
                size,
                "MB/s",
                whole,
                "read, exact, near, verify, write survivors",
                correct,
                repeats=3,
            )
        ]


def _datasketch(sets: object, size: float) -> Row:
    def sign() -> None:
        for document in range(len(sets.offsets) - 1):  # type: ignore[attr-defined]
            sketch = datasketch.MinHash(num_perm=256, scheme="affine32", hashfunc=lambda h: int(h) & 0xFFFFFFFF)
            sketch.update_batch(sets.hashes[sets.offsets[document] : sets.offsets[document + 1]])  # type: ignore[attr-defined]

    return rate(
        "datasketch 2, 256 permutations, one core",
        size,
        "MB/s",
        sign,
        "signing only, shingles already hashed",
        "the reference",
        repeats=1,
    )


if __name__ == "__main__":
    main()
