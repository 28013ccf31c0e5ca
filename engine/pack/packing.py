"""Pieces of documents to training rows: best fit with look-ahead, shares kept at the end of every step.

Rows are filled one after the other. A row opens with the oldest waiting piece of some source; after that each source
offers the longest piece of its look-ahead window that still fits (best fit). Only offers count after which the step can
still end with every source within its bound: one that is ahead may wait for the rest of the step, and those that are
behind must find room in it together. A row opens with the offer of the source that is furthest behind. A gap that no
such piece fits stays empty.

A source's bound: at the end of every step its labels so far differ from its share of all labels so far by no more than

- "source": the labels of its own longest document, or
- "mixture": the labels of the longest piece of the whole mixture, where no packing was found that keeps the first.

Shares come before full rows: where a source fills whole rows and a few rows make a step, the others fill rows of their
own in every step and leave them half empty. What is tried is in WAYS, in this order: the first that reaches the bound
and fills rows well is taken. Look-ahead beyond the first is used where nothing else fills small corpora. Where no way
does both, steps are planned one by one (engine.pack.whole_steps), and of all packings that keep the bound the one with
the fewest rows is taken.

The first bound cannot always be reached. Deviations add up to nothing, so a source is never further off than all
others together may be: one whose piece is longer than twice their bounds and its share of a step breaks it wherever
the piece goes (`is_out_of_reach`).

Integers only. Deviations are counted in labels times the total of all labels, so that shares stay exact. They have to
fit into 64 bits, so no bound is wider than 2^60 over that total less the longest piece: of 24 billion labels in pieces
of up to 4096 about 48 million.
Letters: k sources, n pieces, T tokens of a row.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from engine.base.errors import RecipeError, problem
from engine.pack.best_fit import Counts, Integers, Placed, Shape, Shares, place, rows_of_best_fit_decreasing
from engine.pack.whole_steps import place_by_steps

LOOKAHEAD_FRACTION, WIDE_LOOKAHEAD_FRACTION, ORDERED_LOOKAHEAD_FRACTION = 32, 8, 64
"""The look-ahead is one 32nd of a source: more packs little better, but puts long documents first. Where the order of
the documents is the curriculum's it is a 64th, in a small source a single piece: order is worth more than full rows."""
MIN_LOOKAHEAD, MIN_WIDE_LOOKAHEAD, MAX_LOOKAHEAD = 32, 256, 1024
MOST = 1 << 60
"""Deviations and bounds are less: sums of a few of them still fit into 64 bits."""
DENSITIES = 1024
"""Steps in which labels per token are counted where the labels that a step can have are bounded."""
LEAST_EFFICIENCY = 99
"""Per cent of the rows of best-fit decreasing over the whole corpus."""


class Way(NamedTuple):
    """One way to pack."""

    prefers_longest: bool
    """Fill gaps with the longest piece of all sources rather than with that of the source furthest behind."""
    quarters: int
    """On the way to the end of a step, so many quarters of the bounds are reckoned with: pieces may not fit later."""
    keeps_all_the_way: bool = False
    """Keep the bounds after every piece, not only at the end of a step."""
    ahead_quarters: int = 4
    """Gaps are filled only by sources that stay within so many quarters of the bound ahead of their share."""


