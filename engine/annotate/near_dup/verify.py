"""Exact Jaccard similarity of candidate pairs, and its comparison with a threshold, in integers only.

A similarity is kept as (intersection, union): a threshold of 0.8 then counts a pair of exactly 4 in 5, on
every machine, which no quotient in floating point can promise.
"""

from decimal import Decimal, InvalidOperation

import numpy as np
from numpy.typing import NDArray

from engine.annotate.near_dup.families import count_in_family
from engine.base.errors import RecipeError, problem
from engine.text.kernels import Hashes, Places, kernel
from engine.text.words import ShingleSets

THRESHOLD_UNITS = 10_000
"""Thresholds are whole ten-thousandths."""
BELOW = -1
_STEPS = 64
_EMPTY, _ONE = np.uint64(0), np.uint64(1)


def jaccard(sets: ShingleSets, pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (intersections, unions) of pairs of documents, in shingles: int64[num_pairs] each.

    pairs: int64[num_pairs, 2]. Two empty sets give (0, 0).
    """
    num_shingles = np.diff(sets.offsets)
    intersections = intersections_at_least(sets, pairs, 0)
    return intersections, num_shingles[pairs[:, 0]] + num_shingles[pairs[:, 1]] - intersections


def intersections_at_least(
    sets: ShingleSets, pairs: NDArray[np.int64], units: int, families: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the shared shingles of pairs at least `units` ten-thousandths similar, BELOW (-1) of all others.

    Two empty sets share 0 of 0, which is not taken for below.

    pairs: int64[num_pairs, 2], best sorted by family, then by their first document; families: int64[num_pairs], what
    may be compared by bitmaps together (by default all).
    """
    pairs = np.ascontiguousarray(pairs, dtype=np.int64)
    families = np.zeros(len(pairs), dtype=np.int64) if families is None else families
    intersections = np.empty(len(pairs), dtype=np.int64)
    member_of = np.full(len(sets.offsets) - 1, -1)
    _intersect_families(sets.offsets, sets.hashes, pairs, families, units, member_of, intersections)
    return intersections


def may_reach(sizes: NDArray[np.int64], pairs: NDArray[np.int64], units: int) -> NDArray[np.bool_]:
    """Return which pairs could be `units` ten-thousandths similar by the sizes of their sets alone: bool[num_pairs]."""
    one, other = sizes[pairs[:, 0]], sizes[pairs[:, 1]]
    return np.minimum(one, other) * THRESHOLD_UNITS >= np.maximum(one, other) * units


def at_least(
    intersections: NDArray[np.int64], unions: NDArray[np.int64], threshold: float | str | Decimal
) -> NDArray[np.bool_]:
    """Return which similarities are at least `threshold`, exactly: bool[num_pairs].

    The threshold is meant as it is written in decimals: 0.8 is 4/5. Empty unions (0, 0) are similar to
    nothing. Raises RecipeError unless it is above 0, at most 1, with at most four digits after the point.
    """
    return (unions > 0) & (intersections * THRESHOLD_UNITS >= unions * threshold_units(threshold))


def rounded_down(intersections: NDArray[np.int64], unions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return similarities in whole ten-thousandths: float64[num_pairs].

    Rounded down, so that comparing one with a threshold decides as the exact fraction does.
    """
    return intersections * THRESHOLD_UNITS // unions / THRESHOLD_UNITS


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
def _intersect_families(
    offsets: Places, hashes: Hashes, pairs: Places, families: Places, units: int, member_of: Places, out: Places
) -> None:
    begin = 0
    for end in range(1, len(pairs) + 1):
        if end < len(pairs) and families[end] == families[begin]:
            continue
        if count_in_family(offsets, hashes, pairs, begin, end, member_of, out):
            for pair in range(begin, end):
                if out[pair] < _needed(offsets, pairs[pair, 0], pairs[pair, 1], units):
                    out[pair] = BELOW
        else:
            _look_up(offsets, hashes, pairs, begin, end, units, out)
        begin = end


@kernel
def _needed(offsets: Places, one: int, other: int, units: int) -> int:
    """Return the least intersection that makes two sets similar: J >= t means at least t / (1 + t) of both together."""
    both = offsets[one + 1] - offsets[one] + offsets[other + 1] - offsets[other]
    return -(-both * units // (THRESHOLD_UNITS + units))


@kernel
def _look_up(
    offsets: Places, hashes: Hashes, pairs: Places, begin: int, end: int, units: int, intersections: Places
) -> None:
    """Write the intersections of the pairs begin..end - 1 by looking the shingles of one set up in the other."""
    largest = 0
    for pair in range(begin, end):
        largest = max(largest, offsets[pairs[pair, 0] + 1] - offsets[pairs[pair, 0]])
    table = np.empty(_num_slots(largest), dtype=np.uint64)
    slots, held = table, -1
    for pair in range(begin, end):
        one, other = pairs[pair]
        values = hashes[offsets[one] : offsets[one + 1]]
        others = hashes[offsets[other] : offsets[other + 1]]
        if one != held:
            # Pairs of one document follow each other, so its set is entered once for all of them.
            held, slots = one, table[: _num_slots(len(values))]
            _enter(values, slots)
        # Zero, the mark of an empty slot, is the first of a set that has it, and always taken for found.
        start = -1 if len(others) and others[0] == _EMPTY and not (len(values) and values[0] == _EMPTY) else 0
        intersections[pair] = _num_entered(others, slots, _needed(offsets, one, other, units), start)


@kernel
def _num_slots(size: int) -> int:
    """Return the slots of a set: a power of two, at least three quarters of them empty."""
    num_slots = 16
    while num_slots < 4 * size:
        num_slots *= 2
    return num_slots


@kernel
def _enter(values: Hashes, slots: Hashes) -> None:
    """Enter a set into an open hash table; shingles are uniform hashes, so their low bits are the slot."""
    slots[:] = _EMPTY
    mask = np.uint64(len(slots) - 1)
    for value in values:
        slot = value & mask
        while slots[slot] != _EMPTY:
            slot = (slot + _ONE) & mask
        slots[slot] = value


@kernel
def _num_entered(values: Hashes, slots: Hashes, needed: int, num_common: int) -> int:
    """Return how many `values` stand in the table, added to `num_common`, or BELOW once it cannot become `needed`."""
    mask = np.uint64(len(slots) - 1)
    at, end = 0, len(values)
    while at < end:
        block_end = min(at + _STEPS, end)
        for place in range(at, block_end):
            value = values[place]
            slot = value & mask
            entered = slots[slot]
            # One branch, and a rare one: whether a shingle is there at all would be mispredicted every third time.
            while (entered != value) & (entered != _EMPTY):
                slot = (slot + _ONE) & mask
                entered = slots[slot]
            num_common += entered == value
        at = block_end
        if num_common + end - at < needed:
            return BELOW
    return num_common if num_common >= needed else BELOW
