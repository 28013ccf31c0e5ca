"""Lines and paragraphs that occur again in the same text."""

import numpy as np
from numpy.typing import NDArray

from engine.annotate.heuristics.characters import Pieces
from engine.text.kernels import Entries, Hashes, Integer, Places, inlined, kernel

_ONE = np.uint64(1)


def count_repeats(pieces: Pieces, counts: NDArray[np.int64], num_repeated: int, repeated_chars: int) -> None:
    """Write how many pieces of each document occurred before in it, and their characters, to two columns of counts."""
    keys, seen = table(int(np.diff(pieces.offsets).max(initial=0)))
    _count_repeats(pieces.offsets, pieces.hashes, pieces.chars, keys, seen, counts, num_repeated, repeated_chars)


def table(most: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return (keys, occurrences) of a hash table of open addressing that `most` keys fill to a half at most."""
    size = 1 << max(1, (2 * most - 1).bit_length())
    return np.empty(size, dtype=np.uint64), np.empty(size, dtype=np.uint32)


@kernel
def table_bits(num_keys: Integer) -> Integer:
    """Return the base-2 logarithm of the part of a table that so many keys use."""
    bits: Integer = 1
    while 1 << bits < 2 * num_keys:
        bits += 1
    return bits


@inlined
def find_slot(key: np.uint64, mixed: np.uint64, bits: Integer, keys: Hashes, seen: Entries) -> np.uint64:
    """Return the slot of a key, or the empty one where it would stand; the top bits of `mixed` tell where to begin."""
    slot = mixed >> np.uint64(64 - bits)
    while seen[slot] > 0 and keys[slot] != key:
        slot = (slot + _ONE) & ((_ONE << np.uint64(bits)) - _ONE)
    return slot


@kernel
def _count_repeats(
    offsets: Places, hashes: Hashes, chars: Places, keys: Hashes, seen: Entries, counts: Places,
    num_repeated: Integer, repeated_chars: Integer,
) -> None:  # fmt: skip
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        bits = table_bits(end - begin)
        seen[: 1 << bits] = 0
        for piece in range(begin, end):
            slot = find_slot(hashes[piece], hashes[piece], bits, keys, seen)
            if seen[slot] > 0:
                counts[document, num_repeated] += 1
                counts[document, repeated_chars] += chars[piece]
            keys[slot], seen[slot] = hashes[piece], 1
