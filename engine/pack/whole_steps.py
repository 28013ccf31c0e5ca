"""Steps planned whole, compiled: the way to pack that puts shares before full rows; engine.pack.packing says when.

A step takes the next pieces of every source, in their order: as many labels as keep all bounds and fit into its rows.
With D labels in the step a source with S_s labels of all S, which gives x_s and was off by d_s, ends it off by
d_s + x_s S - S_s D. That is linear in D, so once the sources with the longest documents have chosen their x_s, the
others know between which D they have to end. The largest D is tried first, then ever smaller ones: where pieces do not
add up, a short step brings the shares together again.

Deviations and bounds are labels times S. Letters: k sources, n pieces, T tokens of a row.
"""

from typing import NamedTuple

import numpy as np

from engine.pack.best_fit import Counts, Integers, Placed, Shape
from engine.text.kernels import kernel

NEIGHBOURS = 6
"""Of so many sources, those with the longest documents, both numbers of pieces next to what is due are tried."""


class Plan(NamedTuple):
    """What is planned, and how far it got; the state of sources changes from step to step."""

    length: Counts  # [n]
    labels: Counts  # [n]
    first: Integers  # [k + 1]
    totals: Integers  # [k]: labels of each source
    bound: Integers  # [k]
    order: Integers  # the sources that have labels, those with the longest documents first
    here: Integers  # [k]: the next piece of each source
    stop: Integers  # [k]: where its pieces of this step end
    deviation: Integers  # [k]


@kernel
def _take(labels: Counts, begin: int, end: int, due: int, rounding: int) -> tuple[int, int]:
    """Return (where the pieces taken from `begin` end, their labels); rounding: 0 down, 1 nearest, 2 the other one."""
    stop, taken = begin, 0
    while stop < end and taken + labels[stop] <= due:
        taken += labels[stop]
        stop += 1
    if stop == end or rounding == 0:
        return stop, taken
    above = taken + labels[stop]
    if (above - due < due - taken) == (rounding == 1):
        return stop + 1, above
    return stop, taken


