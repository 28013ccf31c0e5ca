"""Buckets name every pair of their members; hot ones name the pairs of the best-ranked, the same in any order."""

from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.annotate.near_dup import bands
from engine.annotate.near_dup.bands import Candidates, pairs_in_buckets, sorted_distinct

from .corpora import table_of

matrices = st.integers(1, 4).flatmap(
    lambda num_bands: st.lists(
        st.lists(st.integers(0, 3), min_size=num_bands, max_size=num_bands), min_size=1, max_size=30
    )
)


def ranks(num_documents: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(num_documents)


def by_hand(
    rows: list[list[int]], rank: NDArray[np.int64], bound: int, leaders: int
) -> tuple[list[list[int]], int, int]:
    """Return (pairs, hot buckets, comparisons left out), bucket by bucket."""
    named, num_hot, num_skipped = set(), 0, 0
    for band in range(len(rows[0])):
        buckets = defaultdict(list)
        for document, row in enumerate(rows):
            if row[band]:
                buckets[row[band]].append(document)
        for members in buckets.values():
            pairs = set(combinations(members, 2))
            if len(members) > bound:
                best = sorted(members, key=lambda document: rank[document])[:leaders]
                led = {pair for pair in pairs if set(pair) & set(best)}
                num_hot, num_skipped, pairs = num_hot + 1, num_skipped + len(pairs - led), led
            named |= pairs
    return sorted(map(list, named)), num_hot, num_skipped


def as_tuple(found: Candidates) -> tuple[list[list[int]], int, int]:
    return found.pairs.tolist(), found.num_hot_buckets, found.num_skipped_comparisons


@given(matrices, st.integers(1, 6), st.integers(1, 3), st.integers(0, 1000), st.integers(1, 3), st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pairs_and_counts_are_those_of_going_through_the_buckets_by_hand(
    tmp_path: Path, rows: list[list[int]], bound: int, leaders: int, seed: int, jobs: int, in_file: bool
) -> None:
    rank = ranks(len(rows), seed)
    table = table_of(np.array(rows, dtype=np.uint64), tmp_path if in_file else None)
    found = pairs_in_buckets(table, rank, bound, leaders, jobs)
    assert as_tuple(found) == by_hand(rows, rank, bound, leaders)


@given(matrices, st.integers(0, 1000))
@settings(deadline=None)
def test_pairs_are_the_same_however_often_they_are_merged(rows: list[list[int]], seed: int) -> None:
    table, rank = table_of(np.array(rows, dtype=np.uint64)), ranks(len(rows), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "_MERGED_KEYS", 1)
        found = pairs_in_buckets(table, rank, 4, 2)
    assert as_tuple(found) == as_tuple(pairs_in_buckets(table, rank, 4, 2))


def test_hot_bucket_compares_each_member_with_the_best_ranked_only() -> None:
    rank = np.array([5, 1, 4, 0, 3, 2])
    table = table_of(np.ones((6, 1), dtype=np.uint64))
    found = pairs_in_buckets(table, rank, max_bucket_documents=5, hot_bucket_leaders=2)
    assert found.pairs.tolist() == [[0, 1], [0, 3], [1, 2], [1, 3], [1, 4], [1, 5], [2, 3], [3, 4], [3, 5]]
    assert (found.num_hot_buckets, found.num_skipped_comparisons) == (1, 15 - 9)


def test_bucket_of_as_many_documents_as_allowed_is_not_hot() -> None:
    table = table_of(np.ones((6, 1), dtype=np.uint64))
    found = pairs_in_buckets(table, ranks(6, 0), max_bucket_documents=6, hot_bucket_leaders=2)
    assert (len(found.pairs), found.num_hot_buckets, found.num_skipped_comparisons) == (15, 0, 0)


def test_pair_left_out_of_a_hot_bucket_is_named_by_another_band() -> None:
    hashes = np.array([[1, 2], [1, 3], [1, 4], [1, 4]], dtype=np.uint64)
    before = hashes.copy()
    found = pairs_in_buckets(table_of(hashes), np.arange(4), max_bucket_documents=3, hot_bucket_leaders=1)
    assert found.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [2, 3]]
    np.testing.assert_array_equal(hashes, before)


@given(matrices, st.integers(1, 6), st.integers(1, 3), st.integers(0, 1000))
@settings(deadline=None)
def test_order_of_documents_changes_no_pair_even_in_hot_buckets(
    rows: list[list[int]], bound: int, leaders: int, seed: int
) -> None:
    hashes = np.array(rows, dtype=np.uint64)
    rank, order = ranks(len(rows), seed), ranks(len(rows), seed + 1)
    found = pairs_in_buckets(table_of(hashes), rank, bound, leaders)
    shuffled = pairs_in_buckets(table_of(hashes[order]), rank[order], bound, leaders)
    back = np.sort(order[shuffled.pairs], axis=1)
    assert sorted(back.tolist()) == found.pairs.tolist()
    assert shuffled.num_skipped_comparisons == found.num_skipped_comparisons


@pytest.mark.parametrize("num_documents", [0, 1])
def test_corpora_too_small_for_a_pair_have_none(num_documents: int) -> None:
    table = table_of(np.ones((num_documents, 3), dtype=np.uint64))
    found = pairs_in_buckets(table, np.arange(num_documents))
    assert found.pairs.shape == (0, 2)
    assert found.pairs.dtype == np.int64


@given(st.lists(st.integers(-5, 5) | st.integers(0, 2**62)))
def test_sorted_distinct_numbers_are_those_of_a_set(numbers: list[int]) -> None:
    assert sorted_distinct(np.array(numbers, dtype=np.int64)).tolist() == sorted(set(numbers))
