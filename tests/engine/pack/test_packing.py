"""Pieces fill rows tightly, each once, and every source keeps its share at every step."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import RecipeError
from engine.pack.best_fit import Shape, rows_of_best_fit_decreasing
from engine.pack.packing import MOST, Packing, Pieces, is_out_of_reach, pack
from engine.pack.pieces import Stored, Used
from engine.pack.pieces import cut as cut_pieces

SHARES = [(0.95, 0.05), (0.5, 0.5), (0.7, 0.25, 0.05), (0.4, 0.3, 0.2, 0.1), (0.97, 0.02, 0.01)]


def pieces_of(lengths: Sequence[Sequence[int]], labels: Sequence[Sequence[int]] | None = None) -> Pieces:
    """Pieces of several sources; without labels every token but the first is one."""
    labels = [[length - 1 for length in source] for source in lengths] if labels is None else labels
    sizes = [len(source) for source in lengths]
    return Pieces(
        length=np.array([length for source in lengths for length in source], dtype=np.int32),
        labels=np.array([label for source in labels for label in source], dtype=np.int32),
        first=np.cumsum([0, *sizes]),
        once=np.array(sizes, dtype=np.int64),
        longest=np.array([max(source) for source in labels], dtype=np.int64),
    )


def places(packing: Packing) -> tuple[np.ndarray, np.ndarray]:
    """Row and start of every piece, in the order of the pieces."""
    row, start = np.empty_like(packing.row), np.empty_like(packing.start)
    row[packing.piece], start[packing.piece] = packing.row, packing.start
    return row, start


def cut(lengths: Sequence[int], row_tokens: int) -> list[int]:
    """Pieces of documents: as long as a row, the last one what is left."""
    return [min(row_tokens, length - start) for length in lengths for start in range(0, length, row_tokens)]


def step_deviations(pieces: Pieces, packing: Packing, rows_per_step: int, first_row: int = 0) -> np.ndarray:
    """Oracle: |labels so far * S - S_s * all labels so far| of each source after each step, exact: [steps, k]."""
    step = (places(packing)[0] + first_row) // rows_per_step
    so_far = [
        [int(pieces.labels[begin:end][step[begin:end] <= number].sum()) for begin, end in pairwise(pieces.first)]
        for number in range(int(step.max()) + 1)
    ]
    total, totals = sum(so_far[-1]), so_far[-1]
    return np.array(
        [[abs(n * total - t * sum(row)) for n, t in zip(row, totals, strict=True)] for row in so_far], dtype=object
    )


def documents_of(
    lengths: Sequence[Sequence[int]], row_tokens: int, sparse: Sequence[bool], rng: np.random.Generator
) -> Pieces:
    """Pieces of whole documents, cut into rows; of a sparse source only some tokens are labels."""
    cuts = [[cut([length], row_tokens) for length in source] for source in lengths]
    labels = [
        [[int(rng.integers(n // 4, n)) if is_sparse and n > 1 else n - 1 for n in document] for document in source]
        for source, is_sparse in zip(cuts, sparse, strict=True)
    ]
    flat = [[[n for document in source for n in document] for source in kind] for kind in (cuts, labels)]
    whole = np.array([max(map(sum, source)) for source in labels], dtype=np.int64)
    return replace(pieces_of(*flat), longest=whole)


def longest(pieces: Pieces) -> list[int]:
    return [int(pieces.labels[begin:end].max()) for begin, end in pairwise(pieces.first)]


def best_fit_decreasing_rows(lengths: np.ndarray, row_tokens: int) -> int:
    """Oracle: rows that best-fit decreasing over the whole corpus needs."""
    free = np.zeros(row_tokens + 1, dtype=np.int64)  # rows by free tokens
    rows = 0
    for length in sorted(lengths.tolist(), reverse=True):
        fitting = np.flatnonzero(free[length:])
        left = length + int(fitting[0]) if fitting.size else row_tokens
        if fitting.size:
            free[left] -= 1
        else:
            rows += 1
        free[left - length] += 1
    return rows


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[Pieces, int, int]:
    """Two to four sources with lengths of quite different kinds, shares down to under a percent, small steps."""
    row_tokens = draw(st.sampled_from([8, 16, 64, 256]))
    rows_per_step = draw(st.sampled_from([1, 2, 4, 16]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shares = draw(st.sampled_from(SHARES))
    tokens = row_tokens * draw(st.integers(5, 200))
    lengths, labels = [], []
    for share in shares:
        kind = draw(st.sampled_from(["uniform", "whole rows", "short", "lognormal", "long"]))
        budget = max(int(tokens * share), row_tokens)
        source = cut(documents(rng, kind, budget, row_tokens), row_tokens)
        is_sparse = draw(st.booleans())
        lengths.append(source)
        labels.append([int(rng.integers(0, n)) if is_sparse else n - 1 for n in source])
    if not any(map(any, labels)):
        lengths[0][0], labels[0][0] = 2, 1
    return pieces_of(lengths, labels), row_tokens, rows_per_step


def documents(rng: np.random.Generator, kind: str, budget: int, row_tokens: int) -> list[int]:
    count = budget
    drawn = {
        "uniform": lambda: rng.integers(1, row_tokens + 1, count),
        "whole rows": lambda: np.full(count, row_tokens),
        "short": lambda: rng.integers(1, max(2, row_tokens // 8) + 1, count),
        "lognormal": lambda: np.maximum(1, rng.lognormal(np.log(row_tokens / 2), 1.5, count)).astype(np.int64),
        "long": lambda: rng.integers(row_tokens // 2, 4 * row_tokens, count),
    }[kind]()
    fitting = drawn[np.cumsum(drawn) <= budget].tolist()
    return fitting or [min(budget, row_tokens)]


@settings(max_examples=80, deadline=None)
@given(mixtures())
def test_every_piece_is_placed_once_inside_its_row(mixture: tuple[Pieces, int, int]) -> None:
    pieces, row_tokens, rows_per_step = mixture
    packing = pack(pieces, row_tokens, rows_per_step)
    room = np.zeros((packing.num_rows, row_tokens), dtype=np.int64)
    for row, start, length in zip(*places(packing), pieces.length, strict=True):
        assert start + length <= row_tokens
        room[row, start : start + length] += 1
    assert room.max() == 1
    assert (room[:, 0] == 1).all()  # no row is empty
    assert (np.diff(room, axis=1) <= 0).all()  # gaps only at the end of a row
    assert room.sum() == pieces.length.sum()


@settings(max_examples=200, deadline=None)
@given(mixtures())
def test_at_every_step_each_source_is_within_the_stated_bound_of_its_share(mixture: tuple[Pieces, int, int]) -> None:
    # Also where only the wider bound can be kept: whole rows beside short documents, one row per step.
    pieces, row_tokens, rows_per_step = mixture
    packing = pack(pieces, row_tokens, rows_per_step)
    own = longest(pieces)
    bound = own if packing.bound == "source" else [max(own)] * len(own)
    total = int(pieces.labels.sum())
    worst = step_deviations(pieces, packing, rows_per_step).max(axis=0)
    assert all(off <= limit * total for off, limit in zip(worst, bound, strict=True))
    assert packing.is_kept
    assert packing.deviation.tolist() == [-(-off // total) for off in worst]


KINDS = {
    "web": lambda rng, row, n: np.maximum(2, rng.lognormal(np.log(row / 4), 1, n)).astype(np.int64),
    "wide": lambda rng, row, n: np.maximum(1, rng.lognormal(np.log(row / 2), 1.5, n)).astype(np.int64),
    "uniform": lambda rng, row, n: rng.integers(1, row + 1, n),
    "longer than a row": lambda rng, row, n: rng.integers(row // 2, 4 * row, n),
}


@settings(max_examples=60, deadline=None)
@given(
    shares=st.sampled_from(SHARES),
    row_tokens=st.sampled_from([64, 256, 1024]),
    rows_per_step=st.sampled_from([1, 2, 4, 16]),
    first_row=st.integers(0, 15),
    rows=st.integers(150, 500),
    seed=st.integers(0, 2**32),
)
def test_sources_of_mixed_lengths_stay_within_their_longest_document_in_full_rows(
    shares: tuple[float, ...], row_tokens: int, rows_per_step: int, first_row: int, rows: int, seed: int
) -> None:
    # The family where the narrow bound is always reached: documents of many lengths, each source with one of a row.
    rng = np.random.default_rng(seed)
    lengths = []
    for share in shares:
        drawn = KINDS[str(rng.choice(list(KINDS)))](rng, row_tokens, rows * 8)
        lengths.append([*drawn[np.cumsum(drawn) <= max(rows * row_tokens * share, row_tokens)].tolist(), row_tokens])
    pieces = documents_of(lengths, row_tokens, [bool(one) for one in rng.random(len(shares)) < 0.3], rng)
    packing = pack(pieces, row_tokens, rows_per_step, first_row)
    total, own = int(pieces.labels.sum()), pieces.longest.tolist()
    worst = step_deviations(pieces, packing, rows_per_step, first_row).max(axis=0)
    assert all(off <= limit * total for off, limit in zip(worst, own, strict=True))
    assert (packing.bound, packing.is_kept, packing.limits.tolist()) == ("source", True, own)
    assert packing.deviation.tolist() == [-(-off // total) for off in worst]
    # Of few rows the last, half empty, already counts for half a per cent.
    assert packing.num_rows <= best_fit_decreasing_rows(pieces.length, row_tokens) / 0.99 + 3


@pytest.mark.parametrize("rows_per_step", [1, 2, 5])
def test_the_narrow_bound_is_kept_where_sources_are_alike(rows_per_step: int) -> None:
    rng = np.random.default_rng(7)
    lengths = [cut(np.maximum(1, rng.lognormal(3.5, 1, size)).astype(np.int64).tolist(), 64) for size in (900, 500, 80)]
    assert pack(pieces_of(lengths), 64, rows_per_step).bound == "source"


@pytest.mark.parametrize(("short", "count"), [(8, 400), (4, 800)])
def test_shares_come_before_full_rows_and_more_rows_per_step_fill_them(short: int, count: int) -> None:
    # One row per step: documents of 7 labels follow rows of 63 within 7 labels, a few to a row of their own.
    pieces = pieces_of([[64] * 950, [short] * count])
    for rows_per_step, most_rows in ((1, 1750), (4, 1300), (32, 1015)):
        packing = pack(pieces, 64, rows_per_step)
        assert (packing.bound, packing.is_kept, packing.limits.tolist()) == ("source", True, [63, short - 1])
        assert step_deviations(pieces, packing, rows_per_step).max() <= (short - 1) * int(pieces.labels.sum())
        assert packing.best_fit_rows <= packing.num_rows <= most_rows


def test_where_no_order_of_rows_keeps_the_narrow_bound_the_wider_is_kept_in_full_rows() -> None:
    # A row of 64 takes 2.17 labels of the other's share, one of its documents adds 1.93: in the end both lead beyond 2.
    pieces = pieces_of([[64] * 950, [3] * 1066])
    packing = pack(pieces, 64, 1)
    assert (packing.bound, packing.is_kept, packing.is_out_of_reach) == ("mixture", True, False)
    assert pieces.length.sum() / (packing.num_rows * 64) > 0.97
    assert 2 < packing.deviation.max() <= 63
    assert pack(pieces, 64, 2).bound == "source"


def test_gaps_are_not_filled_by_sources_that_are_far_ahead_where_that_breaks_the_bound() -> None:
    # Filled as full as possible, the second source would end a step 10 labels off, more than any piece has.
    lengths = [[8] * 20, [8] * 20, [1, 7, 8, 7, 2, 4, 3, 8, 1], [1, 6, 2, 1, 1, 1]]
    packing = pack(pieces_of(lengths), 8, 1)
    assert (packing.bound, packing.is_kept) == ("source", True)
    assert packing.deviation.max() <= 7


def test_pieces_of_a_source_keep_their_order_but_for_the_look_ahead() -> None:
    rng = np.random.default_rng(3)
    pieces = pieces_of([rng.integers(1, 65, 6400).tolist()])
    packing = pack(pieces, 64, 4)
    moved_forward = packing.piece - np.arange(packing.piece.size)
    assert moved_forward.max() <= 6400 // 32  # nothing comes earlier than its look-ahead allows
    assert np.abs(moved_forward).mean() < 200


def test_pieces_of_one_length_keep_their_order() -> None:
    packing = pack(pieces_of([[5] * 100, [5] * 50]), 16, 2)
    for begin, end in ((0, 100), (100, 150)):
        row, start = places(packing)
        here = list(zip(row[begin:end], start[begin:end], strict=True))
        assert here == sorted(here)


def test_one_row_takes_what_fits_best() -> None:
    packing = pack(pieces_of([[6, 3, 4, 7, 1]]), 10, 1)
    # 6 opens, 4 fits best; 3 opens, 7 fits best; 1 is left over.
    assert packing.piece.tolist() == [0, 2, 1, 3, 4]
    assert packing.row.tolist() == [0, 0, 1, 1, 2]
    assert packing.start.tolist() == [0, 6, 0, 3, 0]


def test_packing_twice_gives_the_same() -> None:
    rng = np.random.default_rng(5)
    pieces = pieces_of([rng.integers(1, 257, 3000).tolist(), rng.integers(1, 100, 400).tolist()])
    one, two = pack(pieces, 256, 8), pack(pieces, 256, 8)
    assert (one.row == two.row).all()
    assert (one.start == two.start).all()


@pytest.mark.parametrize("row_tokens", [256, 1024, 2048])
@pytest.mark.parametrize("domain", [(6.5, 1.3), (5.5, 1.0), (8.0, 1.2)], ids=["web", "short", "code"])
def test_rows_are_as_full_as_best_fit_over_the_whole_corpus_makes_them(
    row_tokens: int, domain: tuple[float, float]
) -> None:
    rng = np.random.default_rng(row_tokens)
    text = np.clip(rng.lognormal(*domain, 3000), 2, 100_000).astype(np.int64)
    general = np.clip(rng.lognormal(6, 1.3, 3000), 2, 100_000).astype(np.int64)
    general = general[np.cumsum(general) <= text.sum() / 19]
    pieces = pieces_of([cut(text.tolist(), row_tokens), cut(general.tolist(), row_tokens)])
    packing = pack(pieces, row_tokens, 16)
    assert best_fit_decreasing_rows(pieces.length, row_tokens) / packing.num_rows >= 0.99
    assert packing.bound == "source"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=60), st.integers(24, 40))
def test_best_fit_by_lengths_needs_the_rows_of_best_fit_piece_by_piece(lengths: list[int], row_tokens: int) -> None:
    counted = rows_of_best_fit_decreasing(np.bincount(lengths, minlength=row_tokens + 1))
    assert counted == best_fit_decreasing_rows(np.array(lengths), row_tokens)


def test_what_is_called_out_of_reach_no_packing_reaches() -> None:
    # Five documents of 1 label beside one of 7: every way to give them to six steps of one row of 8 tokens.
    pieces = pieces_of([[2] * 5, [8]])
    assert is_out_of_reach(pieces, Shape(8, 1, 0))
    assert not is_out_of_reach(pieces_of([[2] * 4, [8]]), Shape(8, 1, 0))
    for steps in product(range(6), repeat=6):
        so_far, is_within = [0, 0], True
        for number in range(6):
            shorts, has_long = steps[:5].count(number), steps[5] == number
            is_within = is_within and 2 * shorts + 8 * has_long <= 8
            so_far = [so_far[0] + shorts, so_far[1] + 7 * has_long]
            is_within = is_within and abs(12 * so_far[0] - 5 * sum(so_far)) <= 12
        assert not is_within


def test_a_piece_too_long_for_the_others_is_out_of_reach_and_what_was_reached_is_said() -> None:
    # Beside documents of 3 labels one of 63 is off by more than 6 wherever it goes: its share of a step is 3.
    pieces = pieces_of([[4] * 1600, [64] * 5])
    packing = pack(pieces, 64, 1)
    assert packing.is_out_of_reach
    assert (packing.bound, packing.is_kept, packing.limits.tolist()) == ("mixture", True, [63, 63])
    assert 3 < packing.deviation.max() <= 63


def test_bounds_of_very_long_documents_beside_very_many_labels_are_narrowed_to_64_bits() -> None:
    row_tokens = 1 << 20
    pieces = replace(pieces_of([[row_tokens], [row_tokens] * 24_000]), longest=np.array([10, 60_000_000]))
    packing = pack(pieces, row_tokens, 4)
    assert packing.num_rows == 24_001
    total = int(pieces.labels.sum(dtype=np.int64))
    assert packing.limits.max() < 60_000_000
    assert int(packing.limits.max() + row_tokens) * total < MOST
    assert packing.deviation.max() <= 4 * row_tokens


def test_more_labels_than_can_be_counted_exactly_are_refused_with_the_limit() -> None:
    longest = (1 << 31) - 1
    pieces = replace(pieces_of([[9]]), labels=np.full(1, longest, np.int32))
    many = replace(pieces, labels=np.full(200, longest, np.int32), first=np.array([0, 200]))
    with pytest.raises(
        RecipeError, match=f"{200 * longest} supervised tokens in a phase.*{longest}.*268435456 or fewer"
    ):
        pack(many, 16, 1)


def test_more_pieces_than_can_be_numbered_are_refused_with_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.pack.pieces.MOST_PIECES", 1000)
    used = Used(
        *(np.array(column, dtype=dtype) for column, dtype in [
            ([0, 1], np.uint16), ([8, 1024], np.int32), ([7, 1], np.int32), ([1, 8], np.uint16), ([0, 1], np.uint32),
        ])
    )  # fmt: skip
    stored = Stored(np.zeros(2, np.int64), np.zeros(128, np.uint8))
    with pytest.raises(RecipeError, match=r"1025 pieces of documents in a phase.*source code.*1000 or fewer"):
        cut_pieces(used, ["text", "code"], stored, 8)


@given(st.integers(0, 2**32), st.integers(2, 400))
@settings(max_examples=25)
def test_pieces_whose_order_counts_move_within_a_64th_of_their_source(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = pieces_of([np.sort(rng.integers(2, 40, size)).tolist(), rng.integers(2, 40, 2 * size).tolist()])
    packing = pack(pieces, 64, 4, is_ordered=True)
    by_step = packing.piece[np.lexsort((packing.piece, packing.row // 4))]
    for begin, end in pairwise(pieces.first.tolist()):
        mine = by_step[(by_step >= begin) & (by_step < end)] - begin
        # A piece comes early by the look-ahead at most; one that waits opens a row in the end.
        assert (mine - np.arange(mine.size) < max(1, mine.size // 64)).all()
    if size < 128:
        first = by_step[by_step < size]
        assert (np.diff(first) > 0).all(), "a small source keeps its order whole"
