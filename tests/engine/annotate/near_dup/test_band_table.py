"""The table of bands: in a file the same as in memory, filled in any order by several threads."""

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.annotate.near_dup.bands import NO_BUCKET, BandTable

from .corpora import AMPLE

PLACES = [pytest.param(AMPLE, id="memory"), pytest.param(0, id="file")]


def hash_matrix(num_documents: int, num_bands: int) -> NDArray[np.uint64]:
    return np.random.default_rng(2).integers(1, 2**64, (num_documents, num_bands), dtype=np.uint64)


def columns(table: BandTable) -> list[list[int]]:
    return [table.band(band).tolist() for band in range(table.num_bands)]


@given(
    st.integers(1, 4).flatmap(
        lambda bands: st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=bands, max_size=bands), min_size=1)
    ),
    st.lists(st.integers(0, 100)),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_file_and_memory_give_back_every_band_whatever_order_documents_come_in(
    tmp_path: Path, rows: list[list[int]], cuts: list[int], draw: random.Random
) -> None:
    hashes = np.array(rows, dtype=np.uint64)
    bounds = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    parts = list(pairwise(bounds))
    draw.shuffle(parts)
    for max_bytes in (AMPLE, 0):
        table = BandTable(*hashes.shape, tmp_path, max_bytes)
        for begin, end in parts:
            table.put(begin, hashes[begin:end])
        assert columns(table) == hashes.T.tolist()
        assert table.band(0).dtype == np.uint64


@pytest.mark.parametrize("max_bytes", PLACES)
def test_several_threads_put_documents_in_at_once(tmp_path: Path, max_bytes: int) -> None:
    hashes = hash_matrix(5000, 12)
    table = BandTable(5000, 12, tmp_path, max_bytes)
    starts = random.Random(1).sample(range(0, 5000, 50), 100)
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(lambda start: table.put(start, hashes[start : start + 50]), starts))
    assert columns(table) == hashes.T.tolist()


@pytest.mark.parametrize("max_bytes", PLACES)
def test_documents_that_nobody_put_in_have_no_bucket(tmp_path: Path, max_bytes: int) -> None:
    table = BandTable(5, 2, tmp_path, max_bytes)
    assert columns(table) == [[NO_BUCKET] * 5] * 2
    table.put(1, np.array([[7, 8]], dtype=np.uint64))
    assert columns(table) == [[0, 7, 0, 0, 0], [0, 8, 0, 0, 0]]


@pytest.mark.parametrize("max_bytes", PLACES)
def test_documents_put_in_again_replace_their_buckets(tmp_path: Path, max_bytes: int) -> None:
    table = BandTable(2, 1, tmp_path, max_bytes)
    for bucket in (7, 9):
        table.put(1, np.array([[bucket]], dtype=np.uint64))
    assert columns(table) == [[0, 9]]


@pytest.mark.parametrize("max_bytes", PLACES)
def test_no_documents_put_in_change_nothing(tmp_path: Path, max_bytes: int) -> None:
    table = BandTable(2, 3, tmp_path, max_bytes)
    table.put(1, np.empty((0, 3), dtype=np.uint64))
    assert columns(table) == [[0, 0]] * 3


def test_corpus_without_documents_has_empty_bands(tmp_path: Path) -> None:
    assert columns(BandTable(0, 2, tmp_path, 0)) == [[], []]


def test_table_of_exactly_the_bytes_it_may_take_needs_no_file(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    BandTable(10, 3, absent, 10 * 3 * 8)
    with pytest.raises(FileNotFoundError):
        BandTable(10, 3, absent, 10 * 3 * 8 - 1)


def test_file_has_no_name_in_its_folder(tmp_path: Path) -> None:
    table = BandTable(100, 3, tmp_path, 0)
    table.put(0, hash_matrix(100, 3))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_an_error_when_documents_are_put_in(tmp_path: Path) -> None:
    table = BandTable(4, 1, tmp_path, 0)
    assert table._file is not None
    with Path("/dev/full").open("wb", buffering=0) as full:
        table._file = full
        with pytest.raises(OSError, match="No space left"):
            table.put(0, hash_matrix(4, 1))
