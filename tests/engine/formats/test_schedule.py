"""Reading a schedule: from any step on, without the parts before, and shared out to any number of ranks."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import InputError
from engine.formats.parquet import write_parquet
from engine.formats.schedule import SCHEMA, Schedule, ScheduleMeta, rank_rows

META = ScheduleMeta(
    digest="d", mixture="m", token_store="t", row_tokens=8, rows_per_step=3, num_steps=20, num_tokens=0,
    supervised_tokens=0,
)  # fmt: skip


@pytest.fixture
def schedule(tmp_path: Path) -> Schedule:
    """20 steps of 3 rows of 2 spans, in row groups that begin and end inside steps."""
    number = np.arange(120)
    spans = pl.DataFrame(dict.fromkeys(SCHEMA, number)).with_columns(
        step=number // 6, row=number % 6 // 2, start=number % 2 * 4, length=4
    )
    write_parquet(tmp_path / "schedule.parquet", spans.cast(pl.Schema(SCHEMA)), row_group_rows=7)
    return Schedule(tmp_path, META)


def test_what_follows_any_step_is_the_tail_of_the_whole(schedule: Schedule) -> None:
    whole = schedule.spans()
    for step in range(21):
        assert schedule.spans(from_step=step).equals(whole.filter(pl.col("step") >= step))
    assert schedule.spans(from_step=21).is_empty()


def test_parts_of_earlier_steps_are_not_read(schedule: Schedule) -> None:
    whole = schedule.spans()
    path = schedule.folder / "schedule.parquet"
    group = pq.ParquetFile(path).metadata.row_group(1)
    data = bytearray(path.read_bytes())
    end = group.column(0).dictionary_page_offset or group.column(0).data_page_offset
    data[4:end] = bytes(end - 4)  # the first row group: spans 0 to 6
    path.write_bytes(data)
    with pytest.raises(InputError):
        schedule.spans()
    assert schedule.spans(from_step=2).equals(whole.filter(pl.col("step") >= 2))


@given(st.integers(1, 300), st.integers(1, 40))
def test_ranks_share_a_step_each_row_once_and_evenly(num_rows: int, world_size: int) -> None:
    shares = [rank_rows(num_rows, world_size, rank) for rank in range(world_size)]
    assert [row for share in shares for row in share] == list(range(num_rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_rank_takes_a_run_of_rows() -> None:
    assert [list(rank_rows(5, 3, rank)) for rank in range(3)] == [[0], [1, 2], [3, 4]]
    assert [list(rank_rows(1, 2, rank)) for rank in range(2)] == [[], [0]]
