"""Corpus-frequent shingles: similar pairs that owe their likeness to a template or a licence header are let go.

By default all shingles count alike. With `ignore_frequent` a verified pair has to be similar twice: with all shingles,
and with the frequent ones left out of both sets. Its similarity is the smaller of the two, an exact fraction as before,
so every removal stays provable. Pairs can only become fewer than by default, and nothing goes for a document that it
is not similar to by default as well; as with a higher threshold, another document of a family may stay.

Frequent: in at least `ignore_frequent` of the documents, and in at least three. Counted are, exactly, the shingle sets
of a sample: the up to 16,384 documents of least doc_id among those that take part, which are no exact duplicates and
have words. doc_id is a digest, so the sample is a random one, the same for any cut into shards and any order.

- Where neither document has a shingle of its own, nothing is left to count, and the plain similarity stands: copies of
  a bare template are duplicates, and their removal loses nothing that another document does not say.
- Where only one has, they are not similar: the other one is a template, and this one is a template filled in.
- A text that stands, nearly unchanged, in so many documents is itself taken for a template: documents of it that differ
  in few words are then compared by these words. Set the share above that of the largest family of copies.
- Buckets of more than `max_bucket_documents` are compared with their best-ranked members only, which suffices where all
  of them fall to these. Members that are let go have then not been compared with each other: raise it above the
  number of documents under one template, or two copies filled in alike may both stay.

What it does to a chat template and to a licence header stands in the tests, in figures:

    200 chats: 300 words of template, 10 of their own       default: 199 go (0.9367)    ignore_frequent 0.1: none
    50 source files: header of 200 words, 20 of their own   default: 49 go (0.8305)     ignore_frequent 0.1: none
    10 pairs of 150 words, one word apart, same header      default: 10 go (0.9971)     ignore_frequent 0.1: 10 (0.9933)

Takes two more readings: of all texts, where the sample is spread over all shards, and of the texts of verified pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.near_dup.pairs import Verification, VerifiedPairs
from engine.annotate.near_dup.shingle_file import ShingleFile
from engine.annotate.near_dup.verify import THRESHOLD_UNITS, at_least, jaccard, threshold_units
from engine.text.batches import TextRun, each_batch, word_room
from engine.text.words import ShingleSets, shingle_sets, split_words

SAMPLE_DOCUMENTS = 1 << 14
LEAST_DOCUMENTS = 3
"""Two documents that share a shingle are a pair, not yet a template."""
SLICE_SHINGLES = 1 << 21
"""Shingles of the pairs that one thread compares at a time (16 MB)."""
_PART_BITS = 6
"""Shingles are counted in 64 parts by their first bits, so that memory holds a part of the sample's."""


def ignore_frequent(
    found: VerifiedPairs,
    runs: Sequence[TextRun],
    doc_ids: pl.Series,
    takes_part: NDArray[np.bool_],
    share: float,
    how: Verification,
) -> tuple[VerifiedPairs, dict[str, int]]:
    """Return the pairs that reach `how.floor` without frequent shingles too, and counts for details.json.

    doc_ids, takes_part: one value per document of `runs`; share: of the sampled documents, above 0, at most 1, with at
    most four digits after the point. Counts: frequent_shingles, frequent_sample_documents,
    let_go_pairs.
    """
    sampled = sample(doc_ids, takes_part)
    frequent = frequent_shingles(runs, sampled, share, how)
    left = _recounted(found, frequent, runs, how) if len(frequent) else found
    return left, {
        "frequent_shingles": len(frequent),
        "frequent_sample_documents": int(sampled.sum()),
        "let_go_pairs": len(found.pairs) - len(left.pairs),
    }


def sample(doc_ids: pl.Series, takes_part: NDArray[np.bool_], most: int = SAMPLE_DOCUMENTS) -> NDArray[np.bool_]:
    """Return which documents are sampled: the `most` of least doc_id that take part; bool[num_documents]."""
    documents = np.flatnonzero(takes_part)
    sampled = np.zeros(len(takes_part), dtype=np.bool_)
    sampled[documents[doc_ids.gather(documents).arg_sort().to_numpy()[:most]]] = True
    return sampled


