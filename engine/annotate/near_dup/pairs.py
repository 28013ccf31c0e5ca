"""Verified pairs of a corpus: candidates from stored signatures, similarities from the texts of the candidates alone.

1. Bands of the signatures of all documents that take part, a few bands at a time where memory asks for it.
2. Shingle sets of the documents that stand in a candidate pair, each shard read once, written to a file one after the
   other and mapped: memory holds what is being compared.
3. Exact similarity of every candidate pair; those below the floor are dropped.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.near_dup.bands import band_hashes, pairs_in_buckets
from engine.annotate.near_dup.minhash import EMPTY
from engine.annotate.near_dup.verify import at_least, jaccard
from engine.formats.annotation import Corpus
from engine.formats.documents import Shard
from engine.text.words import ShingleSets, shingle_sets, split_words

BAND_BYTES = 1 << 29
"""Memory for the bands of all documents; with more documents fewer bands are looked at in one pass. Changes no pair."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Bands:
    """How candidates are found: `num_bands` bands of `rows` permutations each, and what makes a bucket too large."""

    num_bands: int
    rows: int
    num_permutations: int
    max_bucket_documents: int


@dataclass(frozen=True, eq=False)
class VerifiedPairs:
    """pairs: int64[num_pairs, 2], documents i < j, ascending; intersections, unions: int64[num_pairs], in shingles."""

    pairs: NDArray[np.int64]
    intersections: NDArray[np.int64]
    unions: NDArray[np.int64]
    num_candidates: int
    num_hot_buckets: int
    num_skipped_comparisons: int

    def at_least(self, threshold: float) -> NDArray[np.bool_]:
        """Return which pairs are at least that similar: bool[num_pairs]."""
        return at_least(self.intersections, self.unions, threshold)


def store_signatures(signed: NDArray[np.uint32]) -> pl.Series:
    """Return signatures uint32[num_documents, num_permutations] as binary values, null for those without shingles."""
    width = signed.shape[1] * 4
    values = pa.Array.from_buffers(pa.binary(width), len(signed), [None, pa.py_buffer(np.ascontiguousarray(signed))])
    series = pl.Series("signature", pl.from_arrow(values), dtype=pl.Binary)
    return series.to_frame().select(pl.when(pl.Series((signed != EMPTY).any(axis=1))).then("signature")).to_series()


def load_signatures(stored: pl.Series, num_permutations: int) -> NDArray[np.uint32]:
    """Return what `store_signatures` was given."""
    signed = np.full((len(stored), num_permutations), EMPTY, dtype=np.uint32)
    values = stored.drop_nulls().to_arrow().cast(pa.binary(num_permutations * 4))
    if len(values):
        data = np.frombuffer(values.buffers()[1], dtype=np.uint32, count=len(values) * num_permutations)
        signed[stored.is_not_null().to_numpy()] = data.reshape(-1, num_permutations)
    return signed


def verified_pairs(
    corpus: Corpus,
    rows: NDArray[np.int64],
    rank: NDArray[np.int64],
    bands: Bands,
    ngram_words: int,
    floor: float,
    folder: Path,
) -> VerifiedPairs:
    """Return the pairs of similarity >= `floor` among the documents `rows` (ascending places in the corpus).

    Documents of the result are places in `rows`. rank: int64[len(rows)], the best lowest. Shingle sets are spilled to a
    file in `folder` that is gone afterwards.
    """
    shard_ends = np.cumsum([shard.num_rows for shard in corpus.shards])
    candidates = [np.empty(0, dtype=np.int64)]
    num_hot, num_skipped = 0, 0
    for first, last in _passes(bands.num_bands, len(rows)):
        hashes = _hashes_of_bands(corpus, rows, shard_ends, bands, first, last)
        found = pairs_in_buckets(hashes, rank, bands.max_bucket_documents)
        num_hot, num_skipped = num_hot + found.num_hot_buckets, num_skipped + found.num_skipped_comparisons
        candidates.append(found.pairs[:, 0] * len(rows) + found.pairs[:, 1])
    keys = candidates[1] if len(candidates) == 2 else np.unique(np.concatenate(candidates))
    pairs = np.stack(np.divmod(keys, max(len(rows), 1)), axis=1)
    intersections, unions = _similarities(corpus, rows, shard_ends, pairs, ngram_words, folder)
    kept = at_least(intersections, unions, floor)
    return VerifiedPairs(pairs[kept], intersections[kept], unions[kept], len(pairs), num_hot, num_skipped)


