"""Equal texts: the hash table of digests agrees with a dict, for any batches and threads."""

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.run.dedup.equal_texts import NO_TEXT, EqualTexts

Digest = tuple[int, int]
# Few values, many with the same low bits: they start at the same slot, some of them the last one.
halves = st.sampled_from([0, 1, 15, 16, 31, 2**32 - 1, 2**63, 2**63 + 15, 2**64 - 1])
digests = st.tuples(halves, halves)


def as_array(values: Sequence[Digest]) -> NDArray[np.uint64]:
    return np.array(values, dtype=np.uint64).reshape(-1, 2)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Digest], list[tuple[int, int]]]:
    """Digests, and the (begin, end) of batches in the order they come in."""
    values = draw(st.lists(digests, max_size=40))
    cuts = draw(st.sets(st.integers(0, len(values)), max_size=6))
    bounds = sorted({0, len(values), *cuts})
    return values, draw(st.permutations(list(pairwise(bounds))))


@given(batches())
@settings(deadline=None, max_examples=300)
def test_first_with_a_text_is_that_of_a_dict_in_the_order_of_the_batches(
    case: tuple[list[Digest], list[tuple[int, int]]],
) -> None:
    values, parts = case
    equal, seen = EqualTexts(len(values)), dict[Digest, int]()
    for begin, end in parts:
        is_new = equal.add(begin, as_array(values[begin:end]))
        expected = [seen.setdefault(values[number], number) for number in range(begin, end)]
        assert equal.first_of[begin:end].tolist() == expected
        assert is_new.tolist() == [first == number for number, first in enumerate(expected, begin)]
    assert equal.first_of.tolist() == [seen[value] for value in values]
    assert [tuple(digest) for digest in equal.digests.tolist()] == values


def test_documents_that_have_not_come_in_have_no_text() -> None:
    equal = EqualTexts(5)
    assert equal.first_of.tolist() == [NO_TEXT] * 5
    assert equal.add(3, as_array([(7, 7)])).tolist() == [True]
    assert equal.add(1, as_array([(7, 7), (7, 8)])).tolist() == [False, True]
    assert equal.first_of.tolist() == [NO_TEXT, 3, 2, 3, NO_TEXT]


def test_digests_that_differ_in_one_half_are_different_texts() -> None:
    equal = EqualTexts(5)
    equal.add(0, as_array([(1, 2), (1, 3), (4, 2), (2, 1), (1, 2)]))
    assert equal.first_of.tolist() == [0, 1, 2, 3, 0]


@pytest.mark.parametrize("num_documents", [1, 8, 9, 16, 17, 1000])
def test_table_has_room_where_all_texts_differ_and_start_at_the_same_slot(num_documents: int) -> None:
    equal = EqualTexts(num_documents)
    values = [(number << 20 | 0xFFFFF, 5) for number in range(num_documents)]
    assert equal.add(0, as_array(values)).all()
    assert equal.first_of.tolist() == list(range(num_documents))
    assert not equal.add(0, as_array(values[:1]))[1:].any()


def test_no_documents_have_no_texts() -> None:
    equal = EqualTexts(0)
    assert equal.add(0, as_array([])).tolist() == []
    assert equal.first_of.tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_of_several_threads_one_comes_first_with_each_text_and_all_agree(seed: int) -> None:
    draw = random.Random(seed)
    values = [(draw.randrange(60) << 40, draw.randrange(20)) for _ in range(6000)]
    equal = EqualTexts(len(values))
    starts = draw.sample(range(0, 6000, 20), 300)
    with ThreadPoolExecutor(4) as executor:
        added = list(executor.map(lambda start: equal.add(start, as_array(values[start : start + 20])), starts))
    is_new = np.zeros(6000, dtype=np.bool_)
    for start, flags in zip(starts, added, strict=True):
        is_new[start : start + 20] = flags
    first_of = equal.first_of.tolist()
    assert all(values[first] == value for first, value in zip(first_of, values, strict=True))
    assert all(first_of[first] == first for first in first_of)
    assert len(set(first_of)) == len(set(values))
    assert np.flatnonzero(is_new).tolist() == sorted(set(first_of))


def test_threads_that_bring_the_same_texts_at_the_same_moment_agree() -> None:
    count, together = 2000, threading.Barrier(2, timeout=20)
    # All start at one slot, so that both threads look for the end of one chain all the time.
    values = np.stack([np.full(count, 7), np.arange(count)], axis=1).astype(np.uint64)
    with ThreadPoolExecutor(2) as executor:
        for _ in range(5):
            equal = EqualTexts(2 * count)

            def add(thread: int, equal: EqualTexts = equal) -> NDArray[np.bool_]:
                together.wait()
                return equal.add(thread * count, values if thread else values[::-1])

            is_new = list(executor.map(add, range(2)))
            assert (is_new[0][::-1] ^ is_new[1]).all()
            first_of = equal.first_of.reshape(2, count)
            assert (first_of[0][::-1] == first_of[1]).all()


def test_first_documents_stay_known_when_the_table_is_released() -> None:
    equal = EqualTexts(3)
    equal.add(0, as_array([(1, 1), (2, 2), (1, 1)]))
    equal.release_table()
    assert equal.first_of.tolist() == [0, 1, 0]
    assert equal.digests.tolist() == [[1, 1], [2, 2], [1, 1]]
