"""Measured recall: planted copies are found as often as bands promise, in hot buckets only beside leaders."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.annotate.near_dup import Config, expected_recall
from engine.annotate.near_dup.bands import BandTable, band_hashes, chance_of_candidate, choose_bands
from engine.annotate.near_dup.minhash import sign_words
from engine.annotate.near_dup.planted import Originals, Planted, measured_recall, plant
from engine.annotate.near_dup.recall import Recall

from .corpora import as_words, table_of

Hashes = NDArray[np.uint64]
NGRAM_WORDS, FLOOR = 5, 0.8


def documents(count: int, num_words: int = 400, seed: int = 1) -> list[Hashes]:
    return list(np.random.default_rng(seed).integers(1, 2**64, (count, num_words), dtype=np.uint64))


def config_of(recall: float = 0.99, num_permutations: int = 256, max_bucket_documents: int = 1000) -> Config:
    return Config(recall=recall, num_permutations=num_permutations, max_bucket_documents=max_bucket_documents)


def bands_of(texts: list[Hashes], config: Config) -> Hashes:
    """The buckets of documents that are already words."""
    bands, rows = choose_bands(FLOOR, config.recall, config.num_permutations)
    words = as_words([text.tolist() for text in texts])
    return band_hashes(sign_words(words, NGRAM_WORDS, bands * rows, config.num_permutations), bands, rows)


def measured(
    table: BandTable, texts: list[Hashes], config: Config, rank: NDArray[np.int64] | None = None, leaders: int = 16
) -> Planted:
    """Measure with copies of the first documents of the table, of rank 0 first unless told otherwise."""
    rank = np.arange(table.num_documents) if rank is None else rank
    return measured_recall(table, Originals(range(len(texts)), texts), rank, config, leaders)


@pytest.mark.parametrize("in_file", [False, True], ids=["memory", "file"])
def test_share_found_agrees_with_the_expected_recall(tmp_path: Path, in_file: bool) -> None:
    texts, config = documents(1000), config_of()
    found = measured(table_of(bands_of(texts, config), tmp_path if in_file else None), texts, config)
    assert found.recall.pairs == 1000
    assert FLOOR <= found.mean_similarity < FLOOR + 0.02
    interval = found.recall.interval()
    assert interval is not None
    assert interval[0] <= expected_recall(config, FLOOR) <= interval[1]


@pytest.mark.parametrize(("recall", "num_permutations"), [(0.5, 1), (0.5, 256), (0.8, 256), (0.9, 256), (0.9, 2)])
def test_share_found_follows_the_bands(recall: float, num_permutations: int) -> None:
    # A 95 % interval misses one time in twenty; over 25 seeds the shares were those expected.
    texts, config = documents(1000, seed=5), config_of(recall, num_permutations)
    found = measured(table_of(bands_of(texts, config)), texts, config)
    interval = found.recall.interval()
    assert interval is not None
    expected = chance_of_candidate(Decimal(found.mean_similarity), *choose_bands(FLOOR, recall, num_permutations))
    assert interval[0] <= float(expected) <= interval[1]


def test_table_that_lacks_the_originals_finds_no_copy() -> None:
    texts, config = documents(20), config_of()
    others = bands_of(documents(20, seed=9), config)
    assert measured(table_of(others), texts, config).recall == Recall(20, 0)
    assert measured(table_of(np.zeros_like(others)), texts, config).recall == Recall(20, 0)


def test_documents_too_short_to_plant_are_left_out() -> None:
    texts, config = [*documents(3), *documents(5, num_words=23)], config_of()
    assert measured(table_of(bands_of(texts, config)), texts, config).recall.pairs == 3
    only_short = texts[3:]
    assert measured(table_of(bands_of(only_short, config)), only_short, config) == Planted(Recall(0, 0), 0.0)


def test_measuring_changes_neither_table_nor_words_and_gives_the_same_again() -> None:
    texts, config = documents(30), config_of()
    hashes = bands_of(texts, config)
    table, before = table_of(hashes), [text.copy() for text in texts]
    assert measured(table, texts, config) == measured(table, texts, config)
    assert [table.band(band).tolist() for band in range(table.num_bands)] == hashes.T.tolist()
    assert [text.tolist() for text in texts] == [text.tolist() for text in before]


ONE_BAND, TWO_BANDS = config_of(0.5, 1), config_of(0.9, 2)
"""Of one row each."""
HOT = {"max_bucket_documents": 10}


def bucket_of_copy(text: Hashes, config: Config) -> Hashes:
    """The buckets that the planted copy of a document falls into."""
    planted = plant(text, NGRAM_WORDS, FLOOR)
    assert planted is not None
    return bands_of([planted[0]], config)[0]


def table_with(bucket: np.uint64, num_members: int, num_documents: int = 30) -> BandTable:
    """One band; document 0 and others share the bucket, the rest are alone."""
    hashes = np.arange(1, num_documents + 1, dtype=np.uint64)
    hashes[:num_members] = bucket
    return table_of(hashes[:, None])


@pytest.mark.parametrize(("rank_of_original", "found"), [(0, 1), (1, 1), (2, 0), (19, 0)])
def test_copy_in_a_hot_bucket_is_found_only_where_the_original_leads_it(rank_of_original: int, found: int) -> None:
    (text,) = documents(1)
    table = table_with(bucket_of_copy(text, ONE_BAND)[0], num_members=20)
    rank = np.arange(30)
    rank[[0, rank_of_original]] = rank_of_original, 0
    assert measured(table, [text], ONE_BAND.model_copy(update=HOT), rank, leaders=2).recall.found == found


def test_documents_outside_the_bucket_take_no_lead_in_it() -> None:
    (text,) = documents(1)
    table = table_with(bucket_of_copy(text, ONE_BAND)[0], num_members=20)
    # Those outside, 20..29, are all of better rank than the original, those inside all of worse.
    rank = np.concatenate([np.arange(10, 30), np.arange(10)])
    assert measured(table, [text], ONE_BAND.model_copy(update=HOT), rank, leaders=1).recall.found == 1


def test_copy_in_a_bucket_that_is_not_hot_is_found_whatever_the_rank_of_the_original() -> None:
    (text,) = documents(1)
    table = table_with(bucket_of_copy(text, ONE_BAND)[0], num_members=20)
    assert measured(table, [text], ONE_BAND, np.arange(30)[::-1].copy()).recall.found == 1


@pytest.mark.parametrize(("bucket_in_second_band", "found"), [("its own", 1), ("another", 0)])
def test_copy_missed_in_a_hot_bucket_is_found_in_another_band(bucket_in_second_band: str, found: int) -> None:
    (text,) = documents(1)
    buckets = np.repeat(bucket_of_copy(text, TWO_BANDS)[None, :], 20, axis=0)
    buckets[1:, 1] = np.arange(1, 20)
    if bucket_in_second_band == "another":
        buckets[0, 1] = 50
    rank = np.arange(20)[::-1].copy()
    config = TWO_BANDS.model_copy(update=HOT)
    assert measured(table_of(buckets), [text], config, rank, leaders=1).recall.found == found
