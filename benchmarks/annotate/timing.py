"""The rate of one stage over shards in memory, on some threads."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import pyarrow as pa

from benchmarks.annotate.texts import Sample
from benchmarks.harness import Row
from engine.text.words import Words, split_words

REPEATS = 5


class View:
    """What a stage reads of a shard (engine.formats.annotation.ShardView), without files."""

    def __init__(self, text: pa.ChunkedArray) -> None:
        """Keep the text."""
        self.text = text

    @cached_property
    def words(self) -> Words:
        """The words of the text."""
        return split_words(self.text)


def stage_rate(name: str, sample: Sample, work: Callable[[Any], object], threads: int, includes: str) -> Row:
    """Return the row of `work(view)` over all shards: MB of text a second, and that by the time of all cores.

    The figure is the median of five runs after a warm-up; the detail is of the least time that cores spent in a run.
    """
    shards, size = sample.shards(), sample.num_bytes / 1e6
    work(View(shards[0]))
    rates, of_cores = [], []
    for _ in range(REPEATS):
        started, before = time.perf_counter(), time.process_time()
        _run(work, shards, threads)
        of_cores.append(time.process_time() - before)
        rates.append(size / (time.perf_counter() - started))
    rates.sort()
    said = f"{sample.name}, {len(sample.texts):,} documents, {size:,.0f} MB"
    more: dict[str, float | int | str] = {"MB per second of a core": round(size / min(of_cores), 1)}
    return Row(name, rates[REPEATS // 2], "MB/s", includes, said, rates[0], rates[-1], more)


def _run(work: Callable[[Any], object], shards: Sequence[pa.ChunkedArray], threads: int) -> None:
    with ThreadPoolExecutor(threads) as executor:
        for done in [executor.submit(work, View(shard)) for shard in shards]:
            done.result()
