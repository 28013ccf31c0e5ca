"""Verification: Jaccard equals Python's sets, and the threshold decides exactly."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate.near_dup.verify import BELOW, at_least, intersections_at_least, jaccard, may_reach
from engine.base.errors import RecipeError

from .corpora import as_sets

Pairs = list[tuple[int, int]]
# Many end in the same bits, so that they meet in a hash table.
shingles = st.integers(0, 40) | st.integers(1, 40).map(lambda high: high << 58) | st.integers(2**64 - 20, 2**64 - 1)
shingle_sets = st.lists(st.sets(shingles, max_size=50), min_size=1, max_size=6)


@st.composite
def sets_and_pairs(draw: st.DrawFn) -> tuple[list[set[int]], Pairs]:
    """Sets, and pairs of them in any order, some more than once."""
    documents = draw(shingle_sets)
    number = st.integers(0, len(documents) - 1)
    return documents, draw(st.lists(st.tuples(number, number), max_size=30))


def as_array(pairs: Pairs) -> np.ndarray:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


@given(shingle_sets)
@settings(deadline=None)
def test_jaccard_equals_that_of_python_sets(documents: list[set[int]]) -> None:
    pairs = [(one, other) for one in range(len(documents)) for other in range(len(documents))]
    intersections, unions = jaccard(as_sets(documents), as_array(pairs))
    assert intersections.tolist() == [len(documents[one] & documents[other]) for one, other in pairs]
    assert unions.tolist() == [len(documents[one] | documents[other]) for one, other in pairs]


def test_no_pairs_give_no_similarities() -> None:
    intersections, unions = jaccard(as_sets([{1}]), np.empty((0, 2), dtype=np.int64))
    assert intersections.tolist() == unions.tolist() == []


@given(sets_and_pairs(), st.integers(1, 10_000) | st.sampled_from([2500, 3333, 3334, 5000, 6666, 6667, 7500, 10_000]))
@settings(deadline=None, max_examples=300)
def test_shared_shingles_are_counted_of_pairs_at_the_threshold_and_no_others(
    case: tuple[list[set[int]], Pairs], units: int
) -> None:
    documents, pairs = case
    expected = []
    for one, other in pairs:
        shared, union = documents[one] & documents[other], documents[one] | documents[other]
        is_similar = not union or Fraction(len(shared), len(union)) >= Fraction(units, 10_000)
        expected.append(len(shared) if is_similar else BELOW)
    assert intersections_at_least(as_sets(documents), as_array(pairs), units).tolist() == expected


@given(sets_and_pairs(), st.lists(st.integers(0, 3), min_size=30, max_size=30), st.integers(1, 10_000))
@settings(deadline=None)
def test_families_in_any_order_change_no_count(
    case: tuple[list[set[int]], Pairs], families: list[int], units: int
) -> None:
    sets, pairs = as_sets(case[0]), as_array(case[1])
    together = intersections_at_least(sets, pairs, units)
    # Families of one pair are never worth a bitmap.
    for other in (np.array(families)[: len(pairs)], np.arange(len(pairs))):
        assert intersections_at_least(sets, pairs, units, other).tolist() == together.tolist()


@st.composite
def exact_similarities(draw: st.DrawFn) -> tuple[set[int], set[int], int]:
    """Two sets and their similarity, which is a whole number of ten-thousandths."""
    union = draw(st.sampled_from([1, 2, 4, 5, 8, 10, 16, 25, 40, 80, 100, 125, 200, 400, 625, 1000]))
    shared = draw(st.integers(1, union))
    split = draw(st.integers(shared, union))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2**64, union, dtype=np.uint64).tolist()
    return set(values[:split]), set(values[:shared] + values[split:]), shared * 10_000 // union


@given(exact_similarities())
@settings(deadline=None)
def test_threshold_that_is_met_exactly_counts_and_one_ten_thousandth_more_does_not(
    case: tuple[set[int], set[int], int],
) -> None:
    one, other, units = case
    sets, pairs, shared = as_sets([one, other]), as_array([(0, 1), (1, 0)]), len(one & other)
    assert intersections_at_least(sets, pairs, units).tolist() == [shared, shared]
    assert intersections_at_least(sets, pairs, units + 1).tolist() == [BELOW, BELOW]


def test_shingle_zero_is_one_like_any_other() -> None:
    sets = as_sets([{0}, {1, 32}, {0, 1}, {16, 32}, {0, 16, 2**63}])
    pairs = [(one, other) for one in range(5) for other in range(5)]
    shared = [1, 0, 1, 0, 1, 0, 2, 1, 1, 0, 1, 1, 2, 0, 1, 0, 1, 0, 2, 1, 1, 0, 1, 1, 3]
    assert jaccard(sets, as_array(pairs))[0].tolist() == shared


def test_sets_of_many_sizes_follow_each_other_in_any_order() -> None:
    draw = np.random.default_rng(4)
    documents = [set(draw.integers(0, 3000, size).tolist()) for size in (2500, 1, 90, 700, 0, 64, 65, 15, 16, 17)]
    pairs = [(one, other) for one in range(10) for other in range(10)]
    for seed in range(5):
        mixed = np.random.default_rng(seed).permutation(as_array(pairs))
        found = intersections_at_least(as_sets(documents), mixed, 500)
        alone = intersections_at_least(as_sets(documents), mixed, 500, np.arange(len(mixed)))
        unions = [len(documents[one] | documents[other]) for one, other in mixed.tolist()]
        shared = [len(documents[one] & documents[other]) for one, other in mixed.tolist()]
        expected = [s if s * 10_000 >= 500 * u else BELOW for s, u in zip(shared, unions, strict=True)]
        assert found.tolist() == alone.tolist() == expected


def test_empty_set_reaches_no_threshold_beside_another_one() -> None:
    found = intersections_at_least(as_sets([set(), {5}]), as_array([(0, 1), (1, 0), (1, 1)]), 1)
    assert found.tolist() == [BELOW, BELOW, 1]


@given(sets_and_pairs(), st.integers(1, 10_000))
@settings(deadline=None)
def test_pairs_that_cannot_reach_the_threshold_by_their_sizes_do_not(
    case: tuple[list[set[int]], Pairs], units: int
) -> None:
    documents, pairs = case
    sizes = np.array([len(document) for document in documents])
    can = may_reach(sizes, as_array(pairs), units)
    found = intersections_at_least(as_sets(documents), as_array(pairs), units)
    assert (found[~can] == BELOW).all()


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(1, 10_000))
def test_sizes_may_reach_what_the_smaller_one_is_of_the_larger(one: int, other: int, units: int) -> None:
    expected = Fraction(min(one, other), max(one, other)) >= Fraction(units, 10_000)
    assert may_reach(np.array([one, other]), as_array([(0, 1), (1, 0)]), units).tolist() == [expected, expected]


@pytest.mark.parametrize("threshold", [0.8, "0.8", "0.8000"])
def test_exactly_the_threshold_counts_and_one_shingle_less_does_not(threshold: float | str) -> None:
    intersections, unions = np.array([4, 8_000_000, 7_999_999]), np.array([5, 10_000_000, 10_000_000])
    assert at_least(intersections, unions, threshold).tolist() == [True, True, False]


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(1, 10_000))
def test_comparison_is_that_of_fractions(intersection: int, rest: int, units: int) -> None:
    union = intersection + rest
    found = at_least(np.array([intersection]), np.array([union]), units / 10_000)
    assert found.tolist() == [Fraction(intersection, union) >= Fraction(units, 10_000)]


def test_empty_sets_are_similar_to_nothing() -> None:
    intersections, unions = jaccard(as_sets([set(), set(), {1}]), as_array([(0, 1), (0, 2)]))
    assert unions.tolist() == [0, 1]
    assert at_least(intersections, unions, 0.0001).tolist() == [False, False]


@pytest.mark.parametrize("threshold", [0, -0.5, 1.0001, 0.12345, "many", float("nan"), float("inf")])
def test_threshold_outside_ten_thousandths_is_an_error(threshold: float | str) -> None:
    with pytest.raises(RecipeError, match=rf"near_dup: threshold: got {threshold}\. Needed: above 0, at most 1"):
        at_least(np.array([1]), np.array([1]), threshold)
