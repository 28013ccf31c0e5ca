"""Budgets sum to the whole, and documents fill them without ever exceeding one."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import RecipeError
from engine.mixture.weights import budgets, largest_remainder, most_tokens, uses

weights = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.fractions(min_value=Fraction(1, 1000), max_value=1000), min_size=1
)


@settings(deadline=None)
@given(st.integers(0, 10**12), weights)
def test_parts_sum_to_the_whole_and_each_is_its_quota_rounded(total: int, parts: dict[str, Fraction]) -> None:
    found = largest_remainder(total, parts)
    assert sum(found.values()) == total
    assert found.keys() == parts.keys()
    for name, part in found.items():
        assert abs(part - total * parts[name] / sum(parts.values())) < 1


@settings(deadline=None)
@given(st.integers(0, 1000), weights, st.randoms())
def test_the_order_in_which_weights_are_written_changes_nothing(
    total: int, parts: dict[str, Fraction], random: object
) -> None:
    items = list(parts.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert largest_remainder(total, dict(items)) == largest_remainder(total, parts)


def test_the_largest_remainders_get_what_is_left() -> None:
    # Quotas 4.5, 3.3, 2.2: the one token left goes to the largest remainder; ties go to the smaller name.
    assert largest_remainder(10, {"a": Fraction(45), "b": Fraction(33), "c": Fraction(22)}) == {"a": 5, "b": 3, "c": 2}
    assert largest_remainder(1, {"b": Fraction(1), "a": Fraction(1)}) == {"a": 1, "b": 0}


def greedy(tokens: list[int], budget: int) -> list[int]:
    """Oracle: whole passes, then each document in order if it still fits."""
    taken = [budget // sum(tokens)] * len(tokens)
    left = budget % sum(tokens)
    for place, length in enumerate(tokens):
        if left and length <= left:
            taken[place] += 1
            left -= length
    return taken


lengths = st.lists(st.integers(1, 50), min_size=1, max_size=40)


@settings(deadline=None)
@given(lengths, st.integers(0, 4000))
def test_documents_are_taken_in_order_while_they_fit(tokens: list[int], budget: int) -> None:
    assert uses(np.array(tokens), budget).tolist() == greedy(tokens, budget)


@settings(deadline=None)
@given(lengths, st.integers(0, 4000))
def test_a_budget_is_never_exceeded_and_short_by_less_than_a_document(tokens: list[int], budget: int) -> None:
    found = uses(np.array(tokens), budget)
    left = budget - int(np.dot(found, tokens))
    fewest = found.min()
    assert left >= 0
    assert found.max() <= fewest + 1
    assert all(left < length for length, count in zip(tokens, found.tolist(), strict=True) if count == fewest)


def test_a_long_document_in_front_does_not_stop_the_others() -> None:
    assert uses(np.array([500, 30, 40, 50]), 100).tolist() == [0, 1, 1, 0]


def arrays(**sources: list[int]) -> dict[str, np.ndarray]:
    return {name: np.array(tokens) for name, tokens in sources.items()}


def test_a_source_that_cannot_give_its_budget_is_an_error_that_says_what_is_possible() -> None:
    tokens = arrays(a=[100], b=[1000])
    equal = {"a": Fraction(1), "b": Fraction(1)}
    with pytest.raises(
        RecipeError, match=r"m\.a: budget of 500 .* it has 100, used 4 times.*budget_tokens to 800 or less"
    ):
        budgets("m", 1000, equal, tokens, 4, Fraction(1))
    assert budgets("m", 800, equal, tokens, 4, Fraction(1)) == {"a": 400, "b": 400}
    with pytest.raises(RecipeError, match=r"lower budget_tokens to 1000 or less"):
        budgets("m", 1000, equal, tokens, 4, Fraction(4, 5))


def test_a_source_that_would_get_nothing_is_an_error_that_names_it() -> None:
    with pytest.raises(RecipeError, match=r"m\.b: its part of 10 supervised tokens is less than one"):
        budgets("m", 10, {"a": Fraction(1000), "b": Fraction(1)}, arrays(a=[100], b=[5]), 1, Fraction(1))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 500), st.fractions(Fraction(1, 50), 50)), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_the_most_tokens_can_be_had_and_one_more_cannot(sources: list[tuple[int, Fraction]], max_repeats: int) -> None:
    tokens = {str(number): np.array([there]) for number, (there, _) in enumerate(sources)}
    parts = {str(number): weight for number, (_, weight) in enumerate(sources)}
    most = most_tokens(parts, tokens, max_repeats)
    there = {name: int(array.sum()) * max_repeats for name, array in tokens.items()}
    assert all(part <= there[name] for name, part in largest_remainder(most, parts).items())
    whole = sum(parts.values())
    assert any((most + 1) * weight / whole > there[name] for name, weight in parts.items())