@kernel
def _choose(plan: Plan, most: int, others: int) -> int:
    """Set plan.stop for a step of up to `most` labels, and return its labels or -1.

    others: a bit for each source in plan.order, set where it takes the neighbour that is not nearest to what is due.
    """
    total, low, high, taken = plan.totals.sum(), 0, most, 0
    deviations, share, slack = 0, 0, plan.bound.sum()  # of those that have chosen, of those that have not
    for place in range(plan.order.size):
        source = plan.order[place]
        due, rounding = high - taken, 0
        if place < plan.order.size - 1:
            due = (high * plan.totals[source] - plan.deviation[source]) // total
            rounding = 1 + ((others >> place) & 1)
        plan.stop[source], given = _take(plan.labels, plan.here[source], plan.first[source + 1], due, rounding)
        own = plan.deviation[source] + given * total
        taken += given
        deviations += own
        share += plan.totals[source]
        slack -= plan.bound[source]
        high = min(high, (own + plan.bound[source]) // plan.totals[source], (deviations + slack) // share)
        low = max(low, -((plan.bound[source] - own) // plan.totals[source]), -((slack - deviations) // share))
        if low > high:
            return -1
    return taken


@kernel
def _fill(length: Counts, chosen: Integers, num_rows: int, row_tokens: int, row: Integers) -> bool:
    """Set the row of each chosen piece by best-fit decreasing; whether they fit and leave no row empty."""
    free, held = np.full(num_rows, row_tokens, np.int64), np.zeros(num_rows, np.int64)
    opened = 0
    for index in np.argsort(-length[chosen], kind="mergesort"):
        size, best = length[chosen[index]], -1
        for candidate in range(opened):
            if free[candidate] >= size and (best < 0 or free[candidate] < free[best]):
                best = candidate
        if best < 0:
            if opened == num_rows:
                return False
            best = opened
            opened += 1
        row[index] = best
        free[best] -= size
        held[best] += 1
    for index in range(chosen.size):  # rows left over take a piece each from rows that hold several
        if opened < num_rows and held[row[index]] > 1:
            held[row[index]] -= 1
            row[index] = opened
            held[opened] = 1
            opened += 1
    return opened == num_rows


@kernel
def _chosen(plan: Plan, done: int) -> Integers:
    """Return the pieces of this step; those of sources without labels keep in step with the `done` labels of all."""
    total = plan.totals.sum()
    for source in range(plan.totals.size):
        if plan.totals[source] == 0:
            size = plan.first[source + 1] - plan.first[source]
            plan.stop[source] = plan.first[source] + (size * done // total if total else size)
    chosen, at = np.empty((plan.stop - plan.here).sum(), np.int64), 0
    for source in range(plan.totals.size):
        for piece in range(plan.here[source], plan.stop[source]):
            chosen[at] = piece
            at += 1
    return chosen


@kernel
def _step(plan: Plan, before: int, rows: int, row_tokens: int) -> tuple[Integers, Integers, int]:
    """Return (pieces of the next step, their rows, its labels), -1 labels where none can be planned.

    before: labels of the steps before. rows: of the step; only the last may have fewer.
    """
    room, left = rows * row_tokens, (plan.first[1:] - plan.here).sum()
    most = min(plan.totals.sum() - before, room)
    while most >= 0:
        least_used = np.iinfo(np.int64).max
        for others in range(1 << min(max(plan.order.size - 1, 0), NEIGHBOURS)):
            labels = _choose(plan, most, others)
            if labels < 0:
                continue
            chosen = _chosen(plan, before + labels)
            used, row = plan.length[chosen].sum(), np.empty(chosen.size, np.int64)
            least_used = min(least_used, used)
            if used > room:
                continue
            fewest = max(1, -(-used // row_tokens)) if chosen.size == left else rows
            for num_rows in range(fewest, min(rows, chosen.size) + 1):
                if _fill(plan.length, chosen, num_rows, row_tokens, row):
                    return chosen, row, labels
        less = most - max(1, most // 32)
        # Far too many tokens: labels and tokens go about together.
        is_far = least_used < np.iinfo(np.int64).max and least_used > 2 * room
        most = min(less, 2 * most * room // least_used) if is_far else less
    return np.empty(0, np.int64), np.empty(0, np.int64), -1


@kernel
def place_by_steps(
    length: Counts, labels: Counts, first: Integers, totals: Integers, bound: Integers, shape: Shape
) -> Placed:
    """Place all pieces, every step within the bounds; 0 rows where a step cannot be planned.

    totals, bound: int64[k]. All bounds together have to stay below 2^61.
    """
    order = np.flatnonzero(totals)
    order = order[np.argsort(-bound[order], kind="mergesort")]
    here, off = first[:-1].copy(), np.zeros(totals.size, np.int64)
    plan = Plan(length, labels, first, totals, bound, order, here, here.copy(), np.zeros(totals.size, np.int64))
    pieces, row = np.empty(length.size, np.int32), np.empty(length.size, np.int32)
    start = np.empty(length.size, np.int32)
    placed, num_rows, before = 0, 0, 0
    while placed < length.size:
        rows = shape.rows_per_step - (shape.first_row + num_rows) % shape.rows_per_step
        chosen, row_of, step_labels = _step(plan, before, rows, shape.row_tokens)
        if step_labels < 0:
            return pieces, row, start, 0, off
        used = np.zeros(rows, np.int64)
        for index in np.argsort(row_of, kind="mergesort"):
            pieces[placed], row[placed] = chosen[index], num_rows + row_of[index]
            start[placed] = used[row_of[index]]
            used[row_of[index]] += length[chosen[index]]
            placed += 1
        for source in range(totals.size):
            given = labels[here[source] : plan.stop[source]].sum()
            plan.deviation[source] += given * totals.sum() - step_labels * totals[source]
            here[source] = plan.stop[source]
        before += step_labels
        num_rows += int(np.count_nonzero(used))
        off = np.maximum(off, np.abs(plan.deviation))
    return pieces, row, start, num_rows, off
