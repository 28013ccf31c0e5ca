"""Verified pairs of a corpus: candidates from bands, similarities from the texts of the candidates alone.

1. Candidate pairs from the table of bands.                                                              (bands.py)
2. Texts of the documents that stand in a candidate pair are read again, their shingle sets written to a file.
3. Exact similarity of every candidate pair, group by group of documents that hang together, so that memory holds the
   sets of a group and not of the corpus; pairs below the floor are dropped.                            (verify.py)
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.near_dup.bands import BandTable, Candidates, pairs_in_buckets, pairs_of, sorted_distinct
from engine.annotate.near_dup.shingle_file import ShingleFile
from engine.annotate.near_dup.verify import BELOW, at_least, intersections_at_least, may_reach, threshold_units
from engine.text.batches import TextRun, each_batch, word_room
from engine.text.kernels import Places, kernel
from engine.text.words import shingle_sets, split_words

if TYPE_CHECKING:
    from engine.annotate.near_dup.recall_sample import RecallSample

SLICE_SHINGLES = 1 << 21
"""Shingles of the documents that one thread holds and compares with each other (16 MB)."""
SLICE_PAIRS = 1 << 18
"""Pairs that one thread compares at a time."""
CHUNK_PAIRS = 1 << 21
"""Candidate pairs looked at together; a pair waits as 8 bytes, and takes ten times that while it is looked at."""


@dataclass(frozen=True, eq=False)
class VerifiedPairs:
    """pairs: int64[num_pairs, 2], documents i < j, ascending; intersections, unions: int64[num_pairs], in shingles."""

    pairs: NDArray[np.int64]
    intersections: NDArray[np.int64]
    unions: NDArray[np.int64]
    num_candidates: int
    num_hot_buckets: int
    num_skipped_comparisons: int
    seconds: dict[str, float]
    """Wall-clock seconds: candidates, shingles, verify."""

    def at_least(self, threshold: float) -> NDArray[np.bool_]:
        """Return which pairs are at least that similar: bool[num_pairs]."""
        return at_least(self.intersections, self.unions, threshold)


@dataclass(frozen=True)
class Verification:
    """How pairs are verified: down to which similarity, of which shingles, and where files may be put meanwhile."""

    floor: float
    ngram_words: int
    max_bucket_documents: int
    folder: Path
    jobs: int


def verified_pairs(
    table: BandTable,
    runs: Sequence[TextRun],
    rank: NDArray[np.int64],
    how: Verification,
    sample: "RecallSample | None" = None,
) -> VerifiedPairs:
    """Return the pairs of documents of the table with a similarity of at least `how.floor`.

    runs: where the texts of its documents can be read; rank: int64[documents], all different, the best lowest;
    sample: what recall is measured with, shown words and shingle sets on the way; changes no pair.
    """
    started = [time.monotonic()]
    found = pairs_in_buckets(table, rank, how.max_bucket_documents, jobs=how.jobs)
    started.append(time.monotonic())
    shingles = _shingles_of_candidates(found, runs, table.num_documents, how, sample)
    started.append(time.monotonic())
    try:
        pairs, intersections = _verify_all(found, shingles, how)
        if sample is not None:
            sample.compare(shingles, how.jobs)
    finally:
        sizes = shingles.sizes
        shingles.close()
    started.append(time.monotonic())
    seconds = dict(zip(("candidates", "shingles", "verify"), np.diff(started).round(3).tolist(), strict=True))
    unions = sizes[pairs[:, 0]] + sizes[pairs[:, 1]] - intersections
    skipped = (len(found.keys), found.num_hot_buckets, found.num_skipped_comparisons)
    return VerifiedPairs(pairs, intersections, unions, *skipped, seconds)


def _shingles_of_candidates(
    found: Candidates,
    runs: Sequence[TextRun],
    num_documents: int,
    how: Verification,
    sample: "RecallSample | None",
) -> ShingleFile:
    is_wanted = np.zeros(num_documents, dtype=np.bool_) if sample is None else sample.is_wanted.copy()
    for keys in _chunks(found.keys):
        is_wanted[pairs_of(keys, num_documents)] = True
    shingles = ShingleFile(num_documents, how.folder)

    def take(first: int, texts: pa.Array) -> None:
        chosen = is_wanted[first : first + len(texts)]
        if chosen.any():
            words = split_words(texts, chosen=chosen, room=word_room())
            if sample is not None:
                sample.see(first, words)
            shingles.write(first, shingle_sets(words, how.ngram_words))

    wanted = [run for run in runs if is_wanted[run.first : run.first + run.num_documents].any()]
    each_batch(wanted, take, how.jobs)
    return shingles


def _verify_all(
    found: Candidates, shingles: ShingleFile, how: Verification
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (pairs, intersections) of the candidates at or above the floor, ascending."""
    pairs, intersections = [np.empty((0, 2), dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for keys in _chunks(found.keys):
        similar, shared = _verify(pairs_of(keys, found.num_documents), shingles, how)
        pairs.append(similar)
        intersections.append(shared)
    return np.concatenate(pairs), np.concatenate(intersections)


def _chunks(keys: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (keys[start : start + CHUNK_PAIRS] for start in range(0, len(keys), CHUNK_PAIRS))


def _verify(
    candidates: NDArray[np.int64], shingles: ShingleFile, how: Verification
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (pairs, intersections) of the candidates at or above the floor, ascending."""
    units = threshold_units(how.floor)
    pairs = candidates[may_reach(shingles.sizes, candidates, units)]
    families = _components(len(shingles.sizes), pairs)[pairs[:, 0]]
    order = np.argsort(families, kind="stable")
    ends = np.empty(len(order), dtype=np.int64)
    ends = ends[: _cut(pairs, order, shingles.sizes, SLICE_SHINGLES, np.full(len(shingles.sizes), -1), ends)]
    intersections = np.empty(len(pairs), dtype=np.int64)

    def compare(places: NDArray[np.int64]) -> None:
        documents = sorted_distinct(pairs[places].ravel())
        sets = shingles.read(documents)
        local = np.searchsorted(documents, pairs[places])
        intersections[places] = intersections_at_least(sets, local, units, families[places])

    with ThreadPoolExecutor(how.jobs) as executor:
        for _ in executor.map(compare, np.split(order, ends[:-1])):
            pass
    is_similar = intersections != BELOW
    return pairs[is_similar], intersections[is_similar]


@kernel
def _cut(pairs: Places, order: Places, sizes: Places, most: int, seen_in: Places, ends: Places) -> int:
    """Cut `order` so that the documents of a slice have about `most` shingles, and a large family is shared out.

    Writes where slices end, returns how many there are.

    seen_in: int64[num_documents], all -1, for the slice in which a document was counted last.
    """
    num_ends, held, begin = 0, 0, 0
    for at in range(len(order)):
        for document in pairs[order[at]]:
            if seen_in[document] != num_ends:
                seen_in[document] = num_ends
                held += sizes[document]
        if held >= most or at + 1 - begin >= SLICE_PAIRS or at + 1 == len(order):
            ends[num_ends] = begin = at + 1
            num_ends, held = num_ends + 1, 0
    return num_ends


def _components(num_documents: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each document the least document it hangs together with: int64[num_documents]."""
    component = np.arange(num_documents)
    _unite(np.ascontiguousarray(pairs), component)
    return component


@kernel
def _unite(pairs: Places, component: Places) -> None:
    for pair in range(len(pairs)):
        one, other = _root(component, pairs[pair, 0]), _root(component, pairs[pair, 1])
        component[max(one, other)] = min(one, other)
    for document in range(len(component)):
        component[document] = component[component[document]]


@kernel
def _root(component: Places, document: int) -> int:
    while component[document] != document:
        component[document] = component[component[document]]
        document = component[document]
    return document
