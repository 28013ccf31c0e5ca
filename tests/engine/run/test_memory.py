"""The memory ceiling is parsed, found, and bounds the workers."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.base.errors import RecipeError
from engine.base.machine_memory import available_memory, free_memory
from engine.formats.documents import Shard
from engine.run.memory import SHARD_FACTOR, memory_ceiling, workers_within

SHARD = Shard("web", "00000", "k", 1, 1_000_000, Path("i"), Path("t"), "text", (0,))


@pytest.mark.parametrize(
    ("asked", "size"), [("4GB", 4 << 30), ("512m", 512 << 20), ("1.5 GiB", 3 << 29), ("1000", 1000)]
)
def test_sizes_are_read_with_their_unit(asked: str, size: int) -> None:
    assert memory_ceiling(asked) == size


def test_default_is_half_of_what_there_is() -> None:
    assert memory_ceiling(None) == available_memory() // 2 > 0


def test_free_memory_is_part_of_what_there_is() -> None:
    assert 0 < free_memory() <= available_memory()


def test_nonsense_is_an_error_that_shows_the_form() -> None:
    with pytest.raises(RecipeError, match="write for example 4GB"):
        memory_ceiling("lots")


def test_workers_are_bounded_by_the_largest_shard() -> None:
    shards = [SHARD, replace(SHARD, num_bytes=10)]
    assert workers_within(3 * SHARD_FACTOR * 1_000_000 + 3, 8, shards) == 3
    assert workers_within(1, 8, shards) == 1
    assert workers_within(1 << 40, 8, shards) == 8
