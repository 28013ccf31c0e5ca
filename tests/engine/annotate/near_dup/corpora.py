"""What the tests of near_dup are made of: sets, words and tables from literals, runs of texts, slow references."""

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.near_dup.bands import BandTable, band_hashes
from engine.annotate.near_dup.minhash import sign_words
from engine.text.batches import TextRun
from engine.text.words import ShingleSets, Words, split_words

AMPLE = 1 << 30
"""Bytes that every table of these tests fits in."""


def as_sets(documents: Sequence[set[int] | list[int]]) -> ShingleSets:
    """Shingle sets of literal shingles."""
    hashes = np.array([shingle for document in documents for shingle in sorted(document)], dtype=np.uint64)
    return ShingleSets(np.cumsum([0, *map(len, documents)]), hashes)


def as_words(documents: Sequence[Sequence[int]]) -> Words:
    """Words of literal hashes, in their order."""
    hashes = np.array([word for document in documents for word in document], dtype=np.uint64)
    return Words(np.cumsum([0, *map(len, documents)]), hashes)


def table_of(hashes: NDArray[np.uint64], file_in: Path | None = None) -> BandTable:
    """The table of a matrix of buckets, one row for each document: in memory, or in a file in `file_in`."""
    table = BandTable(*hashes.shape, file_in or Path("no folder"), AMPLE if file_in is None else 0)
    table.put(0, hashes)
    return table


def table_of_signatures(signed: NDArray[np.uint32], bands: int, rows: int, file_in: Path | None = None) -> BandTable:
    """The table of the bands of signatures."""
    return table_of(band_hashes(signed, bands, rows), file_in)


def table_of_texts(texts: Sequence[str], ngram_words: int, bands: int, rows: int, file_in: Path | None) -> BandTable:
    """The table of the bands of texts."""
    words = split_words(pa.array(texts, pa.large_string()))
    return table_of_signatures(sign_words(words, ngram_words, bands * rows), bands, rows, file_in)


def run_of(first: int, arrays: Sequence[pa.Array]) -> TextRun:
    """A run that yields `arrays`."""
    return TextRun(first, sum(map(len, arrays)), lambda: iter(arrays))


def runs_of(texts: Sequence[str], num_runs: int, array_length: int = 3) -> list[TextRun]:
    """Runs of about equal length that yield arrays of `array_length` texts."""
    bounds = [len(texts) * number // num_runs for number in range(num_runs + 1)]
    runs = []
    for begin, end in pairwise(bounds):
        starts = range(begin, end, array_length)
        runs.append(run_of(begin, [pa.array(texts[at : min(at + array_length, end)], pa.string()) for at in starts]))
    return runs


def edited_copies(seed: int, num_bases: int = 15, num_copies: int = 5) -> list[str]:
    """Texts of 30-120 words, each with copies of up to eight replaced words, shuffled."""
    draw = random.Random(seed)
    texts = []
    for base in range(num_bases):
        words = [f"b{draw.randrange(2000)}" for _ in range(draw.randrange(30, 120))]
        for _ in range(num_copies):
            copy = list(words)
            for _ in range(draw.choice((0, 1, 1, 2, 4, 8))):
                copy[draw.randrange(len(copy))] = f"e{base}x{draw.randrange(10**6)}"
            texts.append(" ".join(copy))
    draw.shuffle(texts)
    return texts


def shingles_of(words: Sequence[object], ngram_words: int) -> set[tuple[object, ...]]:
    """The shingles of words, by the definition."""
    starts = range(max(1, len(words) - ngram_words + 1)) if words else range(0)
    return {tuple(words[start : start + ngram_words]) for start in starts}
