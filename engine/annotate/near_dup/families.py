"""Intersections within a family: where many documents hang together, sets become bitmaps and a comparison counts bits.

The shingles that several members of a family have are numbered, and a document is one bit for each of them. It pays if
each document is compared with several others: entering a set costs once, each comparison a few vector instructions.
"""

import numpy as np
from numpy.typing import NDArray

from engine.text.instructions import num_ones
from engine.text.kernels import Hashes, Integer, Places, kernel

Numbers = NDArray[np.int32]

LEAST_COMPARISONS = 4
"""Comparisons per document from which numbering its shingles pays."""
MAX_BITMAP_WORDS = 1 << 23
"""64-bit words of all bitmaps of a family (64 MB)."""
_WORDS_PER_LOOKUP = 16
"""A comparison may take this many words for each shingle it would have to look up otherwise."""
_FIRST_SLOTS = 1024
_ONE, _BIT_MASK = np.uint64(1), np.uint64(63)


@kernel
def count_in_family(
    offsets: Places, hashes: Hashes, pairs: Places, begin: int, end: int, member_of: Places, intersections: Places
) -> bool:
    """Write how many shingles the pairs begin..end - 1 of one family share; False where bitmaps would not pay.

    member_of: int64[num_documents], all -1 before and after.
    """
    members = np.empty(min(2 * (end - begin), len(member_of)), dtype=np.int64)
    num_members, num_shingles, num_lookups = 0, 0, 0
    for pair in range(begin, end):
        for document in pairs[pair]:
            if member_of[document] < 0:
                member_of[document] = num_members
                members[num_members] = document
                num_members += 1
                num_shingles += offsets[document + 1] - offsets[document]
        num_lookups += offsets[pairs[pair, 1] + 1] - offsets[pairs[pair, 1]]
    members = members[:num_members]
    pays = num_lookups >= LEAST_COMPARISONS * num_shingles
    if pays:
        numbers = np.empty(num_shingles, dtype=np.int32)
        num_distinct = _number_shingles(offsets, hashes, members, numbers)
        num_words = (_number_shared(numbers, num_distinct) + 63) // 64
        pays = num_words * num_members <= MAX_BITMAP_WORDS
        pays &= num_words * (end - begin) <= _WORDS_PER_LOOKUP * num_lookups
        if pays:
            bitmaps = np.zeros((num_members, num_words), dtype=np.uint64)
            _set_bits(offsets, members, numbers, bitmaps)
            for pair in range(begin, end):
                one, other = pairs[pair]
                shared = _num_shared_bits(bitmaps[member_of[one]], bitmaps[member_of[other]])
                # A document has bits for what others have too, so with itself it would share too little.
                intersections[pair] = shared if one != other else offsets[one + 1] - offsets[one]
    for document in members:
        member_of[document] = -1
    return pays


@kernel
def _number_shingles(offsets: Places, hashes: Hashes, members: Places, numbers: Numbers) -> int:
    """Write the number of each shingle of each member, one member after the other; return how many there are."""
    keys = np.empty(_FIRST_SLOTS, dtype=np.uint64)
    number_at = np.full(_FIRST_SLOTS, np.int32(-1))
    num_distinct, at = 0, 0
    for member in members:
        for shingle in hashes[offsets[member] : offsets[member + 1]]:
            slot = _slot_of(keys, number_at, shingle)
            if number_at[slot] < 0:
                keys[slot] = shingle
                number_at[slot] = num_distinct
                num_distinct += 1
                if 2 * num_distinct > len(keys):
                    numbers[at] = num_distinct - 1
                    at += 1
                    keys, number_at = _with_twice_the_slots(keys, number_at)
                    continue
            numbers[at] = number_at[slot]
            at += 1
    return num_distinct


@kernel
def _number_shared(numbers: Numbers, num_distinct: int) -> int:
    """Number again those shingles that several members have, -1 for all others; return how many these are."""
    again = np.full(num_distinct, np.int32(-2))
    num_shared = 0
    for number in numbers:
        # -2: not seen yet; -1: seen once.
        if again[number] == -2:
            again[number] = -1
        elif again[number] == -1:
            again[number] = num_shared
            num_shared += 1
    for at in range(len(numbers)):
        numbers[at] = again[numbers[at]]
    return num_shared


@kernel
def _slot_of(keys: Hashes, number_at: Numbers, shingle: np.uint64) -> np.uint64:
    mask = np.uint64(len(keys) - 1)
    slot = shingle & mask
    while number_at[slot] >= 0 and keys[slot] != shingle:
        slot = (slot + _ONE) & mask
    return slot


@kernel
def _with_twice_the_slots(keys: Hashes, number_at: Numbers) -> tuple[Hashes, Numbers]:
    more_keys = np.empty(2 * len(keys), dtype=np.uint64)
    more_numbers = np.full(2 * len(keys), np.int32(-1))
    for slot in range(len(keys)):
        if number_at[slot] >= 0:
            new_slot = _slot_of(more_keys, more_numbers, keys[slot])
            more_keys[new_slot], more_numbers[new_slot] = keys[slot], number_at[slot]
    return more_keys, more_numbers


@kernel
def _set_bits(offsets: Places, members: Places, numbers: Numbers, bitmaps: Hashes) -> None:
    at = 0
    for member in range(len(members)):
        for _ in range(offsets[members[member] + 1] - offsets[members[member]]):
            if numbers[at] >= 0:
                number = np.uint64(numbers[at])
                bitmaps[member, number >> np.uint64(6)] |= _ONE << (number & _BIT_MASK)
            at += 1


@kernel
def _num_shared_bits(one: Hashes, other: Hashes) -> Integer:
    num_shared = np.uint64(0)
    for word in range(len(one)):
        num_shared += num_ones(one[word] & other[word])
    return np.int64(num_shared)
