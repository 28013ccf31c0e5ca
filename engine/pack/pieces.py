"""Documents to the pieces that are packed: cut where longer than a row, every use placed, source by source.

A document longer than a row is cut into pieces of a row's length and what is left. What begins a piece is no label, for
nothing stands in front of it; so no cut falls in front of the last label of a run, where an answer or a text learns to
stop, but one token earlier. Of each source come first all documents once, then the second use of those that are
repeated, and so on; counting instead of sorting, so two passes over the documents. Letters: d documents, k sources, n
pieces.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import RecipeError, problem
from engine.pack.best_fit import Counts, Integers
from engine.pack.packing import Pieces
from engine.text.kernels import kernel

Numbers = NDArray[np.uint32]
MOST_PIECES = (1 << 31) - 1
"""In a phase; positions of pieces have 32 bits."""
_SET_BITS = np.array([byte.bit_count() for byte in range(256)], dtype=np.int64)


class Used(NamedTuple):
    """Documents of one phase, in the order of the curriculum."""

    source: NDArray[np.uint16]  # [d]: 0 to k - 1
    num_tokens: Counts  # [d]: of one use
    supervised_tokens: Counts  # [d]: of one use
    repeats: NDArray[np.uint16]  # [d]: uses
    store_row: Numbers  # [d]: where its offset stands


class Stored(NamedTuple):
    """What of the token store is needed where documents are cut; empty where none is."""

    offsets: Integers  # first token by row of the store
    bits: NDArray[np.uint8]  # may this token be a label: one bit per token, little bit order


class Places(NamedTuple):
    """Where each piece comes from."""

    document: Numbers  # [n]: position in the phase
    document_start: Numbers  # [n]: first token in its document
    repeat: NDArray[np.uint16]  # [n]: 0 for the first use


def cut(used: Used, sources: Sequence[str], stored: Stored, row_tokens: int) -> tuple[Pieces, Places]:
    """Return the pieces of all uses and where they come from, each source's in the order in which they are due.

    sources: names, in the order of their numbers; for messages. Raises RecipeError for more than MOST_PIECES.
    """
    num_sources = len(sources)
    count = _piece_counts(used, stored, num_sources, int(used.repeats.max(initial=1)), row_tokens)
    begins = np.cumsum(count) - count.ravel()
    num_pieces = int(count.sum())
    if num_pieces > MOST_PIECES:
        largest = sources[int(count.sum(axis=1).argmax())]
        found = f"{num_pieces} pieces of documents in a phase, most of them of source {largest}"
        fix = "set a larger row_tokens, or more phases with smaller budgets"
        raise RecipeError(problem("row_tokens", found, f"{MOST_PIECES} or fewer", fix))
    length, labels = np.empty(num_pieces, np.int32), np.empty(num_pieces, np.int32)
    places = Places(np.empty(num_pieces, np.uint32), np.empty(num_pieces, np.uint32), np.empty(num_pieces, np.uint16))
    _cut(used, stored, row_tokens, begins.reshape(count.shape), length, labels, places)
    longest = np.zeros(num_sources, np.int64)
    np.maximum.at(longest, used.source, used.supervised_tokens)
    first = np.cumsum([0, *count.sum(axis=1)])
    return Pieces(length, labels, first, count[:, 0].copy(), longest), places


@kernel
def _piece_counts(used: Used, stored: Stored, num_sources: int, max_repeats: int, row_tokens: int) -> Integers:
    """Return the pieces of each source and use: int64[k, max_repeats]."""
    count = np.zeros((num_sources, max_repeats), np.int64)
    for document in range(used.source.size):
        tokens, pieces, start = int(used.num_tokens[document]), 1, 0
        if tokens > row_tokens:
            offset = stored.offsets[used.store_row[document]]
            while tokens - start > row_tokens:
                start += _length(stored.bits, offset + start, tokens - start, row_tokens)
                pieces += 1
        for repeat in range(used.repeats[document]):
            count[used.source[document], repeat] += pieces
    return count


@kernel
def _cut(
    used: Used, stored: Stored, row_tokens: int, begins: Integers, length: Counts, labels: Counts, places: Places
) -> None:
    """Write the pieces; begins[k, repeat]: where the next one of that source and use goes."""
    for document in range(used.source.size):
        tokens, source = int(used.num_tokens[document]), used.source[document]
        for repeat in range(used.repeats[document]):
            piece, start = begins[source, repeat], 0
            while start < tokens:
                if tokens <= row_tokens:
                    length[piece], labels[piece] = tokens, used.supervised_tokens[document]
                else:
                    offset = stored.offsets[used.store_row[document]] + start
                    length[piece] = _length(stored.bits, offset, tokens - start, row_tokens)
                    labels[piece] = _set_bits(stored.bits, offset + 1, offset + length[piece])
                places.document[piece] = document
                places.document_start[piece] = start
                places.repeat[piece] = repeat
                start += length[piece]
                piece += 1
            begins[source, repeat] = piece


@kernel
def _length(bits: NDArray[np.uint8], first: int, left: int, row_tokens: int) -> int:
    """Return the length of the piece whose first token is `first` in the store, of a document with `left` tokens on."""
    if left <= row_tokens:
        return left
    behind = first + row_tokens
    is_label = _set_bits(bits, behind, behind + 1) > 0
    goes_on = left > row_tokens + 1 and _set_bits(bits, behind + 1, behind + 2) > 0
    return row_tokens - 1 if is_label and not goes_on else row_tokens


@kernel
def _set_bits(bits: NDArray[np.uint8], begin: int, end: int) -> int:
    """Return the set bits from `begin` up to `end`, which is not counted; little bit order."""
    found = 0
    while begin < end and begin & 7:
        found += (bits[begin >> 3] >> (begin & 7)) & 1
        begin += 1
    while begin + 8 <= end:
        found += _SET_BITS[bits[begin >> 3]]
        begin += 8
    while begin < end:
        found += (bits[begin >> 3] >> (begin & 7)) & 1
        begin += 1
    return found
