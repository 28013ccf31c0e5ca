"""The rows that stay, with all their columns, as Parquet: survivors/."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.run.oneshot.inputs import Input, Piece

PART_BYTES = 256 << 20
"""Text of one survivors file; a larger input becomes several, so that several threads can write."""
ROW_GROUP_BYTES = 32 << 20
BATCH_BYTES = 4 << 20

Change = Callable[[int, pa.RecordBatch], pa.RecordBatch]
"""What becomes of some rows, whose first is the document of that number."""


def only(stays: NDArray[np.bool_]) -> Change:
    """Return the change that leaves the documents that stay (bool[num_documents]) as they are, and no others."""

    def chosen(first: int, rows: pa.RecordBatch) -> pa.RecordBatch:
        here = stays[first : first + rows.num_rows]
        return rows if here.all() else rows.filter(pl.Series(here).to_arrow())

    return chosen


def write_survivors(
    folder: Path, inputs: Sequence[Input], change: Change, jobs: int, added: Sequence[pa.Field] = ()
) -> None:
    """Write what `change` makes of the rows, in the order of each input: files `<input>-<part>-<name>.parquet`.

    added: columns that `change` puts behind the others; it is called from `jobs` threads at once.
    """
    folder.mkdir()
    parts: list[tuple[Path, pa.Schema, list[Piece]]] = []
    for number, one in enumerate(one for one in inputs if not one.is_old):
        stem = Path(one.name).name.split(".")[0]
        for part, pieces in enumerate(_parts(one.pieces)):
            path = folder / f"{number:05}-{part:03}-{stem}.parquet"
            parts.append((path, _writable(one.schema), pieces))
    executor = ThreadPoolExecutor(jobs)
    try:
        for written in [executor.submit(_write_part, *part, change, added) for part in parts]:
            written.result()
    finally:
        executor.shutdown(cancel_futures=True)


def _parts(pieces: Sequence[Piece]) -> list[list[Piece]]:
    parts: list[list[Piece]] = [[]]
    size = 0
    for piece in pieces:
        if size and size + piece.text_bytes > PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(piece)
        size += piece.text_bytes
    return parts


def _writable(schema: pa.Schema) -> pa.Schema:
    # Arrow cannot filter string views.
    fields = [field.with_type(pa.large_string()) if pa.types.is_string_view(field.type) else field for field in schema]
    return pa.schema(fields, schema.metadata)


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    has_views = any(pa.types.is_string_view(field.type) for field in batch.schema)
    return batch.cast(_writable(batch.schema)) if has_views else batch


def _write_part(
    path: Path, schema: pa.Schema, pieces: Sequence[Piece], change: Change, added: Sequence[pa.Field]
) -> None:
    whole = pa.schema([*schema, *added], schema.metadata)
    with pq.ParquetWriter(path, whole, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        for piece in pieces:
            document = piece.first
            for batch in piece.batches(None, BATCH_BYTES):
                # A text column may come as a dictionary that it is not, hence the cast.
                waiting.append(change(document, _without_views(batch)).cast(whole))
                document += batch.num_rows
                if sum(one.nbytes for one in waiting) >= ROW_GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(waiting, whole))
                    waiting = []
        if any(one.num_rows for one in waiting):
            writer.write_table(pa.Table.from_batches(waiting, whole))
