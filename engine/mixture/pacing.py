"""Competence pacing: when a document becomes available, and a random draw among those that are.

Platanios et al. 2019 (engine.mixture.curriculum.competence), in integers.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from engine.mixture.curriculum import FINEST_COMPETENCE
from engine.text.kernels import kernel


def openings(count: int, initial: Fraction) -> NDArray[np.int64]:
    """Return the first position at which each of `count` documents, by ascending difficulty, may stand.

    At position i the first ceil(count * sqrt(initial^2 + (1 - initial^2) * i / count)) may. initial: above 0.
    """
    assert 0 < initial <= 1
    assert initial.denominator <= FINEST_COMPETENCE
    if initial == 1:
        return np.zeros(count, dtype=np.int64)
    above, below = initial.numerator**2, initial.denominator**2
    # For 10^9 documents and competences of four decimals 64 bits hold every product.
    # Document r opens at the least i > (r^2 * below - n^2 * above) / (n * (below - above)). Dividing r^2 by n first
    # keeps every product within n * below; a floor of a floor is the floor.
    ranks = np.arange(count, dtype=np.int64)
    quotient, rest = np.divmod(ranks * ranks, count) if count else (ranks, ranks)
    last_closed = (quotient * below - count * above + rest * below // max(count, 1)) // (below - above)
    return np.asarray(np.maximum(last_closed + 1, 0))


@kernel
def paced(openings: NDArray[np.int64], seed: np.uint64) -> NDArray[np.int64]:
    """Return an order of the documents in which each stands at its opening or later.

    openings: ascending, the one of document i at most i. Each position draws evenly among the documents that are open
    and left, by the finalizer of SplitMix64 (Steele, Lea and Flood 2014) of seed and position.
    """
    count = openings.size
    drawn = np.empty(count, np.int64)
    waiting = np.empty(count, np.int64)
    size, opened = 0, 0
    for position in range(count):
        while opened < count and openings[opened] <= position:
            waiting[size] = opened
            size += 1
            opened += 1
        mixed = seed + np.uint64(position + 1) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
        place = np.int64(mixed % np.uint64(size))
        drawn[position] = waiting[place]
        size -= 1
        waiting[place] = waiting[size]
    return drawn