def frequent_shingles(
    runs: Sequence[TextRun], sampled: NDArray[np.bool_], share: float, how: Verification
) -> NDArray[np.uint64]:
    """Return the shingles in at least `share` of the sampled documents and in at least three: uint64, ascending."""
    least = max(LEAST_DOCUMENTS, -(-int(sampled.sum()) * threshold_units(share) // THRESHOLD_UNITS))
    with ExitStack() as stack:
        parts = [_Part(stack, how.folder) for _ in range(1 << _PART_BITS)]

        def take(_first: int, sets: ShingleSets) -> None:
            hashes = np.sort(sets.hashes)
            bounds = np.arange(1, len(parts), dtype=np.uint64) << np.uint64(64 - _PART_BITS)
            for part, some in zip(parts, np.split(hashes, np.searchsorted(hashes, bounds)), strict=True):
                part.add(some)

        _each_set(runs, sampled, take, how)
        return np.concatenate([part.in_at_least(least) for part in parts])


class _Part:
    """The shingles of the sample that begin with the same bits, in a file without a name."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._file = stack.enter_context(TemporaryFile(dir=folder))  # noqa: SIM115 - closed by the stack
        self._lock = Lock()

    def add(self, hashes: NDArray[np.uint64]) -> None:
        with self._lock:
            self._file.write(hashes.tobytes())

    def in_at_least(self, least: int) -> NDArray[np.uint64]:
        # A document has a shingle once, so the times it stands here are the documents that have it.
        self._file.seek(0)
        hashes = np.sort(np.frombuffer(self._file.read(), dtype=np.uint64))
        ends = hashes[least - 1 :]
        return np.unique(ends[ends == hashes[: len(ends)]])


def _recounted(
    found: VerifiedPairs, frequent: NDArray[np.uint64], runs: Sequence[TextRun], how: Verification
) -> VerifiedPairs:
    num_documents = max((run.first + run.num_documents for run in runs), default=0)
    stands_in_pair = np.zeros(num_documents, dtype=np.bool_)
    stands_in_pair[found.pairs] = True
    shingles = ShingleFile(num_documents, how.folder)
    try:
        _each_set(runs, stands_in_pair, lambda first, sets: shingles.write(first, without(sets, frequent)), how)
        own, own_unions = _jaccard(found.pairs, shingles, how.jobs)
    finally:
        shingles.close()
    # Fractions are compared crosswise: exact, and far inside int64 for sets below 3e9 shingles.
    is_less = (own_unions > 0) & (own * found.unions < found.intersections * own_unions)
    intersections = np.where(is_less, own, found.intersections)
    unions = np.where(is_less, own_unions, found.unions)
    stays = at_least(intersections, unions, how.floor)
    return replace(found, pairs=found.pairs[stays], intersections=intersections[stays], unions=unions[stays])


def without(sets: ShingleSets, frequent: NDArray[np.uint64]) -> ShingleSets:
    """Return the sets without the shingles of `frequent`: uint64, ascending, at least one."""
    places = np.minimum(np.searchsorted(frequent, sets.hashes), len(frequent) - 1)
    is_own = frequent[places] != sets.hashes
    num_own = np.concatenate([[0], np.cumsum(is_own)])
    return ShingleSets(num_own[sets.offsets], sets.hashes[is_own])


def _jaccard(pairs: NDArray[np.int64], shingles: ShingleFile, jobs: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (intersections, unions) of the pairs, in shingles of the file."""

    def compare(some: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        documents, local = np.unique(some, return_inverse=True)
        return jaccard(shingles.read(documents), local.reshape(some.shape))

    with ThreadPoolExecutor(jobs) as executor:
        counted = list(executor.map(compare, _slices(pairs, shingles.sizes)))
    empty = np.empty(0, dtype=np.int64)
    return tuple(np.concatenate([empty, *(one[side] for one in counted)]) for side in (0, 1))  # type: ignore[return-value]


def _slices(pairs: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut the pairs so that the documents of a slice have about `SLICE_SHINGLES`."""
    # Pairs are ascending: the first document of one is mostly that of the pair before.
    is_other = np.diff(pairs[:, 0], prepend=-1) != 0
    held = np.cumsum(sizes[pairs[:, 1]] + np.where(is_other, sizes[pairs[:, 0]], 0) + 1)
    yield from np.split(pairs, np.flatnonzero(np.diff(held // SLICE_SHINGLES)) + 1)


def _each_set(
    runs: Sequence[TextRun], chosen: NDArray[np.bool_], work: Callable[[int, ShingleSets], None], how: Verification
) -> None:
    """Call `work` with the shingle sets of the chosen documents, batch by batch; sets of all others are empty."""

    def take(first: int, texts: pa.Array) -> None:
        here = chosen[first : first + len(texts)]
        if here.any():
            work(first, shingle_sets(split_words(texts, chosen=here, room=word_room()), how.ngram_words))

    wanted = [run for run in runs if chosen[run.first : run.first + run.num_documents].any()]
    each_batch(wanted, take, how.jobs)
