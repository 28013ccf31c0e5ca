"""The files that `dedup` writes: survivors with all their columns, removals, and verified pairs."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.annotate.near_dup.verify import rounded_down
from engine.formats.parquet import write_parquet
from engine.run.dedup.decisions import KEPT, Decisions
from engine.run.dedup.inputs import Input, Piece
from engine.run.dedup.ranking import id_texts
from engine.run.dedup.search import Found

EXACT, NEAR = "exact_dup", "near_dup"
PART_BYTES = 256 << 20
"""Text of one survivors file; a larger input becomes several, so that several threads can write."""
ROW_GROUP_BYTES = 32 << 20
BATCH_BYTES = 4 << 20


def write_removed(path: Path, inputs: Sequence[Input], decisions: Decisions, id_column: str | None) -> dict[str, int]:
    """Write removed.parquet (id, kept_id, reason, similarity), sorted by id; return the count of each reason."""
    removed = np.flatnonzero(decisions.kept_by != KEPT)
    kept = decisions.kept_by[removed]
    names = _Names(inputs, id_column, np.concatenate([removed, kept]))
    similarity = rounded_down(decisions.shared[removed], decisions.union[removed])
    is_equal = pl.Series(decisions.is_equal[removed])
    frame = names.of(removed, "id").hstack(names.of(kept, "kept_id").select("kept_id"))
    frame = frame.with_columns(
        reason=pl.select(pl.when(is_equal).then(pl.lit(EXACT)).otherwise(pl.lit(NEAR))).to_series(),
        similarity=pl.Series(similarity, dtype=pl.Float64),
    ).sort("file", "row", "id")
    write_parquet(path, frame.select("id", "kept_id", "reason", "similarity"))
    counts = dict(frame["reason"].value_counts().iter_rows())
    return {reason: counts.get(reason, 0) for reason in (EXACT, NEAR)}


def write_pairs(path: Path, inputs: Sequence[Input], found: Found, threshold: float, id_column: str | None) -> int:
    """Write pairs.parquet (id, other_id, similarity), id before other_id, sorted; return how many there are."""
    verified = found.pairs
    similar = verified.at_least(threshold)
    # Old documents are not compared with each other.
    similar &= ~found.pinned[found.best[verified.pairs]].all(axis=1)
    pairs = found.best[verified.pairs[similar]]
    similarity = rounded_down(verified.intersections[similar], verified.unions[similar])
    names = _Names(inputs, id_column, pairs.ravel())
    order = names.order()
    pairs = np.where((order[pairs[:, 0]] < order[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    by_name = np.lexsort((order[pairs[:, 1]], order[pairs[:, 0]]))
    pairs, similarity = pairs[by_name], similarity[by_name]
    one, other = names.of(pairs[:, 0], "id"), names.of(pairs[:, 1], "other_id")
    frame = one.select("id").hstack(other.select("other_id"))
    write_parquet(path, frame.with_columns(similarity=pl.Series(similarity, dtype=pl.Float64)))
    return len(pairs)


def write_survivors(folder: Path, inputs: Sequence[Input], kept_by: NDArray[np.int64], jobs: int) -> None:
    """Write the rows that stay, all columns, in the order of each input: files `<input>-<part>-<name>.parquet`."""
    folder.mkdir()
    parts: list[tuple[Path, pa.Schema, list[Piece]]] = []
    for number, one in enumerate(one for one in inputs if not one.is_old):
        stem = Path(one.name).name.split(".")[0]
        for part, pieces in enumerate(_parts(one.pieces)):
            parts.append((folder / f"{number:05}-{part:03}-{stem}.parquet", one.schema, pieces))
    executor = ThreadPoolExecutor(jobs)
    try:
        for written in [executor.submit(_write_part, *part, kept_by) for part in parts]:
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


def _write_part(path: Path, schema: pa.Schema, pieces: Sequence[Piece], kept_by: NDArray[np.int64]) -> None:
    # Arrow cannot filter string views, and a text column may come as a dictionary that it is not.
    views = [number for number, field in enumerate(schema) if pa.types.is_string_view(field.type)]
    for number in views:
        schema = schema.set(number, schema.field(number).with_type(pa.large_string()))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        for piece in pieces:
            document = piece.first
            for batch in piece.batches(None, BATCH_BYTES):
                stays = kept_by[document : document + batch.num_rows] == KEPT
                document += batch.num_rows
                kept = batch.cast(schema) if views else batch
                waiting.append((kept if stays.all() else kept.filter(pa.array(stays))).cast(schema))
                if sum(one.nbytes for one in waiting) >= ROW_GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(waiting, schema))
                    waiting = []
        if any(one.num_rows for one in waiting):
            writer.write_table(pa.Table.from_batches(waiting, schema))


class _Names:
    """What some documents are called in the results: their own ids, or file and row."""

    def __init__(self, inputs: Sequence[Input], id_column: str | None, documents: NDArray[np.int64]) -> None:
        self._wanted = np.flatnonzero(np.bincount(documents)) if len(documents) else documents
        parts = [pl.DataFrame(schema={"file": pl.String, "row": pl.Int64, "name": pl.String})]
        for one in inputs:
            for piece in one.pieces:
                start, end = np.searchsorted(self._wanted, [piece.first, piece.first + piece.num_rows])
                if end > start:
                    parts.append(_named(one, piece, self._wanted[start:end], id_column))
        self._frame = pl.concat(parts)

    def of(self, documents: NDArray[np.int64], column: str) -> pl.DataFrame:
        """Return file and row (what the names are sorted by) and the name itself as `column`."""
        return self._frame[np.searchsorted(self._wanted, documents)].rename({"name": column})

    def order(self) -> NDArray[np.int64]:
        """Return the place of each wanted document in the order of the names: int64, up to the largest document."""
        by_name = self._frame.select(pl.arg_sort_by("file", "row", "name")).to_series().to_numpy()
        order = np.zeros(int(self._wanted.max(initial=-1)) + 1, dtype=np.int64)
        order[self._wanted[by_name]] = np.arange(len(by_name))
        return order


def _named(one: Input, piece: Piece, documents: NDArray[np.int64], id_column: str | None) -> pl.DataFrame:
    rows = pl.Series("row", documents - one.first, dtype=pl.Int64)
    if id_column is not None and one.has(id_column):
        names = id_texts(piece, id_column).gather(documents - piece.first).alias("name")
        places = pl.Series([one.place_of(document) for document in documents[names.is_null().to_numpy()].tolist()])
        names = names.scatter(names.is_null().arg_true(), places) if len(places) else names
        # By their own ids alone, wherever they lie.
        return pl.DataFrame([names]).select(file=pl.lit(""), row=pl.lit(0, dtype=pl.Int64), name="name")
    named = rows.to_frame().select(file=pl.lit(one.name), row="row")
    return named.with_columns(name=pl.format("{}#{}", "file", "row"))
