"""Verified pairs: those of comparing everything, for any threads, slices, runs and memory."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.annotate.near_dup import pairs
from engine.annotate.near_dup.pairs import Verification, VerifiedPairs, verified_pairs
from engine.text.batches import TextRun

from .corpora import edited_copies, runs_of, shingles_of, table_of, table_of_texts

NGRAM_WORDS = 3
BANDS = 64
"""Of one row each: a pair of a similarity of one half is missed with a chance of 2**-64."""

Similar = dict[tuple[int, int], tuple[int, int]]


def by_brute_force(texts: list[str], floor: str) -> Similar:
    """Compare everything: (i, j) -> (intersection, union)."""
    sets = [shingles_of(text.split(), NGRAM_WORDS) for text in texts]
    similar = {}
    for one, other in combinations(range(len(texts)), 2):
        shared, union = len(sets[one] & sets[other]), len(sets[one] | sets[other])
        if union and Fraction(shared, union) >= Fraction(floor):
            similar[one, other] = (shared, union)
    return similar


def as_dict(found: VerifiedPairs) -> Similar:
    keys = map(tuple, found.pairs.tolist())
    values = zip(found.intersections.tolist(), found.unions.tolist(), strict=True)
    return dict(zip(keys, values, strict=True))


def verification(folder: Path, floor: float = 0.5, jobs: int = 1, max_bucket_documents: int = 10_000) -> Verification:
    return Verification(floor, NGRAM_WORDS, max_bucket_documents, folder, jobs)


def verified(texts: list[str], how: Verification, num_runs: int = 4, in_file: bool = False) -> VerifiedPairs:
    table = table_of_texts(texts, NGRAM_WORDS, BANDS, 1, how.folder if in_file else None)
    return verified_pairs(table, runs_of(texts, num_runs), np.arange(len(texts)), how)


@pytest.mark.parametrize("floor", ["0.5", "0.8", "1.0"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_pairs_are_those_of_comparing_everything(tmp_path: Path, floor: str, jobs: int) -> None:
    texts = edited_copies(seed=6)
    found = verified(texts, verification(tmp_path, float(floor), jobs))
    assert as_dict(found) == by_brute_force(texts, floor)
    assert found.pairs.tolist() == sorted(found.pairs.tolist())
    assert 0 < len(found.pairs) <= found.num_candidates


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("slice_shingles", [1, 200, 1 << 21])
@pytest.mark.parametrize(("num_runs", "chunk_pairs"), [(1, 1 << 20), (5, 1), (75, 10)])
@pytest.mark.parametrize("in_file", [False, True], ids=["memory", "file"])
def test_threads_slices_chunks_runs_and_memory_change_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    jobs: int,
    slice_shingles: int,
    num_runs: int,
    chunk_pairs: int,
    in_file: bool,
) -> None:
    texts = edited_copies(seed=7)
    expected = verified(texts, verification(tmp_path))
    monkeypatch.setattr(pairs, "SLICE_SHINGLES", slice_shingles)
    monkeypatch.setattr(pairs, "CHUNK_PAIRS", chunk_pairs)
    found = verified(texts, verification(tmp_path, jobs=jobs), num_runs, in_file)
    assert list(as_dict(found).items()) == list(as_dict(expected).items())
    assert found.num_candidates == expected.num_candidates
    assert list(tmp_path.iterdir()) == []


def test_pair_of_exactly_the_floor_counts_and_below_it_does_not(tmp_path: Path) -> None:
    # 10 words have 8 shingles, 12 have 10.
    texts = ["a b c d e f g h i j", "a b c d e f g h i j k l", "a b c d e f g h i j k l m"]
    assert as_dict(verified(texts, verification(tmp_path, 0.8))) == {(0, 1): (8, 10), (1, 2): (10, 11)}
    assert as_dict(verified(texts, verification(tmp_path, 0.8001))) == {(1, 2): (10, 11)}
    assert as_dict(verified(texts, verification(tmp_path, 0.7272))) == {
        (0, 1): (8, 10),
        (0, 2): (8, 11),
        (1, 2): (10, 11),
    }


def test_candidates_without_anything_in_common_are_dropped(tmp_path: Path) -> None:
    texts = ["a b c d", "e f g h", "a b c d e"]
    table = table_of(np.ones((3, 1), dtype=np.uint64))
    found = verified_pairs(table, runs_of(texts, 2), np.arange(3), verification(tmp_path))
    assert as_dict(found) == {(0, 2): (2, 3)}
    assert found.num_candidates == 3


@pytest.mark.parametrize("jobs", [1, 3])
def test_members_of_a_hot_bucket_are_compared_with_the_16_of_best_rank(tmp_path: Path, jobs: int) -> None:
    texts = [f"a b c d e f g h i {word}" for word in "klmnopqrstuvwxyzABCDEFGHIJ"]
    table = table_of(np.ones((26, 3), dtype=np.uint64))
    how = verification(tmp_path, jobs=jobs, max_bucket_documents=20)
    found = verified_pairs(table, runs_of(texts, 3), np.arange(26)[::-1].copy(), how)
    assert set(as_dict(found)) == {pair for pair in combinations(range(26), 2) if pair[1] >= 10}
    assert set(as_dict(found).values()) == {(7, 9)}
    assert (found.num_hot_buckets, found.num_skipped_comparisons) == (3, 3 * 45)


@pytest.mark.parametrize("jobs", [1, 3])
def test_runs_without_candidates_are_not_read_again(tmp_path: Path, jobs: int) -> None:
    texts = ["a b c d", "a b c d", "x y z w", "u v t s"]

    def read() -> Iterator[pa.Array]:
        raise AssertionError("read")
        yield

    runs = [runs_of(texts[:2], 1)[0], TextRun(2, 2, read)]
    table = table_of_texts(texts, NGRAM_WORDS, BANDS, 1, None)
    assert as_dict(verified_pairs(table, runs, np.arange(4), verification(tmp_path, jobs=jobs))) == {(0, 1): (2, 2)}


@pytest.mark.parametrize("jobs", [1, 3])
def test_error_of_a_reader_is_raised(tmp_path: Path, jobs: int) -> None:
    texts = edited_copies(seed=8)

    def read() -> Iterator[pa.Array]:
        yield pa.array(texts[:5])
        raise OSError("the disk is gone")

    table = table_of_texts(texts, NGRAM_WORDS, BANDS, 1, None)
    with pytest.raises(OSError, match="the disk is gone"):
        verified_pairs(table, [TextRun(0, len(texts), read)], np.arange(len(texts)), verification(tmp_path, jobs=jobs))


@pytest.mark.parametrize("texts", [[], ["a b c"], ["a b c", "d e f"], ["", "...", ""]])
@pytest.mark.parametrize("jobs", [1, 3])
def test_corpora_without_candidates_have_no_pairs(tmp_path: Path, texts: list[str], jobs: int) -> None:
    found = verified(texts, verification(tmp_path, jobs=jobs))
    assert (found.pairs.shape, found.num_candidates) == ((0, 2), 0)
    assert len(found.intersections) == len(found.unions) == 0
    assert found.at_least(0.8).tolist() == []


def test_seconds_are_told_by_step(tmp_path: Path) -> None:
    seconds = verified(edited_copies(seed=9), verification(tmp_path)).seconds
    assert list(seconds) == ["candidates", "shingles", "verify"]
    assert all(spent >= 0 for spent in seconds.values())


def test_pairs_at_a_higher_threshold_are_chosen_from_those_found(tmp_path: Path) -> None:
    texts = edited_copies(seed=10)
    found = verified(texts, verification(tmp_path, 0.5))
    chosen = found.at_least(0.9)
    above = dict(pair for pair, is_above in zip(as_dict(found).items(), chosen.tolist(), strict=True) if is_above)
    assert above == by_brute_force(texts, "0.9")
    assert 0 < len(above) < len(found.pairs)
