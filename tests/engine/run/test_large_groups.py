"""A group taken in rounds gives who is taken of it in order, whatever the bounds, the shards and the memory."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.run import large_groups
from engine.run.large_groups import LargeGroup, Members


def naive(entries: np.ndarray, room: int, is_closing: bool) -> list[int]:
    """The places of those that are taken, ascending."""
    taken = []
    for _, _, _, size, place in sorted(entries.tolist()):
        if size <= room:
            room -= size
            taken.append(place)
        elif is_closing:
            break
    return sorted(taken)


def one_after_the_other(function: Callable[[int], None], positions: Sequence[int]) -> None:
    for position in positions:
        function(position)


def taken(entries: np.ndarray, shards: int, most: int, room: int, is_closing: bool) -> tuple[list[int], int, int, int]:
    """Places, amount and documents taken, and the most documents that were in order at once."""
    parts, at_once = np.array_split(entries, shards), []

    class Watched(LargeGroup):
        def _enter(self, *arguments: object) -> np.ndarray:
            found = super()._enter(*arguments)  # type: ignore[arg-type]
            at_once.append(len(found))
            return found

    group = Watched(
        range(shards), len(entries), lambda at, every: Members(parts[at][::every]), one_after_the_other, most
    )
    left = np.ones(len(entries), np.uint8)
    amount, documents = group.take(room, is_closing, left)
    return np.flatnonzero(left == 0).tolist(), amount, documents, max(at_once)


def made(seed: int, count: int, keys: int, sizes: int) -> np.ndarray:
    numbers = np.random.default_rng(seed)
    columns = [numbers.integers(0, keys, count), numbers.integers(0, 1 << 40, count), numbers.permutation(count)]
    return np.stack([*columns, numbers.integers(0, sizes + 1, count), np.arange(count)], axis=1).astype(np.uint64)


@given(
    seed=st.integers(0, 2**20),
    shape=st.tuples(st.sampled_from([1, 7, 90, 600]), st.sampled_from([1, 3, 10**6]), st.sampled_from([1, 9, 300])),
    room=st.floats(0, 1.1),
    cut=st.tuples(st.integers(1, 5), st.sampled_from([1, 4, 50]), st.sampled_from([1, 3, 64]), st.sampled_from([2, 9])),
    is_closing=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_those_taken_in_rounds_are_those_taken_in_order(
    seed: int, shape: tuple[int, int, int], room: float, cut: tuple[int, int, int, int], is_closing: bool
) -> None:
    entries = made(seed, *shape)
    shards, most, bounds, sample = cut
    free = int(room * int(entries[:, 3].sum()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_groups, "BOUNDS", bounds)
        patch.setattr(large_groups, "SAMPLE", sample)
        places, amount, documents, at_once = taken(entries, shards, most, free, is_closing)
    should = naive(entries, free, is_closing)
    assert places == should
    assert (amount, documents) == (int(entries[should, 3].sum()), len(should))
    assert at_once <= most


def test_documents_of_one_key_are_put_in_order_together() -> None:
    entries = made(1, 40, 1, 5)
    entries[:, :3] = 7
    places, amount, _, at_once = taken(entries, 2, 4, 30, False)
    assert at_once == 40
    assert amount <= 30
    assert amount == int(entries[places, 3].sum())
