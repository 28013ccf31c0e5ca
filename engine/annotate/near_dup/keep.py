"""Which documents stay: the greedy maximal independent set of similar pairs, in rank order.

Best rank first, a document is kept unless a kept one is similar to it. So every removed document has a kept
one it is similar to, no two kept ones are similar, and nothing is removed over a chain of likenesses. The
answer depends on ranks and pairs alone, not on their order. It is not monotone in the threshold: fewer pairs
may keep fewer documents.
"""

import numpy as np
from numpy.typing import NDArray

from engine.text.kernels import Places, kernel

Flags = NDArray[np.bool_]
KEPT = -1


def keep(
    pairs: NDArray[np.int64],
    intersections: NDArray[np.int64],
    unions: NDArray[np.int64],
    rank: NDArray[np.int64],
    pinned: Flags | None = None,
) -> NDArray[np.int64]:
    """Return for each document KEPT (-1) or the kept document it fell to: int64[num_documents].

    That is the similar kept document of highest similarity, the better rank where these are equal.

    pairs: int64[num_pairs, 2], each pair once, only those that count as similar; intersections, unions:
    int64[num_pairs], their similarity; rank: int64[num_documents], all different, the best document lowest;
    pinned: bool[num_documents], documents that stay, also where two of them are similar; they come before all
    others.
    """
    num_documents = len(rank)
    pairs = np.ascontiguousarray(pairs, dtype=np.int64)
    pinned = np.zeros(num_documents, dtype=np.bool_) if pinned is None else pinned
    position = np.empty(num_documents, dtype=np.int64)
    position[np.lexsort((rank, ~pinned))] = np.arange(num_documents)
    better = np.where(position[pairs[:, 0]] < position[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    worse = pairs.sum(axis=1) - better
    is_removed = np.zeros(num_documents, dtype=np.bool_)
    _remove(better, worse, np.argsort(position[better]), pinned, is_removed)
    kept_by = np.full(num_documents, KEPT, dtype=np.int64)
    _name_keepers(pairs, intersections, unions, position, is_removed, kept_by)
    return kept_by


@kernel
def _remove(better: Places, worse: Places, order: Places, pinned: Flags, is_removed: Flags) -> None:
    """Mark what falls. Pairs come by their better document: what may remove that one has been seen."""
    for pair in order:
        if not is_removed[better[pair]] and not pinned[worse[pair]]:
            is_removed[worse[pair]] = True


@kernel
def _name_keepers(
    pairs: Places, intersections: Places, unions: Places, position: Places, is_removed: Flags, kept_by: Places
) -> None:
    chosen = np.full(len(kept_by), -1, dtype=np.int64)
    for pair in range(len(pairs)):
        one, other = pairs[pair]
        if is_removed[one] == is_removed[other]:
            continue
        kept, removed = (other, one) if is_removed[one] else (one, other)
        best = chosen[removed]
        if best >= 0:
            # Fractions are compared crosswise: exact, and far inside int64 for sets below 3e9 shingles.
            mine, others = intersections[pair] * unions[best], intersections[best] * unions[pair]
            if mine < others or (mine == others and position[kept] > position[kept_by[removed]]):
                continue
        chosen[removed], kept_by[removed] = pair, kept