WAYS = (Way(True, 3), Way(True, 4), Way(False, 4), Way(False, 3))
LAST_WAYS = (Way(False, 4, keeps_all_the_way=True), Way(False, 4, keeps_all_the_way=True, ahead_quarters=2))
"""For the wider bound only: nothing else reaches it where sources of few documents fill one row per step."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """What has to be placed, source by source, each in the order of the curriculum."""

    length: Counts
    """int32[n]: tokens, 1 to T."""
    labels: Counts
    """int32[n]: supervised tokens less the first."""
    first: Integers
    """int64[k + 1]: the pieces of source s are first[s]:first[s + 1]."""
    once: Integers
    """int64[k]: pieces of each source when every document is used once."""
    longest: Integers
    """int64[k]: supervised tokens of the longest document of each source, however it is cut."""


@dataclass(frozen=True, eq=False)
class Packing:
    """Where the pieces go."""

    piece: Counts
    """int32[n]: the pieces in the order of their places: by row, then by start."""
    row: Counts
    """int32[n]: row of each, counted from 0."""
    start: Counts
    """int32[n]: first token of each in its row."""
    num_rows: int
    bound: str
    """Which bound holds: "source" or "mixture"; see the head of this file."""
    is_kept: bool
    """Whether it holds at the end of every step."""
    limits: Integers
    """int64[k]: the bounds, in labels; less than named where deviations would not fit into 64 bits otherwise."""
    deviation: Integers
    """int64[k]: the most labels by which a source was off its share at the end of a step, rounded up."""
    best_fit_rows: int
    """Rows of best-fit decreasing over all pieces, which keeps neither order nor shares."""
    is_out_of_reach: bool = False
    """Whether it is proved that nothing keeps the bound "source"."""

    @property
    def is_full(self) -> bool:
        """Whether it takes at most 1 % more rows than best-fit decreasing, or one more."""
        return LEAST_EFFICIENCY * self.num_rows <= 100 * self.best_fit_rows or self.num_rows <= self.best_fit_rows + 1


def pack(pieces: Pieces, row_tokens: int, rows_per_step: int, first_row: int = 0, is_ordered: bool = False) -> Packing:
    """Place every piece once; the last step may have fewer rows.

    first_row: rows placed before by earlier phases; the end of a step is where all rows so far make whole steps.
    is_ordered: whether the order of the pieces counts (a curriculum), rather than being one of many shuffled ones.

    Raises RecipeError where the labels are too many to be counted exactly (`MOST`).
    """
    _require_countable(pieces)
    shape = Shape(row_tokens, rows_per_step, first_row)
    narrow = (
        _lookahead(pieces, ORDERED_LOOKAHEAD_FRACTION, 1)
        if is_ordered
        else _lookahead(pieces, LOOKAHEAD_FRACTION, MIN_LOOKAHEAD)
    )
    never = is_out_of_reach(pieces, shape)
    if not never:
        wide = narrow if is_ordered else _lookahead(pieces, WIDE_LOOKAHEAD_FRACTION, MIN_WIDE_LOOKAHEAD)
        tight = []
        for lookahead in [narrow] if (narrow == wide).all() else [narrow, wide]:
            for packing in _packings(pieces, shape, "source", WAYS, lookahead):
                if packing.is_kept and packing.is_full:
                    return packing
                # A wide look-ahead costs order, so it has to fill the rows.
                if packing.is_kept and lookahead is narrow:
                    tight.append(packing)
        tight += [packing for packing in [_planned(pieces, shape)] if packing is not None]
        if tight:
            return min(tight, key=lambda packing: packing.num_rows)
    return replace(_fullest(_packings(pieces, shape, "mixture", WAYS + LAST_WAYS, narrow)), is_out_of_reach=never)


def is_out_of_reach(pieces: Pieces, shape: Shape) -> bool:
    """Return whether no packing at all keeps the bound "source": some piece is too long for the other sources' bounds.

    Its source's deviation would grow by at least the piece less the source's share of the labels of a step, and can
    grow by no more than twice the sum of the other bounds.
    """
    totals, most = _totals(pieces), _most_step_labels(pieces, shape)
    total, all_bounds = int(totals.sum()), int(pieces.longest.sum())
    return any(
        (_most(pieces.labels, source) - 2 * (all_bounds - own)) * total > of_source * most
        for source, own, of_source in zip(_slices(pieces), pieces.longest.tolist(), totals.tolist(), strict=True)
    )


def _most_step_labels(pieces: Pieces, shape: Shape) -> int:
    """Return what no step has more labels than: those of the pieces with the most labels a token that fill its rows."""
    density = pieces.labels.astype(np.int64) * DENSITIES // pieces.length  # rounded down: reckoned with as one more
    tokens = np.bincount(density, weights=pieces.length, minlength=DENSITIES + 1).astype(np.int64)[::-1]
    room = np.clip(shape.row_tokens * shape.rows_per_step - (np.cumsum(tokens) - tokens), 0, tokens)
    most = -(-room * np.arange(DENSITIES + 1, 0, -1) // DENSITIES)
    return min(int(most.sum()), int(pieces.labels.sum(dtype=np.int64)))


def _fullest(packings: Iterable[Packing]) -> Packing:
    """Return the first that is kept and full, otherwise the one of fewest rows that is kept, or off by least."""
    best = None
    for packing in packings:
        if packing.is_kept and packing.is_full:
            return packing
        key = (not packing.is_kept, packing.num_rows if packing.is_kept else int(packing.deviation.max(initial=0)))
        if best is None or key < best[0]:
            best = (key, packing)
    assert best is not None, "at least one way"
    return best[1]


def _packings(pieces: Pieces, shape: Shape, name: str, ways: Iterable[Way], lookahead: Integers) -> Iterator[Packing]:
    totals, limits = _totals(pieces), _limits(pieces, name)
    total = max(int(totals.sum()), 1)
    row_labels = shape.row_tokens * total // max(int(pieces.length.sum(dtype=np.int64)), 1)
    bound = limits * total
    for way in ways:
        shares = Shares(
            totals, total,
            bound=np.stack([bound, bound // 4 * way.quarters]),
            ahead=np.stack([bound, bound // 4 * way.quarters]) // 4 * way.ahead_quarters,
            prefers_longest=way.prefers_longest,
            row_labels=row_labels,
            most_rest=0 if way.keeps_all_the_way else MOST // total,
        )  # fmt: skip
        placed = place(pieces.length, pieces.labels, pieces.first, lookahead, shape, shares)
        yield _packing(pieces, shape, name, limits, placed)


def _planned(pieces: Pieces, shape: Shape) -> Packing | None:
    """Plan step by step; None where that ends in a step that cannot be planned, or could not be counted exactly."""
    totals, limits = _totals(pieces), _limits(pieces, "source")
    total = max(int(totals.sum()), 1)
    if max(int(limits.sum()), min(shape.row_tokens * shape.rows_per_step, total)) * total >= MOST:
        return None
    placed = place_by_steps(pieces.length, pieces.labels, pieces.first, totals, limits * total, shape)
    return _packing(pieces, shape, "source", limits, placed) if placed[3] else None


def _packing(pieces: Pieces, shape: Shape, name: str, limits: Integers, placed: Placed) -> Packing:
    piece, row, start, num_rows, off = placed
    total = max(int(pieces.labels.sum(dtype=np.int64)), 1)
    best_fit_rows = rows_of_best_fit_decreasing(np.bincount(pieces.length, minlength=shape.row_tokens + 1))
    is_kept = bool((off <= limits * total).all())
    return Packing(piece, row, start, int(num_rows), name, is_kept, limits, -(-off // total), int(best_fit_rows))


def _limits(pieces: Pieces, name: str) -> Integers:
    """Return int64[k], the bound of this name in labels, narrowed to what can be counted exactly."""
    common = max((_most(pieces.labels, source) for source in _slices(pieces)), default=0)
    if name == "mixture":
        return np.full(pieces.longest.size, common)
    return np.minimum(pieces.longest, (MOST - 1) // max(int(_totals(pieces).sum()), 1) - common)


def _require_countable(pieces: Pieces) -> None:
    """Raise RecipeError where even the narrowest bound, the longest piece, leads beyond 64 bits."""
    total, longest = int(pieces.labels.sum(dtype=np.int64)), int(pieces.labels.max(initial=0))
    most = (MOST - 1) // (2 * max(longest, 1))
    if total > most:
        found = f"{total} supervised tokens in a phase, in pieces of up to {longest}"
        fix = "set a smaller row_tokens, or more phases with smaller budgets"
        raise RecipeError(problem("budget_tokens", found, f"{most} or fewer, which can be counted exactly", fix))


def _lookahead(pieces: Pieces, fraction: int, least: int) -> Integers:
    return np.clip(pieces.once // fraction, least, MAX_LOOKAHEAD)


def _slices(pieces: Pieces) -> list[slice]:
    return [slice(int(begin), int(end)) for begin, end in zip(pieces.first[:-1], pieces.first[1:], strict=True)]


def _totals(pieces: Pieces) -> Integers:
    return np.array([pieces.labels[source].sum(dtype=np.int64) for source in _slices(pieces)], dtype=np.int64)


def _most(labels: Counts, source: slice) -> int:
    return int(labels[source].max(initial=0))
