"""Who is taken where a group has less room than documents: one order, and only as much of it as is needed.

Documents stand as rows of numbers, the entries of a group one behind the other. A quicksort that always goes on with
what comes first puts the first ones in order and stops as soon as nothing fits any more, so that a group of n documents
with room for k takes about n + k log k steps. Source: Paredes and Navarro, "Optimal Incremental Sorting" (ALENEX 2006).
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.hashing import digest_parts
from engine.text.kernels import absorb, finish, kernel

Numbers = NDArray[np.int64]
Entries = NDArray[np.uint64]
PREFER, HASH, ID, SIZE, PLACE = range(5)
"""Columns of entries: key of the preferred column, hash of the doc_id, its first half, size, place in the corpus."""
COLUMNS = 5
KEY = 3
"""Columns, the first ones, that say the order."""
_LEAF = 12
_DEPTH = 4096
_SIGN = np.uint64(1 << 63)


def order_seed(seed: int, reason: str) -> np.uint64:
    """Return the seed of the hash that orders documents for one rule.

    The rule's name is in it: with one order for all rules, the second would prefer what the first had left.
    """
    return np.uint64(int.from_bytes(digest_parts((seed.to_bytes(8, "little"), reason.encode()))[:8], "little"))


def preference_keys(values: pl.Series) -> NDArray[np.uint64]:
    """Return numbers that are smaller the higher a value is: uint64[rows]; null and NaN have the largest."""
    last = np.iinfo(np.uint64).max
    nothing = values.is_null().to_numpy()
    if values.dtype.is_integer():
        unsigned = values.dtype == pl.UInt64
        whole = values.fill_null(0).cast(pl.UInt64 if unsigned else pl.Int64).to_numpy(writable=True).view(np.uint64)
        ascending = whole if unsigned else whole ^ _SIGN
    else:
        real = values.cast(pl.Float64).fill_null(float("nan")).to_numpy(writable=True) + 0.0  # -0.0 is 0.0
        nothing = np.isnan(real)
        bits = real.view(np.uint64)
        ascending = np.where(bits >> np.uint64(63), ~bits, bits | _SIGN)
    return np.where(nothing, last, np.minimum(~ascending, np.uint64(last - 1)))


@kernel
def count_groups(codes: NDArray[np.uint32], sizes: Numbers, amounts: Numbers, documents: Numbers) -> None:
    """Add the sizes and the number of the documents of each group; `sizes` empty: each counts 1."""
    for row in range(codes.size):
        code = codes[row]
        if code < documents.size:
            documents[code] += 1
            amounts[code] += sizes[row] if sizes.size else 1


@kernel
def enter(
    codes: NDArray[np.uint32],
    cursors: Numbers,
    words: Entries,
    prefer: Entries,
    sizes: Numbers,
    first_place: int,
    seed: np.uint64,
    entries: Entries,
) -> None:
    """Write the documents of a shard into the entries of their groups.

    cursors: place of the next entry of each group, -1 where its documents are not entered; moved on. words: the
    doc_ids as two numbers. prefer, sizes: empty where the rule prefers nothing, counts documents.
    """
    for row in range(codes.size):
        code = codes[row]
        if code < cursors.size and cursors[code] >= 0:
            place = cursors[code]
            cursors[code] += 1
            entries[place, PREFER] = prefer[row] if prefer.size else np.uint64(0)
            entries[place, HASH] = finish(absorb(absorb(seed, words[row, 0]), words[row, 1]))
            entries[place, ID] = words[row, 0]
            entries[place, SIZE] = np.uint64(sizes[row] if sizes.size else 1)
            entries[place, PLACE] = np.uint64(first_place + row)


@kernel
def _is_before(entries: Entries, row: int, prefer: np.uint64, order: np.uint64, identity: np.uint64) -> bool:
    if entries[row, PREFER] != prefer:
        return bool(entries[row, PREFER] < prefer)
    if entries[row, HASH] != order:
        return bool(entries[row, HASH] < order)
    return bool(entries[row, ID] < identity)


@kernel
def _is_behind(entries: Entries, row: int, prefer: np.uint64, order: np.uint64, identity: np.uint64) -> bool:
    if entries[row, PREFER] != prefer:
        return bool(entries[row, PREFER] > prefer)
    if entries[row, HASH] != order:
        return bool(entries[row, HASH] > order)
    return bool(entries[row, ID] > identity)


@kernel
def bins_of(keys: Entries, bounds: Entries) -> NDArray[np.uint32]:
    """Return for each row how many bounds are not behind it; both begin with the columns of KEY, bounds in order."""
    bins = np.empty(len(keys), dtype=np.uint32)
    for row in range(len(keys)):
        low, high = 0, len(bounds)
        while low < high:
            middle = (low + high) // 2
            if _is_behind(bounds, middle, keys[row, PREFER], keys[row, HASH], keys[row, ID]):
                high = middle
            else:
                low = middle + 1
        bins[row] = low
    return bins


@kernel
def take(
    entries: Entries, starts: Numbers, rooms: Numbers, is_closing: bool, left: NDArray[np.uint8], taken: Numbers
) -> None:
    """Take the documents of each group in order as long as they fit, and mark the others in `left`.

    starts: int64[groups + 1]. rooms: what is free in each. is_closing: whether after the first that does not fit nobody
    does. left: uint8[documents of the corpus]. taken: int64[groups, 2], added up: amounts and documents.
    """
    ends = np.empty(_DEPTH, dtype=np.int64)
    for group in range(rooms.size):
        first, end = starts[group], starts[group + 1]
        room = rooms[group]
        smallest = np.int64(0)
        for row in range(first, end):
            size = np.int64(entries[row, SIZE])
            if row == first or size < smallest:
                smallest = size
        depth = 0
        bound = end
        while first < end and room >= smallest:
            while bound - first > _LEAF and depth < _DEPTH:
                ends[depth] = bound
                depth += 1
                bound = _parted(entries, first, bound)
            _sort(entries, first, bound)
            for row in range(first, bound):
                size = np.int64(entries[row, SIZE])
                if size <= room:
                    room -= size
                    taken[group, 0] += size
                    taken[group, 1] += 1
                else:
                    left[np.int64(entries[row, PLACE])] = 1
                    if is_closing:
                        room = np.int64(-1)
            first = bound
            if depth:
                depth -= 1
                bound = ends[depth]
        for row in range(first, end):
            left[np.int64(entries[row, PLACE])] = 1


@kernel
def _swap(entries: Entries, one: int, other: int) -> None:
    for column in range(COLUMNS):
        kept = entries[one, column]
        entries[one, column] = entries[other, column]
        entries[other, column] = kept


@kernel
def _parted(entries: Entries, first: int, end: int) -> int:
    """Part rows first to before end in two, none of the first part behind one of the second; return where (Hoare)."""
    middle, last = (first + end) // 2, end - 1
    # The median of three as pivot, put first.
    if _is_before(entries, middle, entries[first, PREFER], entries[first, HASH], entries[first, ID]):
        _swap(entries, middle, first)
    if _is_before(entries, last, entries[first, PREFER], entries[first, HASH], entries[first, ID]):
        _swap(entries, last, first)
    if _is_before(entries, last, entries[middle, PREFER], entries[middle, HASH], entries[middle, ID]):
        _swap(entries, last, middle)
    _swap(entries, first, middle)
    prefer, order, identity = entries[first, PREFER], entries[first, HASH], entries[first, ID]
    low, high = first - 1, end
    while True:
        low += 1
        while _is_before(entries, low, prefer, order, identity):
            low += 1
        high -= 1
        while _is_behind(entries, high, prefer, order, identity):
            high -= 1
        if low >= high:
            return high + 1
        _swap(entries, low, high)


@kernel
def _sort(entries: Entries, first: int, end: int) -> None:
    for row in range(first + 1, end):
        prefer, order, identity = entries[row, PREFER], entries[row, HASH], entries[row, ID]
        place = row
        while place > first and _is_behind(entries, place - 1, prefer, order, identity):
            _swap(entries, place - 1, place)
            place -= 1