def _passes(num_bands: int, num_documents: int) -> Iterator[tuple[int, int]]:
    bands = max(1, BAND_BYTES // (8 * max(num_documents, 1)))
    return ((first, min(first + bands, num_bands)) for first in range(0, num_bands, bands))


def _hashes_of_bands(
    corpus: Corpus, rows: NDArray[np.int64], shard_ends: NDArray[np.int64], bands: Bands, first: int, last: int
) -> NDArray[np.uint64]:
    """Return the buckets of the documents in bands first..last-1: uint64[len(rows), last - first]."""

    def of_shard(task: tuple[Shard, NDArray[np.int64]]) -> NDArray[np.uint64]:
        shard, taken = task
        stored = corpus.part(shard)["signature"].gather(taken)
        signed = load_signatures(stored, bands.num_permutations)
        return band_hashes(signed, bands.num_bands, bands.rows)[:, first:last]

    tasks = _by_shard(corpus, rows, shard_ends)
    return np.concatenate([np.empty((0, last - first), dtype=np.uint64), *_in_threads(of_shard, tasks, corpus.jobs)])


def _similarities(
    corpus: Corpus,
    rows: NDArray[np.int64],
    shard_ends: NDArray[np.int64],
    pairs: NDArray[np.int64],
    ngram_words: int,
    folder: Path,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (intersections, unions) of the candidate pairs."""
    documents, places = np.unique(pairs, return_inverse=True)

    def of_shard(task: tuple[Shard, NDArray[np.int64]]) -> ShingleSets:
        shard, taken = task
        return shingle_sets(split_words(shard.read_text().take(pa.array(taken))), ngram_words)

    tasks = [task for task in _by_shard(corpus, rows[documents], shard_ends) if len(task[1])]
    with tempfile.NamedTemporaryFile(prefix=".tmp-", dir=folder) as spilled:
        sizes = []
        for sets in _in_threads(of_shard, tasks, corpus.jobs):
            spilled.write(sets.hashes.data)
            sizes.append(np.diff(sets.offsets))
        spilled.flush()
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, dtype=np.int64), *sizes]))])
        hashes = np.asarray(np.memmap(spilled.name, dtype=np.uint64, mode="r+")) if offsets[-1] else _NO_HASHES
        sets = ShingleSets(offsets, hashes)
        chunks = np.array_split(places.reshape(-1, 2), max(1, corpus.jobs))
        measured = list(_in_threads(lambda chunk: jaccard(sets, chunk), chunks, corpus.jobs))
    return np.concatenate([m[0] for m in measured]), np.concatenate([m[1] for m in measured])


def _by_shard(
    corpus: Corpus, rows: NDArray[np.int64], shard_ends: NDArray[np.int64]
) -> list[tuple[Shard, NDArray[np.int64]]]:
    """Return each shard with the rows of it that are among `rows` (ascending places in the corpus)."""
    cuts = np.searchsorted(rows, shard_ends)
    parts = np.split(rows, cuts[:-1]) if len(cuts) else []
    starts = shard_ends - [shard.num_rows for shard in corpus.shards]
    return [(shard, part - start) for shard, part, start in zip(corpus.shards, parts, starts, strict=True)]


def _in_threads(function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterable[Result]:
    """Yield the results in the order of the tasks; no more than `jobs` of them wait in memory."""
    if jobs == 1 or len(tasks) < 2:
        return map(function, tasks)
    return chain.from_iterable(_batches(function, tasks, jobs))


def _batches(function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int) -> Iterator[list[Result]]:
    with ThreadPoolExecutor(jobs) as executor:
        for batch in (tasks[start : start + jobs] for start in range(0, len(tasks), jobs)):
            yield list(executor.map(function, batch))


_NO_HASHES = np.empty(0, dtype=np.uint64)
