"""Bands: the choice follows threshold and recall with the fewest permutations, and chances are as promised."""

from fractions import Fraction
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.annotate.near_dup.bands import band_hashes, choose_bands, pairs_in_buckets
from engine.annotate.near_dup.minhash import signatures
from engine.base.errors import RecipeError
from engine.text.words import ShingleSets

from .corpora import as_sets, table_of_signatures

AT_HALF = Fraction("0.15")


@cache
def chance(similarity: Fraction, bands: int, rows: int) -> Fraction:
    return 1 - (1 - similarity**rows) ** bands


def possible(threshold: str, recall: str, num_permutations: int) -> list[tuple[int, int]]:
    """All (bands, rows) that reach the recall."""
    return [
        (bands, rows)
        for rows in range(1, num_permutations + 1)
        for bands in range(1, num_permutations // rows + 1)
        if chance(Fraction(threshold), bands, rows) >= Fraction(recall)
    ]


def in_vain(threshold: str, choice: tuple[int, int]) -> Fraction:
    return chance(Fraction(threshold) / 2, *choice)


def num_values(choice: tuple[int, int]) -> int:
    return choice[0] * choice[1]


@pytest.mark.parametrize("threshold", ["0.3", "0.5", "0.7", "0.75", "0.8", "0.9", "1.0"])
@pytest.mark.parametrize("recall", ["0.9", "0.99"])
def test_fewest_permutations_that_reach_the_recall_and_rarely_propose_half_the_threshold(
    threshold: str, recall: str
) -> None:
    chosen = choose_bands(float(threshold), float(recall), 256)
    choices = possible(threshold, recall, 256)
    assert chosen in choices
    sparing = [choice for choice in choices if in_vain(threshold, choice) <= AT_HALF]
    if sparing:
        assert chosen in sparing
        assert num_values(chosen) == min(map(num_values, sparing))
    else:
        assert in_vain(threshold, chosen) == min(in_vain(threshold, choice) for choice in choices)


@given(st.integers(1, 100), st.integers(1, 99), st.integers(1, 40))
@settings(deadline=None)
def test_no_bands_are_better_than_the_chosen_ones(percent: int, recall: int, num_permutations: int) -> None:
    threshold, wanted = str(percent / 100), str(recall / 100)
    choices = possible(threshold, wanted, num_permutations)
    if not choices:
        with pytest.raises(RecipeError, match="out of reach"):
            choose_bands(percent / 100, recall / 100, num_permutations)
        return
    chosen = choose_bands(percent / 100, recall / 100, num_permutations)
    assert chosen in choices
    costs = {choice: (max(in_vain(threshold, choice), AT_HALF), num_values(choice)) for choice in choices}
    assert costs[chosen] == min(costs.values())


def test_default_is_12_bands_of_5() -> None:
    assert choose_bands(0.8, 0.99, 256) == (12, 5)


def test_where_all_bands_propose_half_the_threshold_too_often_the_least_chance_is_taken() -> None:
    # Two rows would need 17 bands, so one row it is, with a chance of 0.87 at a similarity of 0.25.
    assert choose_bands(0.5, 0.99, 16) == (7, 1)


def test_equal_sets_need_three_permutations() -> None:
    # A pair half alike agrees in two of two with a chance of 1/4, in three of three with 1/8.
    assert choose_bands(1, 1, 256) == (1, 3)


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
    found = pairs_in_buckets(table_of_signatures(signed, bands, 2), ranks(len(signed)))
    assert found.pairs.tolist() == pairs_sharing_a_band(signed, bands, 2)
    assert (found.num_hot_buckets, found.num_skipped_comparisons) == (0, 0)


@pytest.mark.parametrize("bound", [1, 1000])
def test_documents_without_shingles_are_never_candidates(bound: int) -> None:
    signed = signatures(as_sets([set(), set(), {5}, {5}]), 8)
    assert pairs_in_buckets(table_of_signatures(signed, 4, 2), ranks(4), bound).pairs.tolist() == [[2, 3]]


def test_more_rows_than_permutations_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"bands: 5 of 2 rows\. Needed: at most 8 rows in all"):
        band_hashes(np.zeros((1, 8), dtype=np.uint32), 5, 2)


GOLDEN_BANDS = ["0e866c822665d751", "f9334a2e1d8a7b61"]


def test_band_hashes_never_change() -> None:
    found = band_hashes(np.array([[1, 2, 3, 4]], dtype=np.uint32), 2, 2)
    assert [f"{value:016x}" for value in found[0].tolist()] == GOLDEN_BANDS


@pytest.mark.parametrize(("threshold", "similarity"), [(0.5, 0.5), (0.8, 0.8), (0.8, 0.4), (0.8, 0.65), (0.9, 0.45)])
def test_planted_pairs_are_proposed_as_often_as_their_similarity_says(
    tmp_path: Path, threshold: float, similarity: float
) -> None:
    recall, num_pairs, num_shingles = 0.95, 1000, 120
    shared = round(2 * similarity * num_shingles / (1 + similarity))
    pool = np.random.default_rng(3).integers(0, 2**63, (num_pairs, 2 * num_shingles - shared)).astype(np.uint64)
    one, other = pool[:, :num_shingles], pool[:, -num_shingles:]
    hashes = np.sort(np.stack([one, other], axis=1), axis=2).ravel()
    signed = signatures(ShingleSets(np.arange(0, len(hashes) + 1, num_shingles), hashes))
    bands, rows = choose_bands(threshold, recall, 256)
    found = pairs_in_buckets(table_of_signatures(signed, bands, rows), ranks(2 * num_pairs)).pairs
    hits = int((found[:, 0] // 2 == found[:, 1] // 2).sum())
    exact = float(chance(Fraction(shared, 2 * num_shingles - shared), bands, rows))
    assert abs(hits / num_pairs - exact) < 4 * (exact * (1 - exact) / num_pairs) ** 0.5
