"""What the files of a shard say at little cost: footers instead of columns, ids as numbers."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.formats.documents import Shard


def doc_id_words(shard: Shard) -> NDArray[np.uint64]:
    """Return the doc_ids as two big-endian numbers, which order them as their bytes do: uint64[rows, 2]."""
    ids = shard.read_core(["doc_id"])["doc_id"]
    words = ids.bin.reinterpret(dtype=pl.Array(pl.UInt64, 2), endianness="big")
    return words.to_numpy(writable=True)


def null_count(path: Path, column: str) -> int | None:
    """Return how many values of a column of a Parquet file are null, as its footer says; None where it does not."""
    found = [statistics.null_count for statistics in _statistics(path, column) if statistics is not None]
    return sum(found) if len(found) == len(_statistics(path, column)) else None


def largest_value(path: Path, column: str) -> int | None:
    """Return the largest value of a column of numbers of a Parquet file, as its footer says; None where it does not."""
    found = [one.max for one in _statistics(path, column) if one is not None and one.has_min_max]
    return max(found) if found and len(found) == len(_statistics(path, column)) else None


def _statistics(path: Path, column: str) -> list[pq.Statistics | None]:
    meta = pq.read_metadata(path)
    position = meta.schema.names.index(column)
    return [meta.row_group(group).column(position).statistics for group in range(meta.num_row_groups)]
