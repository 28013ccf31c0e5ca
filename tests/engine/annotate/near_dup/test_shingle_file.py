"""Shingle sets on disk: read back in any order as they were written by several threads."""

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.annotate.near_dup.shingle_file import ShingleFile, read_at, write_at
from engine.text.words import ShingleSets

from .corpora import as_sets

Documents = list[set[int]]


def as_lists(sets: ShingleSets) -> list[list[int]]:
    bounds = sets.offsets.tolist()
    return [sets.hashes[begin:end].tolist() for begin, end in pairwise(bounds)]


@st.composite
def documents_in_parts(draw: st.DrawFn) -> tuple[Documents, list[tuple[int, int]], list[int]]:
    """Sets, the parts they are written in (some are never written), and the documents that are read."""
    documents = draw(st.lists(st.sets(st.integers(0, 2**64 - 1), max_size=6), min_size=1, max_size=12))
    cuts = draw(st.sets(st.integers(1, len(documents)), max_size=4))
    bounds = [0, *sorted(cuts)]
    parts = draw(st.permutations(list(pairwise(bounds))))
    return documents, parts, draw(st.lists(st.integers(0, len(documents) - 1), max_size=20))


@given(documents_in_parts(), st.integers(1, 3))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sets_are_read_back_in_any_order_and_are_empty_where_none_was_written(
    tmp_path: Path, case: tuple[Documents, list[tuple[int, int]], list[int]], num_threads: int
) -> None:
    documents, parts, wanted = case
    file = ShingleFile(len(documents), tmp_path)
    with ThreadPoolExecutor(num_threads) as executor:
        list(executor.map(lambda part: file.write(part[0], as_sets(documents[slice(*part)])), parts))
    written = {number for part in parts for number in range(*part)}
    expected = [sorted(document) if number in written else [] for number, document in enumerate(documents)]
    assert file.sizes.tolist() == [len(values) for values in expected]
    found = file.read(np.array(wanted, dtype=np.int64))
    assert as_lists(found) == [expected[document] for document in wanted]
    assert found.hashes.dtype == np.uint64
    file.close()


def test_many_threads_write_and_read_at_once(tmp_path: Path) -> None:
    draw = np.random.default_rng(8)
    documents = [set(draw.integers(0, 2**63, draw.integers(0, 400)).tolist()) for _ in range(600)]
    file = ShingleFile(600, tmp_path)

    def write_and_read(start: int) -> list[list[int]]:
        file.write(start, as_sets(documents[start : start + 10]))
        return as_lists(file.read(np.arange(start, start + 10)[::-1]))

    starts = random.Random(3).sample(range(0, 600, 10), 60)
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(write_and_read, starts))
    assert found == [[sorted(documents[start + 9 - place]) for place in range(10)] for start in starts]
    assert as_lists(file.read(np.arange(600))) == [sorted(document) for document in documents]


def test_file_has_no_name_in_its_folder(tmp_path: Path) -> None:
    file = ShingleFile(3, tmp_path)
    file.write(0, as_sets([{1, 2}, {3}, set()]))
    assert list(tmp_path.iterdir()) == []
    file.close()


def test_nothing_written_takes_no_place_in_the_file(tmp_path: Path) -> None:
    file = ShingleFile(4, tmp_path)
    file.write(2, as_sets([set(), set()]))
    file.write(0, as_sets([{9}, set()]))
    assert file.sizes.tolist() == [1, 0, 0, 0]
    assert as_lists(file.read(np.array([3, 0, 2, 0]))) == [[], [9], [], [9]]


def test_values_are_written_and_read_at_byte_offsets() -> None:
    with TemporaryFile(buffering=0) as file:
        write_at(file.fileno(), np.array([[1, 2], [3, 4]], dtype=np.uint64)[:, 1], 8)
        found = np.empty(3, dtype=np.uint64)
        read_at(file.fileno(), found, 0)
        assert found.tolist() == [0, 2, 4]


def test_file_that_ends_too_early_is_an_error() -> None:
    with TemporaryFile(buffering=0) as file:
        write_at(file.fileno(), np.array([1, 2], dtype=np.uint64), 0)
        with pytest.raises(OSError, match="ends before its content"):
            read_at(file.fileno(), np.empty(3, dtype=np.uint64), 0)
