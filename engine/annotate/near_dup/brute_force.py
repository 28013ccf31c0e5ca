"""Recall on the corpus itself: a sample of documents compared with others one by one, without any bands.

Other documents are compared with each of the sample exactly, by counting shared shingles in an inverted index of the
sample. What lies at or above the floor should stand among the verified pairs. Where all texts are read in one pass,
the sample is read before it, from the beginnings of row groups all over the corpus, and every eighth distinct text,
chosen by its digest, is compared during the pass; a recipe's stage chooses both by digest (recall_sample.py).
"""

from collections.abc import Sequence
from itertools import islice
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from engine.annotate.near_dup.recall import Recall
from engine.annotate.near_dup.verify import THRESHOLD_UNITS, threshold_units
from engine.text.batches import TextRun
from engine.text.kernels import Hashes, Places, kernel
from engine.text.words import ShingleSets, Words, shingle_sets, split_words

SAMPLE_DOCUMENTS = 512
SAMPLE_RUNS = 8
MOST_WORDS = 20_000
"""Longer documents are left out of the sample, so that its index stays in the cache."""
COMPARED_SHARE = 8
_NO_ENTRY = np.int64(-1)


class BruteForce:
    """The sample, its inverted index, and the similar documents found so far."""

    def __init__(self, documents: NDArray[np.int64], sets: ShingleSets, ngram_words: int, floor: float) -> None:
        """Index the sample; sets: the shingle sets of `documents`, int64[sampled documents]."""
        self._ngram_words, self._units = ngram_words, threshold_units(floor)
        self.documents = documents
        self._sizes = np.diff(sets.offsets)
        owners = np.repeat(np.arange(len(self.documents)), self._sizes)
        order = np.argsort(sets.hashes, kind="stable")
        self._owners, ordered = owners[order], sets.hashes[order]
        begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else [])
        self._ends = np.append(begins[1:], len(ordered)) if len(begins) else begins
        self._keys, self._begins = ordered[begins], begins
        self._slots = np.full(1 << max(4, (8 * len(begins)).bit_length()), _NO_ENTRY, dtype=np.int64)
        _index(self._keys, self._slots)
        self._found: list[NDArray[np.int64]] = []
        self._lock = Lock()

    @classmethod
    def of_runs(cls, runs: Sequence[TextRun], ngram_words: int, floor: float) -> "BruteForce":
        """Read a sample from the beginnings of runs."""
        return cls(*_sample(runs, ngram_words), ngram_words, floor)

    def compare(self, first: int, words: Words, digests: NDArray[np.uint64], is_new: NDArray[np.bool_]) -> None:
        """Compare some of the documents `first`, `first` + 1, ... that are new; digests: uint64[documents, 2]."""
        if not len(self.documents):
            return
        chosen = np.flatnonzero(is_new & (digests[:, 1] % np.uint64(COMPARED_SHARE) == 0))
        self.compare_sets(first + chosen, shingle_sets(_only(words, chosen), self._ngram_words))

    def compare_sets(self, documents: NDArray[np.int64], sets: ShingleSets) -> None:
        """Compare documents whose shingle sets are known; may be called from several threads."""
        pairs = np.empty((max(64, 4 * len(documents)), 2), dtype=np.int64)
        count = self._count(sets, pairs)
        if count > len(pairs):
            pairs = np.empty((count, 2), dtype=np.int64)
            self._count(sets, pairs)
        pairs = pairs[:count]
        pairs[:, 1] = documents[pairs[:, 1]]
        with self._lock:
            self._found.append(pairs)

    def _count(self, sets: ShingleSets, pairs: NDArray[np.int64]) -> int:
        return _compare(
            sets.offsets, sets.hashes, self._keys, self._slots, self._begins, self._ends, self._owners, self._sizes,
            self._units, pairs,
        )  # fmt: skip

    def recall(self, first_of: NDArray[np.int64], found: NDArray[np.int64]) -> Recall:
        """Return how many of the similar pairs stand in `found`: int64[num_pairs, 2], ascending, i < j.

        first_of: int64[num_documents], the document that came first with a text: pairs are pairs of texts.
        """
        if not self._found:
            return Recall(0, 0)
        pairs = np.concatenate(self._found)
        pairs = np.sort(first_of[np.stack([self.documents[pairs[:, 0]], pairs[:, 1]], axis=1)], axis=1)
        keys = np.unique((pairs[:, 0] * len(first_of) + pairs[:, 1])[pairs[:, 0] != pairs[:, 1]])
        named = found[:, 0] * len(first_of) + found[:, 1]
        places = np.minimum(np.searchsorted(named, keys), max(len(named) - 1, 0))
        return Recall(len(keys), int((named[places] == keys).sum()) if len(named) else 0)


