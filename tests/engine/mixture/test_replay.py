"""Replay is the share it was asked to be, to within one document."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.mixture.replay import replay_tokens, replay_uses
from engine.mixture.weights import largest_remainder, uses


@settings(deadline=None)
@given(st.integers(0, 10**12), st.fractions(0, Fraction(99, 100)))
def test_one_token_more_would_exceed_the_share(domain: int, share: Fraction) -> None:
    replay = replay_tokens(domain, share)
    if domain:
        assert Fraction(replay, replay + domain) <= share < Fraction(replay + 1, replay + 1 + domain) or share == 0
    if share == 0:
        assert replay == 0


def test_ten_percent_of_a_thousand_is_exact() -> None:
    # In floating point 0.1 / 0.9 * 900 is 100.00000000000001.
    assert replay_tokens(900, Fraction("0.1")) == 100
    assert replay_tokens(700, Fraction("0.3")) == 300


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(1, 60), min_size=1, max_size=30), min_size=1),
    st.fractions(0, 1),
    st.integers(1, 3),
)
def test_what_one_source_leaves_passes_to_the_next(
    lengths: dict[str, list[int]], part: Fraction, max_repeats: int
) -> None:
    tokens = {name: np.array(values) for name, values in lengths.items()}
    total = int(sum(sum(values) for values in lengths.values()) * max_repeats * part)
    budgets = largest_remainder(total, {name: Fraction(sum(values)) for name, values in lengths.items()})
    room = {name: int(array.sum()) * max_repeats for name, array in tokens.items()}
    unused = {name: np.zeros_like(array) for name, array in tokens.items()}
    found = replay_uses(tokens, budgets, room, unused)
    used = {name: int(np.dot(found[name], tokens[name])) for name in tokens}
    assert all(found[name].max() <= max_repeats for name in used)
    longest = max(max(values) for values in lengths.values())
    assert 0 <= total - sum(used.values()) < longest
    assert all(abs(budgets[name] - used[name]) < longest for name in used)


def test_a_single_source_is_used_as_ever() -> None:
    tokens = np.array([7, 9, 4])
    assert (
        replay_uses({"a": tokens}, {"a": 31}, {"a": 40}, {"a": tokens * 0})["a"].tolist() == uses(tokens, 31).tolist()
    )
