"""Pieces of documents to training rows: best fit with look-ahead, shares kept at every step.

Rows are filled one after the other. A row opens with the oldest waiting piece of some source; after that each source
offers the longest piece of its look-ahead window that still fits (best fit). Whose offer is taken: that of the source
whose progress through its own labels would be the smallest at the middle of the piece (for two sources the one that is
behind), among the offers that leave every source within its bound. A gap that no such piece fits stays empty.

A source's bound: at the end of every step its labels so far differ from its share of all labels so far by no more than

- "source": the labels of its own longest piece, or
- "mixture": the labels of the longest piece of the whole mixture, where the first cannot be kept or would cost more
  than 3 % more rows (a source of short documents beside one that is cut into whole rows: its share of one row is then
  more than its longest document, and rows would have to stay half empty).

Integers only. Deviations are counted in labels times the total of all labels, so that shares stay exact.
Letters: k sources, n pieces, T tokens of a row.
"""

from dataclasses import dataclass

import numpy as np

from engine.pack.best_fit import Integers, Shares, place

LOOKAHEAD_FRACTION = 32
"""The look-ahead is one 32nd of a source: more packs little better, but puts long documents first."""
MIN_LOOKAHEAD, MAX_LOOKAHEAD = 32, 1024


@dataclass(frozen=True, eq=False)
class Pieces:
    """What has to be placed, source by source, each in the order of the curriculum."""

    length: Integers
    """int64[n]: tokens, 1 to T."""
    labels: Integers
    """int64[n]: supervised tokens less the first."""
    first: Integers
    """int64[k + 1]: the pieces of source s are first[s]:first[s + 1]."""
    once: Integers
    """int64[k]: pieces of each source when every document is used once."""


@dataclass(frozen=True, eq=False)
class Packing:
    """Where the pieces go."""

    row: Integers
    """int64[n]: row, counted over all steps."""
    start: Integers
    """int64[n]: first token of the piece in its row."""
    num_rows: int
    bound: str
    """Which bound holds: "source" or "mixture"; see the head of this file."""
    is_kept: bool
    """Whether it holds at the end of every step."""
    deviation: Integers
    """int64[k]: the most labels by which a source was off its share at the end of a step, rounded up."""


def pack(pieces: Pieces, row_tokens: int, rows_per_step: int) -> Packing:
    """Place every piece once; the last step may have fewer rows."""
    num_sources = pieces.first.size - 1
    sources = [slice(pieces.first[s], pieces.first[s + 1]) for s in range(num_sources)]
    own = np.array([pieces.labels[s].max(initial=0) for s in sources], dtype=np.int64)
    common = np.full(num_sources, own.max(initial=0))
    shape = (row_tokens, rows_per_step)
    tight = _packed(pieces, shape, "source", own, own)
    if tight.is_kept and (own == common).all():
        return tight
    loose = _packed(pieces, shape, "mixture", common, common)
    if not loose.is_kept:
        # Gaps filled by sources that are ahead leave several others far behind at once; filling fewer helps.
        loose = _packed(pieces, shape, "mixture", common, common // 2)
    is_cheap = 97 * tight.num_rows <= 100 * (loose.num_rows + 1)
    return tight if tight.is_kept and is_cheap else loose


def _packed(pieces: Pieces, shape: tuple[int, int], name: str, bound: Integers, ahead: Integers) -> Packing:
    """Pack under `bound` (labels); gaps are filled only by sources that stay within `ahead` of their share."""
    num_sources = bound.size
    totals = np.array(
        [pieces.labels[pieces.first[s] : pieces.first[s + 1]].sum() for s in range(num_sources)], dtype=np.int64
    )
    total = max(int(totals.sum()), 1)
    assert total * max(int(bound.max(initial=0)), 1) < 1 << 60, "deviations fit into 64 bits"
    lookahead = np.clip(pieces.once // LOOKAHEAD_FRACTION, MIN_LOOKAHEAD, MAX_LOOKAHEAD)
    shares = Shares(totals, total, bound * total, ahead * total)
    row, start, num_rows, off = place(pieces.length, pieces.labels, pieces.first, lookahead, shape[0], shape[1], shares)
    return Packing(row, start, int(num_rows), name, bool((off <= bound * total).all()), -(-off // total))
