"""Measured recall: near-duplicates of known similarity, planted beside the documents, and how many would be found.

A copy of a document has words replaced until its similarity to the original lies just above the floor, where the
chance to be missed is highest. Copies are words, signatures and bands like all others, made by the same kernels; they
are only looked up in the table of bands and never enter it, so no result can hold one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.annotate.near_dup.bands import HOT_BUCKET_LEADERS, NO_BUCKET, BandTable, band_hashes, choose_bands
from engine.annotate.near_dup.minhash import sign_words
from engine.annotate.near_dup.recall import Recall
from engine.annotate.near_dup.verify import at_least
from engine.text.words import Words, ngram_hashes

if TYPE_CHECKING:
    from engine.annotate.near_dup import Config

MAX_PLANTED = 1000
LEAST_WORDS = 24
MOST_WORDS = 10_000
"""Longer documents are not copied: a thousand of them would take too much memory."""


@dataclass(frozen=True)
class Originals:
    """Documents of which copies are planted: their numbers, and the word hashes of each."""

    documents: Sequence[int]
    words: Sequence[NDArray[np.uint64]]


@dataclass(frozen=True)
class Planted:
    """How many of the planted copies are found, and how similar they are to their originals on average."""

    recall: Recall
    mean_similarity: float

    def as_json(self) -> dict[str, object]:
        """Return the figures for reports."""
        return self.recall.as_json("planted") | {"mean_similarity": round(self.mean_similarity, 4)}


def is_original(digests: NDArray[np.uint64], num_documents: int) -> NDArray[np.bool_]:
    """Return which documents are originals, about `MAX_PLANTED` of all, chosen by the digests of their texts.

    digests: uint64[documents, 2]. The choice depends on the text alone, not on files or order.
    """
    bound = min(MAX_PLANTED / max(num_documents, 1), 1) * float(1 << 63)
    return (digests[:, 1] >> np.uint64(1)) < np.uint64(bound)


def measured_recall(
    table: BandTable,
    originals: Originals,
    rank: NDArray[np.int64],
    config: "Config",
    hot_bucket_leaders: int = HOT_BUCKET_LEADERS,
) -> Planted:
    """Plant a copy of each original and return how many are proposed; originals that are too short give none."""
    floor, ngram_words = config.verified_floor, config.ngram_words
    bands, rows = choose_bands(floor, config.recall, config.num_permutations)
    documents, copies, similarities = [], [], []
    for document, original in zip(originals.documents, originals.words, strict=True):
        if (planted := plant(original, ngram_words, floor)) is not None:
            documents.append(document)
            copies.append(planted[0])
            similarities.append(planted[1])
    if not documents:
        return Planted(Recall(0, 0), 0.0)
    offsets = np.concatenate([[0], np.cumsum([len(words) for words in copies])]).astype(np.int64)
    words = Words(offsets, np.concatenate(copies))
    hashes = band_hashes(
        sign_words(words, ngram_words, bands * rows, config.num_permutations, config.seed), bands, rows
    )
    places = np.array(documents)
    is_found = np.zeros(len(documents), dtype=np.bool_)
    for band in range(table.num_bands):
        buckets = table.band(band)
        shared = (hashes[:, band] == buckets[places]) & (hashes[:, band] != NO_BUCKET) & ~is_found
        if shared.any():
            is_found |= shared & _is_compared(
                buckets, places, rank, shared, config.max_bucket_documents, hot_bucket_leaders
            )
    # fsum: the same for any order of the documents.
    return Planted(Recall(len(documents), int(is_found.sum())), fsum(similarities) / len(similarities))


def plant(words: NDArray[np.uint64], ngram_words: int, floor: float) -> tuple[NDArray[np.uint64], float] | None:
    """Return (words of a copy, its similarity), the least similar one at or above `floor` that replacing words gives.

    Words are replaced in a random order by new ones, so a shingle is lost with the first of its words, and so many new
    ones come as n-grams are changed: the similarity after each replaced word is counted, not measured. None where the
    document is too short or too long, or its first replaced word falls below the floor.
    """
    if not max(LEAST_WORDS, 2 * ngram_words) <= len(words) <= MOST_WORDS:
        return None
    # Seeded by the text, so that the same corpus gives the same figure in whatever order it comes.
    generator = np.random.Generator(np.random.PCG64(int(np.bitwise_xor.reduce(words))))
    order = generator.permutation(len(words))
    fresh = generator.integers(1, 1 << 63, len(words), dtype=np.uint64)
    place = np.empty(len(words), dtype=np.int64)
    place[order] = np.arange(len(words))
    _, ngrams = ngram_hashes(Words(np.array([0, len(words)]), words), ngram_words)
    changed_at = np.lib.stride_tricks.sliding_window_view(place, ngram_words).min(axis=1)
    by_hash = np.argsort(ngrams)
    begins = np.flatnonzero(np.diff(ngrams[by_hash], prepend=~ngrams[by_hash[0]]))
    # A shingle that stands in several places is lost with the last of them.
    lost_at = np.maximum.reduceat(changed_at[by_hash], begins)
    replaced = np.arange(1, len(words) + 1)
    shared = len(begins) - np.searchsorted(np.sort(lost_at), replaced)
    union = len(begins) + np.searchsorted(np.sort(changed_at), replaced)
    num_replaced = int(at_least(shared, union, floor).sum())
    if num_replaced == 0:
        return None
    copy = words.copy()
    copy[order[:num_replaced]] = fresh[:num_replaced]
    return copy, float(shared[num_replaced - 1] / union[num_replaced - 1])


def _is_compared(
    buckets: NDArray[np.uint64],
    places: NDArray[np.int64],
    rank: NDArray[np.int64],
    shared: NDArray[np.bool_],
    max_bucket_documents: int,
    hot_bucket_leaders: int,
) -> NDArray[np.bool_]:
    """Return for which shared buckets the original would be compared with a new member: in hot ones leaders only."""
    compared = shared.copy()
    at = np.flatnonzero(shared)
    ordered, wanted = np.sort(buckets), buckets[places[at]]
    # A copy enters no bucket, so it makes none hot: with no hot bucket among the documents ranks decide nothing.
    sizes = np.searchsorted(ordered, wanted, side="right") - np.searchsorted(ordered, wanted)
    for place in at[sizes > max_bucket_documents]:
        members = np.flatnonzero(buckets == buckets[places[place]])
        leaders = members[np.argsort(rank[members])[:hot_bucket_leaders]]
        compared[place] = places[place] in leaders
    return compared
