"""The order of a mixture's documents depends on the documents and the seed only."""

import math
import random
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import RecipeError
from engine.base.hashing import digest_bytes
from engine.mixture import curriculum as curricula
from engine.mixture.curriculum import CURRICULA, Curriculum
from engine.mixture.pacing import openings


def documents(lengths: list[int]) -> pl.DataFrame:
    ids = [digest_bytes(str(number).encode()) for number in range(len(lengths))]
    schema = {"doc_id": pl.Binary, "num_tokens": pl.Int32, "difficulty": pl.Float64}
    schema |= {"supervised_tokens": pl.Int32, "repeats": pl.UInt16}
    difficulty = [None if length == 1 else length % 4 / 2 for length in lengths]
    columns = {"doc_id": ids, "num_tokens": lengths, "difficulty": difficulty, "supervised_tokens": lengths}
    return pl.DataFrame(columns | {"repeats": [1 + length % 3 for length in lengths]}, schema=schema)


def order(
    frame: pl.DataFrame, name: str, seed: int, stages: int = 1, initial: Fraction = Fraction(1, 4)
) -> pl.DataFrame:
    return frame[curricula.order(frame, Curriculum(name, stages, initial), seed, "mixtures.m")]


@settings(deadline=None)
@given(
    st.sampled_from(sorted(CURRICULA)),
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
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


def test_documents_without_a_number_of_difficulty_are_last_either_way() -> None:
    frame = documents([2, 3, 4]).with_columns(difficulty=pl.Series([math.nan, 1.0, 2.0]))
    for name, expected in (("easy_to_hard", [3, 4, 2]), ("hard_to_easy", [4, 3, 2])):
        assert order(frame, name, 1)["num_tokens"].to_list() == expected


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=5, max_size=60), st.integers(1, 4), st.integers(0, 99))
def test_stages_are_of_about_equal_tokens_easy_before_hard_and_shuffled_within(
    lengths: list[int], stages: int, seed: int
) -> None:
    frame = documents([*lengths, 2, 3])
    easy = order(frame, "easy_to_hard", seed).rows(named=True)
    costs = [row["supervised_tokens"] * row["repeats"] for row in easy]
    groups, before = {}, 0
    for row, cost in zip(easy, costs, strict=True):
        groups[row["doc_id"]] = (2 * before + cost) * stages // (2 * sum(costs))
        before += cost
    if len(set(groups.values())) < stages:
        with pytest.raises(
            RecipeError, match=f"^mixtures.m.stages: group [0-9]+ of {stages} gets none of the {frame.height} documents"
        ):
            order(frame, "staged", seed, stages)
        return
    ids = order(frame, "staged", seed, stages)["doc_id"].to_list()
    assert ids == sorted(order(frame, "shuffled", seed)["doc_id"], key=groups.__getitem__)
    for number in range(stages):
        own = sum(cost for row, cost in zip(easy, costs, strict=True) if groups[row["doc_id"]] == number)
        assert abs(own - sum(costs) / stages) <= max(costs)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.integers(1, 10_000), st.integers(0, 99))
def test_at_each_position_only_documents_within_the_competence_reached_stand(
    count: int, initial: int, seed: int
) -> None:
    share = Fraction(initial, 10_000)
    frame = documents([1] * count).with_columns(difficulty=pl.Series(range(count)))
    difficulty = order(frame, "competence", seed, initial=share)["difficulty"].to_list()
    assert sorted(difficulty) == list(range(count))
    for position, rank in enumerate(difficulty):
        squared = count**2 * (share**2 + (1 - share**2) * position / count)
        assert rank**2 < squared  # rank < ceil(count * competence)


@given(st.integers(1, 60), st.integers(1, 10_000))
def test_a_document_may_come_as_soon_as_the_competence_reaches_it(count: int, initial: int) -> None:
    share = Fraction(initial, 10_000)
    reached = [count**2 * (share**2 + (1 - share**2) * position / count) for position in range(count)]
    expected = [next(at for at in range(count) if rank**2 < reached[at]) for rank in range(count)]
    assert openings(count, share).tolist() == expected


def test_openings_of_very_many_documents_are_exact_too() -> None:
    count, share = 3_000_000, Fraction(9999, 10_000)
    opens = openings(count, share)
    for rank in (count - 1, count - 100, count - 299):
        at = int(opens[rank])
        bound = count**2 * (share**2 + (1 - share**2) * Fraction(at, count))
        before = count**2 * (share**2 + (1 - share**2) * Fraction(at - 1, count))
        assert rank**2 < bound
        assert at == 0 or rank**2 >= before


def test_competence_draws_evenly_among_what_is_open() -> None:
    # With full competence from the start it is a shuffle: every place is as likely for every document.
    frame = documents([1] * 4).with_columns(difficulty=pl.Series(range(4)))
    firsts = [order(frame, "competence", seed, initial=Fraction(1))["difficulty"][0] for seed in range(800)]
    counts = np.bincount(np.array(firsts, dtype=np.int64), minlength=4)
    assert counts.min() > 150
    # Easy documents come early on the whole.
    frame = documents([1] * 300).with_columns(difficulty=pl.Series(range(300)))
    ranks = order(frame, "competence", 1, initial=Fraction(1, 100))["difficulty"].to_numpy()
    assert ranks[:100].mean() < 120
    assert ranks[200:].mean() > 180