def _sample(runs: Sequence[TextRun], ngram_words: int) -> tuple[NDArray[np.int64], ShingleSets]:
    """Return the documents of the sample and their shingle sets."""
    places = sorted({round(place) for place in np.linspace(0, len(runs) - 1, min(SAMPLE_RUNS, len(runs)))})
    documents, sizes, hashes = [], [], []
    for place in places:
        run = runs[place]
        for texts in islice(run.read(), 1):
            words = split_words(texts.slice(0, SAMPLE_DOCUMENTS // len(places)))
            chosen = np.flatnonzero((words.num_words > 0) & (words.num_words <= MOST_WORDS))
            sets = shingle_sets(_only(words, chosen), ngram_words)
            documents.append(run.first + chosen)
            sizes.append(np.diff(sets.offsets))
            hashes.append(sets.hashes)
    none = np.empty(0, dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([none, *sizes]))])
    sets = ShingleSets(offsets, np.concatenate([none.astype(np.uint64), *hashes]))
    return np.concatenate([none, *documents]), sets


def _only(words: Words, chosen: NDArray[np.int64]) -> Words:
    """Return the words of some documents."""
    spans = [words.hashes[words.offsets[place] : words.offsets[place + 1]] for place in chosen]
    offsets = np.concatenate([[0], np.cumsum(words.num_words[chosen])]).astype(np.int64)
    return Words(offsets, np.concatenate([*spans, np.empty(0, dtype=np.uint64)]))


@kernel
def _index(keys: Hashes, slots: Places) -> None:
    mask = np.uint64(len(slots) - 1)
    for entry in range(len(keys)):
        slot = keys[entry] & mask
        while slots[slot] != _NO_ENTRY:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = entry


@kernel
def _compare(
    offsets: Places, hashes: Hashes, keys: Hashes, slots: Places, begins: Places, ends: Places, owners: Places,
    sizes: Places, units: int, pairs: Places,
) -> int:  # fmt: skip
    """Write (place in the sample, place in the sets) of the pairs at or above the floor; return how many there are."""
    shared = np.zeros(len(sizes), dtype=np.int64)
    touched = np.empty(len(sizes), dtype=np.int64)
    mask = np.uint64(len(slots) - 1)
    num_pairs = 0
    for document in range(len(offsets) - 1):
        num_touched = 0
        size = offsets[document + 1] - offsets[document]
        for shingle in hashes[offsets[document] : offsets[document + 1]]:
            slot = shingle & mask
            while slots[slot] != _NO_ENTRY and keys[slots[slot]] != shingle:
                slot = (slot + np.uint64(1)) & mask
            entry = slots[slot]
            if entry == _NO_ENTRY:
                continue
            for owner in owners[begins[entry] : ends[entry]]:
                if shared[owner] == 0:
                    touched[num_touched] = owner
                    num_touched += 1
                shared[owner] += 1
        for owner in touched[:num_touched]:
            common = shared[owner]
            shared[owner] = 0
            if common * THRESHOLD_UNITS >= units * (sizes[owner] + size - common):
                if num_pairs < len(pairs):
                    pairs[num_pairs, 0], pairs[num_pairs, 1] = owner, document
                num_pairs += 1
    return num_pairs
