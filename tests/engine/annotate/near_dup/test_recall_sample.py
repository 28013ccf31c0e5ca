"""The recall a recipe's stage measures: chosen by contents, bounded, and without any influence on pairs."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.annotate.near_dup import Config, recall_sample
from engine.annotate.near_dup.bands import choose_bands
from engine.annotate.near_dup.pairs import Verification, VerifiedPairs, verified_pairs
from engine.annotate.near_dup.recall_sample import RecallSample
from engine.base.hashing import digest_bytes

from .corpora import edited_copies, runs_of, shingles_of, table_of_texts

CONFIG = Config(threshold=0.5, ngram_words=3)


def digests_of(texts: Sequence[str]) -> Any:
    return np.frombuffer(b"".join(digest_bytes(text.encode()) for text in texts), dtype="<u8").reshape(-1, 2)


def measure(
    folder: Path, texts: list[str], config: Config = CONFIG, num_runs: int = 4, jobs: int = 1
) -> tuple[VerifiedPairs, dict[str, Any]]:
    """Find the pairs of texts, all different, and measure on the way."""
    bands, rows = choose_bands(config.verified_floor, config.recall, config.num_permutations)
    table = table_of_texts(texts, config.ngram_words, bands, rows, None)
    sample = RecallSample(digests_of(texts), np.ones(len(texts), dtype=np.bool_), config)
    how = Verification(config.verified_floor, config.ngram_words, config.max_bucket_documents, folder, jobs)
    rank = np.arange(len(texts))
    found = verified_pairs(table, runs_of(texts, num_runs), rank, how, sample)
    return found, sample.measured(table, rank, found)


def distinct_texts(num_bases: int = 15, seed: int = 3) -> list[str]:
    return list(dict.fromkeys(edited_copies(seed, num_bases)))


def num_similar(texts: Sequence[str], config: Config) -> int:
    sets = [shingles_of(text.split(), config.ngram_words) for text in texts]
    floor = Fraction(str(config.verified_floor))
    return sum(Fraction(len(one & other), len(one | other)) >= floor for one, other in combinations(sets, 2))


def test_small_corpora_are_compared_completely(tmp_path: Path) -> None:
    texts = distinct_texts()
    found, measured = measure(tmp_path, texts)
    sample = measured["brute_force_sample"]
    assert sample["sampled_documents"] == sample["compared_documents"] == len(texts)
    assert sample["pairs"] == num_similar(texts, CONFIG)
    assert sample["found"] == len(found.pairs) > 20


def test_pairs_that_bands_miss_are_counted_as_missed(tmp_path: Path) -> None:
    texts = distinct_texts(num_bases=30)
    config = Config(threshold=0.5, ngram_words=3, recall=0.3)
    found, measured = measure(tmp_path, texts, config)
    sample = measured["brute_force_sample"]
    assert sample["pairs"] == num_similar(texts, config)
    assert sample["found"] == len(found.pairs) < sample["pairs"]
    assert sample["interval_95"][0] < sample["share"] < sample["interval_95"][1] < 1
    assert measured["planted"] > measured["found"]


def test_pairs_are_the_same_with_and_without_measuring(tmp_path: Path) -> None:
    texts = distinct_texts()
    measured, _ = measure(tmp_path, texts)
    bands, rows = choose_bands(0.5, CONFIG.recall, CONFIG.num_permutations)
    how = Verification(0.5, 3, CONFIG.max_bucket_documents, tmp_path, 1)
    plain = verified_pairs(table_of_texts(texts, 3, bands, rows, None), runs_of(texts, 4), np.arange(len(texts)), how)
    for name in ("pairs", "intersections", "unions"):
        assert np.array_equal(getattr(measured, name), getattr(plain, name))
    assert measured.num_candidates == plain.num_candidates


def test_figures_are_the_same_for_any_order_runs_and_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_sample, "SAMPLE_DOCUMENTS", 20)
    monkeypatch.setattr(recall_sample, "LEAST_COMPARED", 25)
    monkeypatch.setattr(recall_sample, "SLICE_SHINGLES", 300)
    texts = distinct_texts()
    _, one = measure(tmp_path, texts)
    _, other = measure(tmp_path, texts[::-1], num_runs=7, jobs=3)
    assert one == other
    assert one["brute_force_sample"]["sampled_documents"] == 20
    assert 10 < one["brute_force_sample"]["compared_documents"] < 45
    assert one["brute_force_sample"]["pairs"] > 0


def test_number_of_compared_documents_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_sample, "LEAST_COMPARED", 100)
    monkeypatch.setattr(recall_sample, "MOST_COMPARED", 1000)
    draw = np.random.default_rng(1)

    def num_wanted(num_documents: int) -> int:
        digests = draw.integers(0, 1 << 64, (num_documents, 2), dtype=np.uint64)
        return int(RecallSample(digests, np.ones(num_documents, dtype=np.bool_), CONFIG).is_wanted.sum())

    assert num_wanted(50) == 50
    # Originals (1,000 planted) and sample (512) come to those compared.
    assert num_wanted(100_000) < 1000 + 1000 + 512 + 150


def test_documents_that_take_no_part_are_never_wanted() -> None:
    digests = np.random.default_rng(1).integers(0, 1 << 64, (60, 2), dtype=np.uint64)
    takes_part = np.arange(60) % 3 == 0
    assert np.array_equal(RecallSample(digests, takes_part, CONFIG).is_wanted, takes_part)
    assert not RecallSample(digests, np.zeros(60, dtype=np.bool_), CONFIG).is_wanted.any()


def test_corpus_that_takes_no_part_measures_nothing(tmp_path: Path) -> None:
    sample = RecallSample(digests_of(["..."]), np.zeros(1, dtype=np.bool_), CONFIG)
    table = table_of_texts(["..."], 3, 2, 2, None)
    found = verified_pairs(table, runs_of(["..."], 1), np.arange(1), Verification(0.5, 3, 1000, tmp_path, 1), sample)
    measured: dict[str, Any] = sample.measured(table, np.arange(1), found)
    assert (measured["planted"], measured["brute_force_sample"]["pairs"]) == (0, 0)
