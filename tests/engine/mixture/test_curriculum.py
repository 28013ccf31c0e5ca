"""The order of a mixture's documents depends on the documents and the seed only."""

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import RecipeError
from engine.base.hashing import digest_bytes
from engine.mixture.curriculum import CURRICULA, order


def documents(lengths: list[int]) -> pl.DataFrame:
    ids = [digest_bytes(str(number).encode()) for number in range(len(lengths))]
    schema = {"doc_id": pl.Binary, "num_tokens": pl.Int32, "difficulty": pl.Float64}
    difficulty = [None if length == 1 else length % 4 / 2 for length in lengths]
    return pl.DataFrame({"doc_id": ids, "num_tokens": lengths, "difficulty": difficulty}, schema=schema)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(CURRICULA)),
    st.lists(st.integers(1, 9), max_size=30),
    st.integers(0, 2**63 - 1),
    st.randoms(),
)
def test_the_order_they_come_in_changes_nothing(
    curriculum: str, lengths: list[int], seed: int, random: random.Random
) -> None:
    frame = documents(lengths)
    rows = list(range(frame.height))
    random.shuffle(rows)
    ordered = order(frame, curriculum, seed)
    assert order(frame[rows], curriculum, seed).equals(ordered)
    assert ordered.sort("doc_id").equals(frame.sort("doc_id"))


def test_another_seed_is_another_order() -> None:
    frame = documents([5] * 50)
    assert not order(frame, "shuffled", 1).equals(order(frame, "shuffled", 2))
    assert not order(frame, "by_length", 1).equals(order(frame, "by_length", 2))


def test_shuffling_mixes_lengths_and_by_length_sorts_them() -> None:
    frame = documents([length for length in range(1, 11) for _ in range(20)])
    assert order(frame, "by_length", 3)["num_tokens"].is_sorted()
    thirds = order(frame, "shuffled", 3)["num_tokens"].to_numpy().reshape(4, 50).mean(axis=1)
    assert abs(thirds - 5.5).max() < 1.5


def test_difficulty_leads_from_one_end_to_the_other_and_unknown_ones_are_last() -> None:
    frame = documents([1, 2, 3, 4, 5] * 20)
    up, down = (order(frame, name, 3)["difficulty"] for name in ("easy_to_hard", "hard_to_easy"))
    assert up.to_list() == [0.0] * 20 + [0.5] * 20 + [1.0] * 20 + [1.5] * 20 + [None] * 20
    assert down.to_list() == [1.5] * 20 + [1.0] * 20 + [0.5] * 20 + [0.0] * 20 + [None] * 20
    assert not order(frame, "easy_to_hard", 1).equals(order(frame, "easy_to_hard", 2))


def test_an_unknown_curriculum_is_an_error_that_guesses() -> None:
    with pytest.raises(RecipeError, match="did you mean 'shuffled'"):
        order(documents([1]), "shufled", 1)
