"""Exact Jaccard similarity of candidate pairs, and its comparison with a threshold, in integers only.

A similarity is kept as (intersection, union): a threshold of 0.8 then counts a pair of exactly 4 in 5, on
every machine, which no quotient in floating point can promise.
"""

from decimal import Decimal, InvalidOperation

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import RecipeError, problem
from engine.text.kernels import Hashes, Places, kernel
from engine.text.words import ShingleSets

THRESHOLD_UNITS = 10_000
"""Thresholds are whole ten-thousandths."""


def jaccard(sets: ShingleSets, pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (intersections, unions) of pairs of documents, in shingles: int64[num_pairs] each.

    pairs: int64[num_pairs, 2]. Two empty sets give (0, 0).
    """
    pairs = np.ascontiguousarray(pairs, dtype=np.int64)
    intersections = np.empty(len(pairs), dtype=np.int64)
    _intersect(sets.offsets, sets.hashes, pairs, intersections)
    num_shingles = np.diff(sets.offsets)
    return intersections, num_shingles[pairs[:, 0]] + num_shingles[pairs[:, 1]] - intersections


def at_least(
    intersections: NDArray[np.int64], unions: NDArray[np.int64], threshold: float | str | Decimal
) -> NDArray[np.bool_]:
    """Return which similarities are at least `threshold`, exactly: bool[num_pairs].

    The threshold is meant as it is written in decimals: 0.8 is 4/5. Empty unions (0, 0) are similar to
    nothing. Raises RecipeError unless it is above 0, at most 1, with at most four digits after the point.
    """
    return (unions > 0) & (intersections * THRESHOLD_UNITS >= unions * threshold_units(threshold))


def threshold_units(threshold: float | str | Decimal) -> int:
    """Return the threshold in ten-thousandths, 1..10000; errors as for `at_least`."""
    try:
        units = Decimal(str(threshold)) * THRESHOLD_UNITS
        if 0 < units <= THRESHOLD_UNITS and units == int(units):
            return int(units)
    except InvalidOperation:
        pass
    needed = "above 0, at most 1, with at most 4 digits after the point (fraction of shared shingles)"
    raise RecipeError(problem("near_dup: threshold", f"got {threshold}", needed))


@kernel
def _intersect(offsets: Places, hashes: Hashes, pairs: Places, intersections: Places) -> None:
    for pair in range(len(pairs)):
        one, other = pairs[pair]
        intersections[pair] = _num_common(
            hashes[offsets[one] : offsets[one + 1]], hashes[offsets[other] : offsets[other + 1]]
        )


@kernel
def _num_common(one: Hashes, other: Hashes) -> int:
    """Return how many values two ascending arrays share, by one merge that does not branch on the data."""
    at_one, at_other, num_common = 0, 0, 0
    while at_one < len(one) and at_other < len(other):
        value_one, value_other = one[at_one], other[at_other]
        num_common += value_one == value_other
        at_one += value_one <= value_other
        at_other += value_other <= value_one
    return num_common
