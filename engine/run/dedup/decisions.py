"""Which document goes, for which, and why: equal texts and verified pairs become removals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.annotate.near_dup.keep import keep
from engine.annotate.near_dup.pairs import VerifiedPairs
from engine.run.dedup.equal_texts import NO_TEXT

KEPT = -1


@dataclass(frozen=True, eq=False)
class Decisions:
    """kept_by: int64[num_documents], the document that stays for it, KEPT (-1) where it stays itself.

    is_equal: whether it went for an equal text; shared, union: shingles of its text and of the text that stays, in
    common and together (1, 1 for equal texts that have none to compare).
    """

    kept_by: NDArray[np.int64]
    is_equal: NDArray[np.bool_]
    shared: NDArray[np.int64]
    union: NDArray[np.int64]


def best_of_equals(
    first_of: NDArray[np.int64], rank: NDArray[np.int64], pinned: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return (best, rank, pinned) of the texts, each int64 or bool[num_documents], known where first_of[d] == d.

    best: the document that stands for the text; ranks of all others are put behind theirs.
    """
    num_documents = len(first_of)
    has_text = np.flatnonzero(first_of != NO_TEXT)
    best = np.full(num_documents, NO_TEXT, dtype=np.int64)
    # Worst first, so that the best of a text is written last.
    by_rank = has_text[np.argsort(rank[has_text])[::-1]]
    best[first_of[by_rank]] = by_rank
    texts = np.flatnonzero(best != NO_TEXT)
    text_rank = rank + num_documents
    text_rank[texts] = rank[best[texts]]
    text_pinned = np.zeros(num_documents, dtype=np.bool_)
    text_pinned[texts] = pinned[best[texts]]
    return best, text_rank, text_pinned


def decide(
    first_of: NDArray[np.int64],
    best: NDArray[np.int64],
    text_rank: NDArray[np.int64],
    text_pinned: NDArray[np.bool_],
    pinned: NDArray[np.bool_],
    found: VerifiedPairs,
    threshold: float,
) -> Decisions:
    """Return what becomes of every document; pairs of `found` are documents that came first with their text."""
    similar = found.at_least(threshold)
    pairs, shared, union = found.pairs[similar], found.intersections[similar], found.unions[similar]
    text_kept_by = keep(pairs, shared, union, text_rank, text_pinned)
    num_documents = len(first_of)
    has_text = first_of != NO_TEXT
    text = np.where(has_text, first_of, 0)
    fell = has_text & (text_kept_by[text] >= 0)
    final = np.where(fell, best[text_kept_by[text]], best[text])
    is_equal = has_text & (best[text] != np.arange(num_documents))
    goes = (fell | is_equal) & ~pinned
    ones = np.ones(num_documents, dtype=np.int64)
    decisions = Decisions(np.where(goes, final, KEPT), is_equal & goes, ones, ones.copy())
    gone = np.flatnonzero(goes & fell)
    places = _places_of(pairs, text[gone], text_kept_by[text[gone]], num_documents)
    decisions.shared[gone], decisions.union[gone] = shared[places], union[places]
    return decisions


def _places_of(
    pairs: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64], num_documents: int
) -> NDArray[np.int64]:
    """Return where the pairs (one, other) stand in `pairs`, which are ascending."""
    keys = pairs[:, 0] * num_documents + pairs[:, 1]
    return np.searchsorted(keys, np.minimum(one, other) * num_documents + np.maximum(one, other))
