"""Verification: Jaccard equals Python's sets, and the threshold decides exactly."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate.near_dup.verify import at_least, jaccard
from engine.base.errors import RecipeError
from engine.text.words import ShingleSets

shingle_sets = st.lists(
    st.sets(st.integers(0, 40) | st.integers(2**63, 2**63 + 40), max_size=50), min_size=1, max_size=6
)


def as_sets(documents: list[set[int]]) -> ShingleSets:
    hashes = np.array([shingle for document in documents for shingle in sorted(document)], dtype=np.uint64)
    return ShingleSets(np.cumsum([0, *map(len, documents)]), hashes)


@given(shingle_sets)
@settings(deadline=None)
def test_jaccard_equals_that_of_python_sets(documents: list[set[int]]) -> None:
    pairs = [(one, other) for one in range(len(documents)) for other in range(len(documents))]
    intersections, unions = jaccard(as_sets(documents), np.array(pairs))
    assert intersections.tolist() == [len(documents[one] & documents[other]) for one, other in pairs]
    assert unions.tolist() == [len(documents[one] | documents[other]) for one, other in pairs]


def test_no_pairs_give_no_similarities() -> None:
    intersections, unions = jaccard(as_sets([{1}]), np.empty((0, 2), dtype=np.int64))
    assert intersections.tolist() == unions.tolist() == []


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
    intersections, unions = jaccard(as_sets([set(), set(), {1}]), np.array([[0, 1], [0, 2]]))
    assert unions.tolist() == [0, 1]
    assert at_least(intersections, unions, 0.0001).tolist() == [False, False]


@pytest.mark.parametrize("threshold", [0, -0.5, 1.0001, 0.12345, "many", float("nan"), float("inf")])
def test_threshold_outside_ten_thousandths_is_an_error(threshold: float | str) -> None:
    with pytest.raises(RecipeError, match=rf"near_dup: threshold: got {threshold}\. Needed: above 0, at most 1"):
        at_least(np.array([1]), np.array([1]), threshold)
