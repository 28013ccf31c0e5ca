"""Steps planned whole: each source in its order, every step within the bounds, no row empty."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.pack.best_fit import Placed, Shape
from engine.pack.whole_steps import place_by_steps


def placed(lengths: list[list[int]], labels: list[list[int]], bounds: list[int], shape: Shape) -> Placed:
    totals = np.array([sum(source) for source in labels])
    flat = [np.array([one for source in kind for one in source], dtype=np.int32) for kind in (lengths, labels)]
    first = np.cumsum([0, *(len(source) for source in lengths)])
    return place_by_steps(*flat, first, totals, np.array(bounds) * int(totals.sum()), shape)


@st.composite
def sources(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """One to three sources with pieces of up to 8 tokens; some have few labels, or none."""
    lengths = draw(st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=40), min_size=1, max_size=3))
    labels = [[draw(st.integers(0, length)) for length in source] for source in lengths]
    return lengths, [[0] * len(source) if draw(st.integers(0, 9)) == 0 else source for source in labels]


@settings(max_examples=150, deadline=None)
@given(sources(), st.integers(1, 4), st.integers(0, 3))
def test_every_step_ends_within_the_bounds_and_every_source_keeps_its_order(
    drawn: tuple[list[list[int]], list[list[int]]], rows_per_step: int, first_row: int
) -> None:
    lengths, labels = drawn
    bounds = [max(source) for source in labels]
    piece, row, start, num_rows, off = placed(lengths, labels, bounds, Shape(8, rows_per_step, first_row))
    if num_rows == 0:
        return
    assert sorted(piece.tolist()) == list(range(sum(map(len, lengths))))
    held = [[(int(s), int(p)) for p, r, s in zip(piece, row, start, strict=True) if r == n] for n in range(num_rows)]
    flat = [one for source in lengths for one in source]
    for inside in held:
        assert inside
        ends = [begin + flat[number] for begin, number in inside]
        assert [begin for begin, _ in inside] == [0, *ends[:-1]]
        assert ends[-1] <= 8
    step_of = dict(zip(piece.tolist(), ((row + first_row) // rows_per_step).tolist(), strict=True))
    first = [0, *np.cumsum([len(source) for source in lengths]).tolist()]
    total, worst = sum(map(sum, labels)), [0] * len(labels)
    for begin, end in pairwise(first):
        steps = [step_of[number] for number in range(begin, end)]
        assert steps == sorted(steps)
    for step in range(first_row // rows_per_step, max(step_of.values()) + 1):
        given_labels = [
            sum(label for number, label in enumerate(source, begin) if step_of[number] <= step)
            for begin, source in zip(first, labels, strict=False)
        ]
        for number, source in enumerate(labels):
            here = abs(given_labels[number] * total - sum(source) * sum(given_labels))
            assert here <= bounds[number] * total
            worst[number] = max(worst[number], here)
    assert off.tolist() == worst


def test_alike_sources_fill_whole_steps() -> None:
    *_, num_rows, off = placed([[4] * 64, [4] * 64], [[3] * 64, [3] * 64], [3, 3], Shape(8, 4, 0))
    assert num_rows == 64
    assert off.max() == 0


def test_a_step_that_cannot_end_within_the_bounds_gives_no_rows() -> None:
    # After a document of 7 labels the other source, of as many labels, is 3.5 behind, and has room for none of its own.
    assert placed([[8] * 4, [2] * 28], [[7] * 4, [1] * 28], [7, 1], Shape(8, 1, 0))[3] == 0
