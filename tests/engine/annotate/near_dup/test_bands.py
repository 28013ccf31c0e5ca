"""Bands: the choice follows threshold and recall, buckets name every pair, hot buckets stay bounded."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.annotate.near_dup.bands import band_hashes, candidate_pairs, choose_bands, pairs_in_buckets
from engine.annotate.near_dup.minhash import signatures
from engine.base.errors import RecipeError
from engine.text.words import ShingleSets


def chance(similarity: Any, bands: int, rows: int) -> Any:
    return 1 - (1 - similarity**rows) ** bands


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1])
@pytest.mark.parametrize("recall", [0.9, 0.99, 0.999])
def test_chosen_bands_reach_the_recall_and_nothing_reaches_it_with_fewer_candidates(
    threshold: float, recall: float
) -> None:
    bands, rows = choose_bands(threshold, recall, 256)
    assert bands * rows <= 256
    assert chance(threshold, bands, rows) >= recall
    below = np.linspace(0, threshold, 200, endpoint=False)
    for other_rows in range(1, 257):
        for other_bands in range(1, 256 // other_rows + 1):
            if chance(threshold, other_bands, other_rows) >= recall:
                # One per cent, because the average is taken over other points here.
                assert np.sum(chance(below, bands, rows)) <= 1.01 * np.sum(chance(below, other_bands, other_rows))
                break


def test_bands_follow_the_threshold() -> None:
    assert choose_bands(0.8, 0.99, 256) == (26, 8)
    assert choose_bands(0.5, 0.99, 256) == (35, 3)
    assert choose_bands(0.9, 0.99, 256) == (18, 14)
    assert choose_bands(1, 1, 256) == (1, 256)


def test_recall_out_of_reach_says_what_can_be_reached() -> None:
    with pytest.raises(RecipeError, match=r"recall: 0\.99 at threshold 0\.1 .* with 16 permutations.*at most 0\.8147"):
        choose_bands(0.1, 0.99, 16)


@pytest.mark.parametrize(("threshold", "recall", "name"), [(0, 0.9, "threshold"), (0.8, 1.1, "recall")])
def test_fractions_outside_0_to_1_are_errors(threshold: float, recall: float, name: str) -> None:
    with pytest.raises(RecipeError, match=rf"near_dup: {name}: got .*\. Needed: above 0, at most 1"):
        choose_bands(threshold, recall, 256)


def ranks(num_documents: int) -> NDArray[np.int64]:
    return np.arange(num_documents)


def pairs_sharing_a_band(signed: NDArray[np.uint32], bands: int, rows: int) -> list[list[int]]:
    banded = signed[:, : bands * rows].reshape(len(signed), bands, rows)
    return [
        [one, other]
        for one, other in combinations(range(len(signed)), 2)
        if (banded[one] == banded[other]).all(axis=1).any()
    ]


@given(st.lists(st.lists(st.integers(0, 2), min_size=7, max_size=7), max_size=25), st.integers(1, 3))
@settings(deadline=None)
def test_candidates_are_exactly_the_pairs_that_share_a_band(documents: list[list[int]], bands: int) -> None:
    signed = np.array(documents, dtype=np.uint32).reshape(-1, 7)
    found = candidate_pairs(signed, bands, 2, ranks(len(signed)))
    assert found.pairs.tolist() == pairs_sharing_a_band(signed, bands, 2)
    assert (found.num_hot_buckets, found.num_skipped_comparisons) == (0, 0)


def test_documents_without_shingles_are_never_candidates() -> None:
    sets = ShingleSets(np.array([0, 0, 0, 1, 2]), np.array([5, 5], dtype=np.uint64))
    for bound in (1, 1000):
        found = candidate_pairs(signatures(sets, 8), 4, 2, ranks(4), bound)
        assert found.pairs.tolist() == [[2, 3]]


def test_more_rows_than_permutations_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"bands: 5 of 2 rows\. Needed: at most 8 rows in all"):
        band_hashes(np.zeros((1, 8), dtype=np.uint32), 5, 2)


GOLDEN_BANDS = ["0e866c822665d751", "f9334a2e1d8a7b61"]


def test_band_hashes_never_change() -> None:
    found = band_hashes(np.array([[1, 2, 3, 4]], dtype=np.uint32), 2, 2)
    assert [f"{value:016x}" for value in found[0].tolist()] == GOLDEN_BANDS


def test_hot_bucket_compares_each_member_with_the_best_ranked_only() -> None:
    hashes = np.ones((6, 1), dtype=np.uint64)
    rank = np.array([5, 1, 4, 0, 3, 2])
    found = pairs_in_buckets(hashes, rank, max_bucket_documents=5, hot_bucket_leaders=2)
    assert found.pairs.tolist() == [[0, 1], [0, 3], [1, 2], [1, 3], [1, 4], [1, 5], [2, 3], [3, 4], [3, 5]]
    assert (found.num_hot_buckets, found.num_skipped_comparisons) == (1, 15 - 9)


def test_pair_left_out_of_a_hot_bucket_is_named_by_a_later_band() -> None:
    hashes = np.array([[1, 2], [1, 3], [1, 4], [1, 4]], dtype=np.uint64)
    before = hashes.copy()
    found = pairs_in_buckets(hashes, ranks(4), max_bucket_documents=3, hot_bucket_leaders=1)
    assert found.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [2, 3]]
    np.testing.assert_array_equal(hashes, before)


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=30),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(0, 1000),
)
@settings(deadline=None)
def test_order_of_documents_changes_no_pair_even_in_hot_buckets(
    documents: list[list[int]], bound: int, leaders: int, seed: int
) -> None:
    hashes = np.array(documents, dtype=np.uint64)
    generator = np.random.default_rng(seed)
    rank, order = generator.permutation(len(documents)), generator.permutation(len(documents))
    found = pairs_in_buckets(hashes, rank, bound, leaders)
    shuffled = pairs_in_buckets(hashes[order], rank[order], bound, leaders)
    back = np.sort(order[shuffled.pairs], axis=1)
    assert sorted(back.tolist()) == found.pairs.tolist()
    assert shuffled.num_skipped_comparisons == found.num_skipped_comparisons


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_planted_pairs_at_the_threshold_are_found_as_often_as_promised(threshold: float) -> None:
    recall, num_pairs, num_shingles = 0.95, 1000, 120
    shared = round(2 * threshold * num_shingles / (1 + threshold))
    pool = np.random.default_rng(3).integers(0, 2**63, (num_pairs, 2 * num_shingles - shared)).astype(np.uint64)
    one, other = pool[:, :num_shingles], pool[:, -num_shingles:]
    hashes = np.sort(np.stack([one, other], axis=1), axis=2).ravel()
    signed = signatures(ShingleSets(np.arange(0, len(hashes) + 1, num_shingles), hashes))
    bands, rows = choose_bands(threshold, recall, 256)
    found = candidate_pairs(signed, bands, rows, ranks(2 * num_pairs)).pairs
    hits = (found[:, 0] // 2 == found[:, 1] // 2).sum()
    exact = chance(shared / (2 * num_shingles - shared), bands, rows)
    assert hits / num_pairs > exact - 4 * (exact * (1 - exact) / num_pairs) ** 0.5
