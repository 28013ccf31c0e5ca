"""Planted copies: just above the floor, the same for the same words, never the original itself."""

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.annotate.near_dup.planted import LEAST_WORDS, MOST_WORDS, Planted, is_original, plant
from engine.annotate.near_dup.recall import Recall

from .corpora import shingles_of

Hashes = NDArray[np.uint64]


def distinct_words(count: int, seed: int = 1) -> Hashes:
    return np.random.default_rng(seed).integers(1, 2**64, count, dtype=np.uint64)


def overlap(one: Hashes, other: Hashes, ngram_words: int) -> tuple[int, int]:
    """Return (intersection, union) of the shingles, by Python's sets."""
    ours, theirs = shingles_of(one.tolist(), ngram_words), shingles_of(other.tolist(), ngram_words)
    return len(ours & theirs), len(ours | theirs)


@given(
    st.integers(LEAST_WORDS, 400),
    st.integers(1, 8),
    st.sampled_from(["0.3", "0.5", "0.8", "0.95"]),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_copy_is_at_or_above_the_floor_and_one_more_word_replaced_could_be_below(
    num_words: int, ngram_words: int, floor: str, seed: int
) -> None:
    words = distinct_words(num_words, seed)
    if (planted := plant(words, ngram_words, float(floor))) is None:
        # The first word that is replaced stands in `ngram_words` of the shingles at most.
        assert Fraction(num_words - 2 * ngram_words + 1, num_words + 1) < Fraction(floor)
        return
    copy, similarity = planted
    shared, union = overlap(words, copy, ngram_words)
    assert similarity == shared / union
    assert Fraction(shared, union) >= Fraction(floor)
    # A word stands in as many shingles as they have words, at most.
    assert Fraction(shared - ngram_words, union + ngram_words) < Fraction(floor)
    assert len(copy) == len(words)
    assert 0 < (copy != words).sum() < len(words)


@given(
    st.lists(st.integers(0, 6), min_size=LEAST_WORDS, max_size=120),
    st.integers(1, 6),
    st.sampled_from(["0.25", "0.5", "0.8"]),
)
@settings(deadline=None)
def test_copies_of_texts_that_repeat_themselves_are_as_similar_as_they_say(
    words: list[int], ngram_words: int, floor: str
) -> None:
    original = np.array(words, dtype=np.uint64)
    if (planted := plant(original, ngram_words, float(floor))) is not None:
        shared, union = overlap(original, planted[0], ngram_words)
        assert planted[1] == shared / union
        assert Fraction(shared, union) >= Fraction(floor)
    assert original.tolist() == words


@pytest.mark.parametrize("floor", [0.5, 0.8, 0.95])
def test_copies_of_long_documents_are_within_five_hundredths_of_the_floor(floor: float) -> None:
    similarities = []
    for seed in range(50):
        planted = plant(distinct_words(300 + 20 * seed, seed), 5, floor)
        assert planted is not None
        similarities.append(planted[1])
    assert min(similarities) >= floor
    assert np.mean(similarities) < floor + 0.05


def test_same_words_give_the_same_copy_and_stay_as_they_are() -> None:
    words = distinct_words(200)
    before = words.copy()
    one, other = plant(words, 5, 0.8), plant(words.copy(), 5, 0.8)
    assert one is not None
    assert other is not None
    assert one[0].tolist() == other[0].tolist()
    assert one[1] == other[1]
    assert one[0].tolist() != before.tolist()
    assert words.tolist() == before.tolist()


def test_other_words_are_replaced_in_other_places() -> None:
    changed = set()
    for seed in range(10):
        words = distinct_words(100, seed)
        planted = plant(words, 5, 0.8)
        assert planted is not None
        changed.add(tuple(np.flatnonzero(planted[0] != words).tolist()))
    assert len(changed) == 10


@pytest.mark.parametrize(
    ("words", "floor"),
    [
        (distinct_words(0), 0.1),
        (distinct_words(LEAST_WORDS - 1), 0.1),
        (distinct_words(MOST_WORDS + 1), 0.8),
        (distinct_words(100), 1.0),
        # The first or the last word alone leaves 19 of 21 shingles, every other one fewer.
        (distinct_words(24), 0.95),
    ],
    ids=["no words", "too short", "too long", "equal texts", "no word to spare"],
)
def test_documents_that_cannot_have_such_a_copy_give_none(words: Hashes, floor: float) -> None:
    assert plant(words, 5, floor) is None


@pytest.mark.parametrize(("num_words", "has_copy"), [(59, False), (60, True)])
def test_documents_of_fewer_than_two_shingles_end_to_end_give_no_copy(num_words: int, has_copy: bool) -> None:
    assert (plant(distinct_words(num_words), 30, 0.01) is not None) == has_copy


def test_shortest_and_longest_documents_give_a_copy() -> None:
    assert plant(distinct_words(LEAST_WORDS), 1, 0.5) is not None
    assert plant(distinct_words(MOST_WORDS), 5, 0.8) is not None


def test_report_holds_the_recall_and_the_similarity() -> None:
    assert Planted(Recall(300, 299), 0.812345).as_json() == {
        "planted": 300, "found": 299, "share": 0.9967, "interval_95": [0.9814, 0.9994], "mean_similarity": 0.8123
    }  # fmt: skip


@pytest.mark.parametrize("num_documents", [1, 999, 1000])
def test_all_of_up_to_a_thousand_documents_are_originals(num_documents: int) -> None:
    digests = np.full((num_documents, 2), 2**64 - 1, dtype=np.uint64)
    assert is_original(digests, num_documents).all()


def test_of_many_documents_about_a_thousand_are_originals_chosen_by_their_digests() -> None:
    digests = np.random.default_rng(1).integers(0, 2**64, (100_000, 2), dtype=np.uint64)
    chosen = is_original(digests, 100_000)
    assert abs(int(chosen.sum()) - 1000) < 4 * sqrt(1000)
    order = np.random.default_rng(2).permutation(100_000)
    assert is_original(digests[order], 100_000).tolist() == chosen[order].tolist()
