"""Budgets sum to the whole, and documents fill them without ever exceeding one."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import RecipeError
from engine.mixture.weights import budgets, largest_remainder, most_tokens, tempered, unimax, uses

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


def test_a_source_that_cannot_give_its_budget_is_an_error_that_says_what_is_possible() -> None:
    room = {"a": 400, "b": 4000}
    equal = {"a": Fraction(1), "b": Fraction(1)}
    message = r"m\.a: budget of 500 .* max_repeats leaves it 400.*lower budget_tokens to 800 or less"
    with pytest.raises(RecipeError, match=message):
        budgets("m", 1000, equal, room, Fraction(1), "lower budget_tokens")
    assert budgets("m", 800, equal, room, Fraction(1), "") == {"a": 400, "b": 400}
    with pytest.raises(RecipeError, match=r"lower budget_tokens to 1000 or less"):
        budgets("m", 1000, equal, room, Fraction(4, 5), "lower budget_tokens")


def test_a_source_that_would_get_nothing_is_an_error_that_names_it() -> None:
    weights = {"a": Fraction(1000), "b": Fraction(1)}
    with pytest.raises(RecipeError, match=r"m\.b: its part of 10 supervised tokens is less than one"):
        budgets("m", 10, weights, {"a": 100, "b": 5}, Fraction(1), "lower budget_tokens")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 500), st.fractions(Fraction(1, 50), 50)), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_the_most_tokens_can_be_had_and_one_more_cannot(sources: list[tuple[int, Fraction]], max_repeats: int) -> None:
    room = {str(number): there * max_repeats for number, (there, _) in enumerate(sources)}
    parts = {str(number): weight for number, (_, weight) in enumerate(sources)}
    most = most_tokens(parts, room)
    assert all(part <= room[name] for name, part in largest_remainder(most, parts).items())
    whole = sum(parts.values())
    assert any((most + 1) * weight / whole > room[name] for name, weight in parts.items())


def test_temperature_flattens_and_one_is_proportional() -> None:
    tokens = {"a": 10**12, "b": 10**6}
    assert tempered(tokens, 1) == tokens
    assert tempered(tokens, 2) == {"a": 10**6, "b": 10**3}
    found = tempered({"a": 2}, 2)["a"]
    assert abs(found**2 - 2) < Fraction(1, 10**38)
    # The digits themselves, so that another machine or library that computes others is found out.
    assert found == Fraction("1.414213562373095048801688724209698078570")
    assert tempered({"a": 123_456_789}, 3.3)["a"] == Fraction("283.1224028620965945324507636988372216943")


def shared_out(total: int, room: dict[str, int]) -> dict[str, Fraction]:
    """Oracle: raise one level for all until the budget is spent."""
    level, left, open_ones = Fraction(0), Fraction(total), set(room)
    while left and open_ones:
        step = min(left / len(open_ones), min(room[name] for name in open_ones) - level)
        level += step
        left -= step * len(open_ones)
        open_ones = {name for name in open_ones if room[name] > level}
    return {name: min(Fraction(there), level) for name, there in room.items()}


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50), min_size=1), st.fractions(0, 1))
def test_unimax_is_even_but_for_sources_that_give_all_they_have(room: dict[str, int], part: Fraction) -> None:
    total = int(sum(room.values()) * part)
    found = unimax(total, room)
    assert found == shared_out(total, room)
    if total:
        split = largest_remainder(total, found)
        assert sum(split.values()) == total
        assert all(split[name] <= room[name] for name in room)


def taken(tokens: list[int], budget: int, used: list[int]) -> list[int]:
    """Oracle: the least used ones as long as all of them fit, then each that fits, those not used now first."""
    found = [0] * len(tokens)
    while budget:
        now = [before + own for before, own in zip(used, found, strict=True)]
        rows = [row for row in range(len(tokens)) if now[row] == min(now)]
        rows.sort(key=lambda row: (found[row], row))
        fits = sum(tokens[row] for row in rows) <= budget
        for row in rows:
            if tokens[row] <= budget:
                found[row] += 1
                budget -= tokens[row]
        if not fits:
            break
    return found


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), min_size=1, max_size=25), st.integers(0, 900))
def test_what_was_used_least_before_is_taken_first(documents: list[tuple[int, int]], budget: int) -> None:
    tokens, used = (list(column) for column in zip(*documents, strict=True))
    assert uses(np.array(tokens), budget, np.array(used)).tolist() == taken(tokens, budget, used)


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=25), st.integers(1, 4), st.fractions(0, 1))
def test_a_budget_within_the_room_keeps_the_cap_over_phases(tokens: list[int], cap: int, part: Fraction) -> None:
    lengths = np.array(tokens)
    used = np.zeros(lengths.size, dtype=np.uint16)
    for _ in range(4):
        room = int(lengths.sum() * cap - np.dot(lengths, used))
        used += uses(lengths, int(room * part), used)
    assert used.max() <= cap
    assert used.max() - used.min() <= 1
