"""The documents by which a recipe's stage measures its recall, and what is measured with them.

All are chosen by the digests of their texts, so the same corpus gives the same figures in whatever files or order:

- originals: about `MAX_PLANTED` documents, of which copies are planted beside the corpus       (planted.py)
- sample: the `SAMPLE_DOCUMENTS` of lowest digest
- compared: one document in eight, at least 8,192 and at most 524,288 of them; each is compared with the whole sample,
  exactly and without any bands                                                                 (brute_force.py)

No text is read for it alone: shingle sets of sample and compared documents go to the file where those of the
candidates go (for eight bytes a shingle), during the same reading of texts.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.annotate.near_dup.bands import BandTable
from engine.annotate.near_dup.brute_force import COMPARED_SHARE, SAMPLE_DOCUMENTS, BruteForce
from engine.annotate.near_dup.brute_force import MOST_WORDS as MOST_SAMPLED
from engine.annotate.near_dup.planted import MOST_WORDS, Originals, is_original, measured_recall
from engine.annotate.near_dup.shingle_file import ShingleFile
from engine.text.words import Words

if TYPE_CHECKING:
    from engine.annotate.near_dup import Config
    from engine.annotate.near_dup.pairs import VerifiedPairs

LEAST_COMPARED, MOST_COMPARED = 1 << 13, 1 << 19
SLICE_SHINGLES = 1 << 20
"""Shingles that one thread compares with the sample at a time (8 MB)."""


class RecallSample:
    """The documents that are measured with, and what was seen of them so far.

    is_wanted: bool[num_documents], those whose shingle sets are needed though they may stand in no candidate pair.
    """

    def __init__(self, digests: NDArray[np.uint64], takes_part: NDArray[np.bool_], config: "Config") -> None:
        """Choose; digests: uint64[num_documents, 2], of texts; takes_part: bool[num_documents]."""
        self._config = config
        num_documents = int(takes_part.sum())
        self._is_original = takes_part & is_original(digests, num_documents)
        sampled, num_sampled = takes_part.copy(), min(SAMPLE_DOCUMENTS, num_documents)
        if num_sampled:
            # Up to a bound and not so many: pinned documents of equal texts are in it both, or neither.
            sampled &= digests[:, 0] <= np.partition(digests[takes_part, 0], num_sampled - 1)[num_sampled - 1]
        self._sampled = np.flatnonzero(sampled)
        num_compared = min(max(num_documents // COMPARED_SHARE, LEAST_COMPARED), MOST_COMPARED)
        bound = np.uint64(min(num_compared / max(num_documents, 1), 1) * float((1 << 64) - 2048))
        compared = takes_part & (digests[:, 1] <= bound) if num_compared < num_documents else takes_part
        self._compared = np.flatnonzero(compared)
        self.is_wanted = sampled | compared | self._is_original
        self._words: dict[int, NDArray[np.uint64]] = {}
        self._lock = Lock()
        self._brute_force: BruteForce | None = None

    def see(self, first: int, words: Words) -> None:
        """Take the words of originals among the documents `first`, `first` + 1, ...; called from several threads."""
        chosen = self._is_original[first : first + len(words.num_words)] & (words.num_words <= MOST_WORDS)
        for place in np.flatnonzero(chosen):
            with self._lock:
                self._words[first + int(place)] = words.hashes[words.offsets[place] : words.offsets[place + 1]].copy()

    def compare(self, shingles: ShingleFile, jobs: int) -> None:
        """Compare the sample with the compared documents, whose shingle sets lie in the file."""
        sampled = self._sampled[shingles.sizes[self._sampled] <= MOST_SAMPLED]
        brute_force = BruteForce(sampled, shingles.read(sampled), self._config.ngram_words, self._config.verified_floor)
        slices = np.cumsum(shingles.sizes[self._compared]) // SLICE_SHINGLES
        ends = np.flatnonzero(np.diff(slices)) + 1
        with ThreadPoolExecutor(jobs) as executor:
            for _ in executor.map(
                lambda documents: brute_force.compare_sets(documents, shingles.read(documents)),
                np.split(self._compared, ends),
            ):
                pass
        self._brute_force = brute_force

    def measured(self, table: BandTable, rank: NDArray[np.int64], found: "VerifiedPairs") -> dict[str, object]:
        """Return the recall of planted copies and of the sample's pairs, for details.json."""
        documents = sorted(self._words)
        originals = Originals(documents, [self._words[document] for document in documents])
        planted = measured_recall(table, originals, rank, self._config)
        assert self._brute_force is not None
        sampled = self._brute_force.recall(np.arange(table.num_documents), found.pairs)
        sizes = {"sampled_documents": len(self._brute_force.documents), "compared_documents": len(self._compared)}
        return planted.as_json() | {"brute_force_sample": sampled.as_json() | sizes}
