"""The loop that fills training rows, compiled; engine.pack.packing says what it does and why.

A look-ahead window is a set of queues, one per length, with a bit set of the lengths that wait: the longest piece that
still fits is found in a few instructions. Letters: k sources, n pieces, T tokens of a row.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.text.kernels import kernel

Integers = NDArray[np.int64]


class Shares(NamedTuple):
    """What keeps the shares; deviations and bounds are labels times `total`."""

    totals: Integers  # labels of each source
    total: int  # labels of all sources, at least 1
    bound: Integers  # how far off its share a source may be
    ahead: Integers  # how far ahead a piece that fills a gap may leave its source


class _Window(NamedTuple):
    """The look-ahead windows: pieces of each source by length, oldest first within a length."""

    present: NDArray[np.uint64]  # [k, words]: bit l is set where a piece of length l waits
    head: Integers  # [k, T + 1]: oldest waiting piece of that length, -1 where there is none
    tail: Integers  # [k, T + 1]: youngest
    following: Integers  # [n]: the next younger piece of the same source and length, -1 at the end


@kernel
def _enter(window: _Window, source: int, piece: int, length: int) -> None:
    if window.head[source, length] < 0:
        window.head[source, length] = piece
        window.present[source, length >> 6] |= np.uint64(1) << np.uint64(length & 63)
    else:
        window.following[window.tail[source, length]] = piece
    window.tail[source, length] = piece


@kernel
def _leave(window: _Window, source: int, length: int) -> int:
    """Take out and return the oldest piece of this length."""
    piece = window.head[source, length]
    window.head[source, length] = window.following[piece]
    if window.following[piece] < 0:
        window.present[source, length >> 6] &= ~(np.uint64(1) << np.uint64(length & 63))
    return piece


@kernel
def _longest(present: NDArray[np.uint64], limit: int) -> int:
    """Return the greatest length up to `limit` that is present, 0 where there is none."""
    word = limit >> 6
    bits = present[word] & (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(63 - (limit & 63)))
    while bits == 0:
        word -= 1
        if word < 0:
            return 0
        bits = present[word]
    length = word << 6
    for half in (32, 16, 8, 4, 2, 1):
        if bits >> np.uint64(half):
            bits >>= np.uint64(half)
            length += half
    return length


@kernel
def _excess(deviation: Integers, shares: Shares, source: int, labels: int, ahead: Integers) -> int:
    """Return how far the worst source would be beyond its bound after `source` places `labels`; 0 or less is within."""
    worst = -(1 << 62)
    for other in range(deviation.size):
        after = deviation[other] - labels * shares.totals[other]
        if other == source:
            after += labels * shares.total
        worst = max(worst, after - ahead[other], -after - shares.bound[other])
    return worst


@kernel
def _choose(offers: Integers, labels: Integers, deviation: Integers, shares: Shares, opens: bool) -> int:
    """Return the source whose offered piece is placed next, -1 for none; a row that opens always gets one."""
    chosen, chosen_progress = -1, 0
    least, least_excess = -1, 0
    ahead = shares.bound if opens else shares.ahead
    for source in range(offers.size):
        if offers[source] < 0:
            continue
        piece_labels = labels[offers[source]]
        excess = _excess(deviation, shares, source, piece_labels, ahead)
        # Progress at the middle of the piece, less that of the whole mixture: floor of (2 d + u S) / S_s.
        progress = (2 * deviation[source] + piece_labels * shares.total) // max(shares.totals[source], 1)
        if excess <= 0:
            if chosen < 0 or progress < chosen_progress:
                chosen, chosen_progress = source, progress
        elif least < 0 or excess < least_excess:
            least, least_excess = source, excess
    return least if opens and chosen < 0 else chosen


class _Queues(NamedTuple):
    """What has happened to the pieces of each source so far."""

    oldest: Integers  # [k]: no waiting piece is older
    entering: Integers  # [k]: the next piece to enter the window


@kernel
def _advance(window: _Window, queues: _Queues, source: int, length: Integers, end: int) -> None:
    """Let the next piece of the source into its window, where there is one before `end`."""
    piece = queues.entering[source]
    if piece < end:
        _enter(window, source, piece, length[piece])
        queues.entering[source] = piece + 1


@kernel
def _offer(window: _Window, queues: _Queues, source: int, free: int, row: Integers, end: int) -> int:
    """Return the longest piece that fits into `free` tokens, into an empty row (free = 0) the oldest; -1 for none."""
    if free > 0:
        fitting = _longest(window.present[source], free)
        return window.head[source, fitting] if fitting else -1
    while queues.oldest[source] < end and row[queues.oldest[source]] >= 0:
        queues.oldest[source] += 1
    return queues.oldest[source] if queues.oldest[source] < end else -1


@kernel
def place(
    length: Integers, labels: Integers, first: Integers, lookahead: Integers, row_tokens: int, rows_per_step: int,
    shares: Shares,
) -> tuple[Integers, Integers, int, Integers]:  # fmt: skip
    """Return row[n], start[n], the number of rows, and the largest deviation of each source at a step's end."""
    num_sources, num_pieces = first.size - 1, length.size
    window = _Window(
        np.zeros((num_sources, (row_tokens >> 6) + 1), np.uint64),
        np.full((num_sources, row_tokens + 1), -1, np.int64),
        np.full((num_sources, row_tokens + 1), -1, np.int64),
        np.full(num_pieces, -1, np.int64),
    )
    queues = _Queues(first[:-1].copy(), first[:-1].copy())
    for source in range(num_sources):
        for _ in range(lookahead[source]):
            _advance(window, queues, source, length, first[source + 1])
    row, start = np.full(num_pieces, -1, np.int64), np.zeros(num_pieces, np.int64)
    deviation, off = np.zeros(num_sources, np.int64), np.zeros(num_sources, np.int64)
    offers = np.empty(num_sources, np.int64)
    placed, num_rows = 0, 0
    while placed < num_pieces:
        used = 0
        while used < row_tokens and placed < num_pieces:
            free = row_tokens - used if used > 0 else 0
            for source in range(num_sources):
                offers[source] = _offer(window, queues, source, free, row, first[source + 1])
            source = _choose(offers, labels, deviation, shares, used == 0)
            if source < 0:
                break
            piece = _leave(window, source, length[offers[source]])
            _advance(window, queues, source, length, first[source + 1])
            row[piece], start[piece] = num_rows, used
            used += length[piece]
            placed += 1
            deviation -= labels[piece] * shares.totals
            deviation[source] += labels[piece] * shares.total
        num_rows += 1
        if num_rows % rows_per_step == 0 or placed == num_pieces:
            off = np.maximum(off, np.abs(deviation))
    return row, start, num_rows, off
