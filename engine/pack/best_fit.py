"""The loop that fills training rows, compiled; engine.pack.packing says what it does and why.

A look-ahead window is a set of queues, one per length, with a bit set of the lengths that wait: the longest piece that
still fits is found in a few instructions. Letters: k sources, n pieces, T tokens of a row.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.text.kernels import kernel

Integers = NDArray[np.int64]
Counts = NDArray[np.int32]
Placed = tuple[Counts, Counts, Counts, int, Integers]
"""(piece[n], row[n] and start[n] in the order placed, the number of rows, the largest deviations[k])."""


class Shape(NamedTuple):
    """Rows and steps."""

    row_tokens: int
    rows_per_step: int
    first_row: int  # rows placed before, by earlier phases: steps are counted over all of them


class Shares(NamedTuple):
    """What keeps the shares; deviations and bounds are labels times `total`."""

    totals: Integers  # labels of each source
    total: int  # labels of all sources, at least 1
    bound: Integers  # [2, k]: how far behind its share a source may end a step: as it is, as reckoned on the way there
    ahead: Integers  # [2, k]: how far ahead, where its piece fills a gap
    prefers_longest: bool  # gaps: the longest piece of all sources; otherwise that of the source furthest behind
    row_labels: int  # labels that a full row has on average
    most_rest: int  # no more labels to come are reckoned with: products stay within 64 bits; 0: shares kept all the way


class _Window(NamedTuple):
    """The look-ahead windows: pieces of each source by length, oldest first within a length."""

    present: NDArray[np.uint64]  # [k, words]: bit l is set where a piece of length l waits
    head: Counts  # [k, T + 1]: oldest waiting piece of that length, -1 where there is none
    tail: Counts  # [k, T + 1]: youngest
    following: Counts  # [n]: the next younger piece of the same source and length, -1 at the end


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
def _excess(deviation: Integers, shares: Shares, source: int, labels: int, rest: int, ahead: Integers) -> int:
    """Return how far the worst source must end the step beyond its bound once `source` has placed `labels`.

    0 or less: all can end it within. `rest`: labels that the step will have after this piece. A source that is ahead
    gets none of them at best; those that are behind must find room in them together. No source: -1.
    """
    worst, needed, is_reckoned = -(1 << 62), 0, 1 if rest > 0 else 0
    for other in range(deviation.size):
        after = deviation[other] - (labels + rest) * shares.totals[other]
        if other == source:
            after += labels * shares.total
        worst = max(worst, after - ahead[is_reckoned, other])
        needed += max(0, -after - shares.bound[is_reckoned, other])
    return max(worst, needed - rest * shares.total)


@kernel
def _choose(
    offers: Integers, length: Counts, labels: Counts, deviation: Integers, shares: Shares, room: tuple[int, int],
    opens: bool,
) -> int:  # fmt: skip
    """Return the source whose offered piece is placed next, -1 for none; a row that opens always gets one.

    room: labels that the step still has room for, and how many of them in this row; both on average. Where no offer
    lets the step end within the bounds, one that brings it nearer to them is taken.
    """
    chosen, chosen_progress = -1, 0
    least, least_excess = -1, 0
    ahead = shares.bound if opens else shares.ahead
    for source in range(offers.size):
        if offers[source] < 0:
            continue
        piece_labels = int(labels[offers[source]])
        rest = max(0, min(room[0] - piece_labels, shares.most_rest))
        excess = _excess(deviation, shares, source, piece_labels, rest, ahead)
        # Progress at the middle of the piece, less that of the whole mixture: floor of (2 d + u S) / S_s.
        progress = (2 * deviation[source] + piece_labels * shares.total) // max(shares.totals[source], 1)
        if excess <= 0:
            longer = 0
            if shares.prefers_longest and not opens and chosen >= 0:
                longer = int(length[offers[source]]) - int(length[offers[chosen]])
            if chosen < 0 or longer > 0 or (longer == 0 and progress < chosen_progress):
                chosen, chosen_progress = source, progress
        elif least < 0 or excess < least_excess:
            least, least_excess = source, excess
    if chosen >= 0:
        return chosen
    if opens:
        return least
    rest = max(0, min(room[0] - room[1], shares.most_rest))
    return least if least >= 0 and least_excess < _excess(deviation, shares, -1, 0, rest, ahead) else -1


class _Queues(NamedTuple):
    """What has happened to the pieces of each source so far."""

    oldest: Integers  # [k]: no waiting piece is older
    entering: Integers  # [k]: the next piece to enter the window


@kernel
def _advance(window: _Window, queues: _Queues, source: int, length: Counts, end: int) -> None:
    """Let the next piece of the source into its window, where there is one before `end`."""
    piece = queues.entering[source]
    if piece < end:
        _enter(window, source, piece, length[piece])
        queues.entering[source] = piece + 1


@kernel
def _offer(window: _Window, queues: _Queues, source: int, free: int, is_placed: NDArray[np.bool_], end: int) -> int:
    """Return the longest piece that fits into `free` tokens, into an empty row (free = 0) the oldest; -1 for none."""
    if free > 0:
        fitting = _longest(window.present[source], free)
        return window.head[source, fitting] if fitting else -1
    while queues.oldest[source] < end and is_placed[queues.oldest[source]]:
        queues.oldest[source] += 1
    return queues.oldest[source] if queues.oldest[source] < end else -1


@kernel
def place(length: Counts, labels: Counts, first: Integers, lookahead: Integers, shape: Shape, shares: Shares) -> Placed:
    """Place all pieces.

    Rows are counted from 0. Deviations are those at the ends of steps and of the last row.
    """
    num_sources, num_pieces, row_tokens = first.size - 1, length.size, shape.row_tokens
    window = _Window(
        np.zeros((num_sources, (row_tokens >> 6) + 1), np.uint64),
        np.full((num_sources, row_tokens + 1), -1, np.int32),
        np.full((num_sources, row_tokens + 1), -1, np.int32),
        np.full(num_pieces, -1, np.int32),
    )
    queues = _Queues(first[:-1].copy(), first[:-1].copy())
    for source in range(num_sources):
        for _ in range(lookahead[source]):
            _advance(window, queues, source, length, first[source + 1])
    is_placed = np.zeros(num_pieces, np.bool_)
    order, row, start = np.empty(num_pieces, np.int32), np.empty(num_pieces, np.int32), np.empty(num_pieces, np.int32)
    deviation, off = np.zeros(num_sources, np.int64), np.zeros(num_sources, np.int64)
    offers = np.empty(num_sources, np.int64)
    placed, num_rows = 0, 0
    while placed < num_pieces:
        used = 0
        rows_left = shape.rows_per_step - 1 - (shape.first_row + num_rows) % shape.rows_per_step
        while used < row_tokens and placed < num_pieces:
            free = row_tokens - used if used > 0 else 0
            for source in range(num_sources):
                offers[source] = _offer(window, queues, source, free, is_placed, first[source + 1])
            free_labels = (row_tokens - used) * shares.row_labels // row_tokens
            room = (rows_left * shares.row_labels + free_labels, free_labels)
            source = _choose(offers, length, labels, deviation, shares, room, used == 0)
            if source < 0:
                break
            piece = _leave(window, source, length[offers[source]])
            _advance(window, queues, source, length, first[source + 1])
            is_placed[piece] = True
            order[placed], row[placed], start[placed] = piece, num_rows, used
            used += length[piece]
            placed += 1
            deviation -= int(labels[piece]) * shares.totals
            deviation[source] += int(labels[piece]) * shares.total
        num_rows += 1
        if rows_left == 0 or placed == num_pieces:
            off = np.maximum(off, np.abs(deviation))
    return order, row, start, num_rows, off


@kernel
def rows_of_best_fit_decreasing(counts: Integers) -> int:
    """Return the rows that best-fit decreasing over the whole corpus fills; counts: int64[T + 1], pieces by length.

    The yardstick: it may take any piece at any time, so it keeps neither order nor shares.
    """
    row_tokens = counts.size - 1
    free = np.zeros(row_tokens + 1, np.int64)  # rows by their free tokens
    rows = 0
    for length in range(row_tokens, 0, -1):
        left, room = counts[length], length
        while left > 0:
            # The fullest row that has room. Filling it leaves none as full that has: what is below `room` stays below.
            while room < row_tokens and free[room] == 0:
                room += 1
            fitting = room // length  # a row once begun is the fullest until nothing more fits
            if free[room] == 0:
                opened = -(-left // fitting)
                free[room] += opened
                rows += opened
            filled = min(left // fitting, free[room])
            if filled:
                free[room] -= filled
                free[room - fitting * length] += filled
                left -= filled * fitting
            else:
                free[room] -= 1
                free[room - left * length] += 1
                left = 0
    return rows
