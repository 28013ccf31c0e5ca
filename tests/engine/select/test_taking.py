"""Documents in order and as many as fit: against sorting all of them."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.select.taking import COLUMNS, enter, order_seed, preference_keys, take


def naive(entries: list[tuple[int, ...]], room: int, is_closing: bool) -> list[int]:
    """The places of those left over, ascending."""
    left = []
    for _, _, _, size, place in sorted(entries):
        if size <= room:
            room -= size
        else:
            left.append(place)
            room = -1 if is_closing else room
    return sorted(left)


def left_over(groups: list[list[tuple[int, ...]]], rooms: list[int], is_closing: bool) -> tuple[list[int], Any]:
    entries = np.array([entry for group in groups for entry in group], dtype=np.uint64).reshape(-1, COLUMNS)
    starts = np.cumsum([0, *(len(group) for group in groups)])
    left, taken = np.zeros(len(entries), np.uint8), np.zeros((len(groups), 2), np.int64)
    take(entries, starts, np.array(rooms, dtype=np.int64), is_closing, left, taken)
    return np.flatnonzero(left).tolist(), taken


@given(data=st.data(), is_closing=st.booleans())
@settings(max_examples=40, deadline=None)
def test_those_left_over_are_those_that_do_not_fit_in_order(data: st.DataObject, is_closing: bool) -> None:
    groups, rooms, place = [], [], 0
    for _ in range(data.draw(st.integers(1, 3))):
        seed, size = data.draw(st.integers(0, 2**20)), data.draw(st.sampled_from([0, 1, 5, 13, 60, 400]))
        numbers = np.random.default_rng(seed)
        keys, most = int(numbers.integers(1, 9)), int(numbers.integers(1, 9))
        rows = [
            (
                int(numbers.integers(keys)),
                int(numbers.integers(keys)),
                one,
                int(numbers.integers(most + 1)),
                place + one,
            )
            for one in range(size)
        ]
        kind = data.draw(st.sampled_from(["any", "sorted", "backwards"]))
        groups.append(rows if kind == "any" else sorted(rows, reverse=kind == "backwards"))
        rooms.append(data.draw(st.integers(-1, 4 * size + 1)))
        place += size
    left, taken = left_over(groups, rooms, is_closing)
    should = [naive(group, room, is_closing) for group, room in zip(groups, rooms, strict=True)]
    assert left == [one for group in should for one in group]
    sizes = {entry[4]: entry[3] for group in groups for entry in group}
    for group, gone, found in zip(groups, should, taken.tolist(), strict=True):
        stays = [entry[4] for entry in group if entry[4] not in gone]
        assert found == [sum(sizes[one] for one in stays), len(stays)]


def test_documents_of_equal_hash_go_by_doc_id() -> None:
    # The second half of an id can make up for the first, as each step of the hash is reversible.
    seed, most, factor = int(order_seed(1, "r")), (1 << 64) - 1, 0xFF51AFD7ED558CCD

    def step(state: int, value: int) -> int:
        state = (state ^ value) * factor & most
        return state ^ (state >> 32)

    ids = [(9, 5), (2, 5 ^ step(seed, 9) ^ step(seed, 2)), (4, 5 ^ step(seed, 9) ^ step(seed, 4))]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        words = np.array([ids[one] for one in order], dtype=np.uint64)
        entries, none = np.empty((3, COLUMNS), np.uint64), np.empty(0, np.int64)
        codes = np.zeros(3, np.uint32)
        enter(codes, np.zeros(1, np.int64), words, none.astype(np.uint64), none, 0, np.uint64(seed), entries)
        assert len(set(entries[:, 1].tolist())) == 1
        left, taken = np.zeros(3, np.uint8), np.zeros((1, 2), np.int64)
        take(entries, np.array([0, 3]), np.array([1]), False, left, taken)
        assert [order[place] for place in np.flatnonzero(left == 0)] == [1]


@pytest.mark.parametrize(
    ("values", "dtype", "order"),
    [
        ([0.5, None, float("inf"), float("nan"), -0.0, 0.0, -3.0, float("-inf")], pl.Float64, [2, 0, 4, 5, 6, 7, 1, 3]),
        ([3, None, -(2**63), 2**63 - 1, 2**53 + 1, 2**53], pl.Int64, [3, 4, 5, 0, 2, 1]),
        ([0, 2**64 - 1, None, 7], pl.UInt64, [1, 3, 0, 2]),
        ([1, 0, None], pl.UInt8, [0, 1, 2]),
    ],
)
def test_keys_put_the_highest_first_and_what_has_no_value_last(values: list[Any], dtype: Any, order: list[int]) -> None:
    keys = preference_keys(pl.Series(values, dtype=dtype))
    assert np.argsort(keys, kind="stable").tolist() == order


def test_no_value_ranks_like_another_and_zero_like_minus_zero() -> None:
    keys = preference_keys(pl.Series([None, float("nan"), 0.0, -0.0])).tolist()
    assert keys[0] == keys[1]
    assert keys[2] == keys[3]


def test_each_rule_has_an_order_of_its_own() -> None:
    assert len({int(order_seed(seed, reason)) for seed in (1, 2) for reason in ("a", "b")}) == 4
