"""Who stays before whom: ids of the documents, and their order under the policy.

All inputs count as one source, so that neither names nor cuts of files decide anything (`first` excepted).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate._keep_order import with_rank
from engine.base.errors import RecipeError, problem
from engine.base.hashing import DIGEST_BYTES
from engine.formats.core_of_text import digest_series
from engine.formats.doc_ids import Digests, text_doc_ids
from engine.run.dedup.equal_texts import NO_TEXT, EqualTexts
from engine.run.intake.identity import row_digests
from engine.run.oneshot.inputs import Input
from engine.run.oneshot.own_ids import SOURCE

BEST = "best:"


@dataclass(frozen=True)
class Keep:
    """Which of several like documents stays: the longest, the first as given, or that with the best score."""

    policy: str
    score: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Keep":
        """Read `longest`, `first` or `best:COLUMN`; raises RecipeError for anything else."""
        if text in ("longest", "first"):
            return cls(text)
        if text.startswith(BEST) and len(text) > len(BEST):
            return cls("best", text.removeprefix(BEST))
        raise RecipeError(problem("--keep", f"'{text}'", "longest, first or best:COLUMN"))


def with_made_ids(inputs: Sequence[Input], doc_ids: Digests | None, equal: EqualTexts, text_column: str) -> Digests:
    """Return the doc_ids of all documents; those without own ids get one of text and rank among rows of equal text.

    uint8[num_documents, 16]
    """
    if doc_ids is not None and doc_ids.any(axis=1).all():
        return doc_ids
    text_keys = equal.digests.view(np.uint8).reshape(-1, DIGEST_BYTES)
    made = text_doc_ids(SOURCE, text_keys, _ranks_among_equals(inputs, equal, text_column))
    return made if doc_ids is None else np.where(doc_ids.any(axis=1, keepdims=True), doc_ids, made)


def ranked(
    inputs: Sequence[Input], keep: Keep, doc_ids: Digests, num_chars: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return (rank, pinned): int64[num_documents], 0 for the document that stays before all others, and bool."""
    pinned = np.zeros(len(doc_ids), dtype=np.bool_)
    for one in inputs:
        pinned[one.first : one.first + one.num_rows] = one.is_old
    if keep.policy == "first":
        order = np.lexsort((np.arange(len(doc_ids)), ~pinned))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank, pinned
    columns = {
        "pinned": pl.Series(pinned),
        "priority": pl.Series([0], dtype=pl.Int64).new_from_index(0, len(pinned)),
        "num_chars": pl.Series(num_chars),
        "doc_id": digest_series(doc_ids),
    }
    if keep.score is not None:
        columns[keep.score] = _scores(inputs, keep.score)
    return with_rank(pl.DataFrame(columns), keep.score)["rank"].to_numpy().copy(), pinned


def _scores(inputs: Sequence[Input], column: str) -> pl.Series:
    parts = []
    for one in inputs:
        for piece in one.pieces:
            parts.append(None if one.is_old else pl.Series(pl.from_arrow(piece.read([column]).column(0))))
    dtype = next((part.dtype for part in parts if part is not None), pl.Null())
    sizes = [piece.num_rows for one in inputs for piece in one.pieces]
    filled = [
        pl.Series([None], dtype=dtype).new_from_index(0, size) if part is None else part
        for part, size in zip(parts, sizes, strict=True)
    ]
    return pl.concat(filled) if filled else pl.Series([], dtype=pl.Int64)


def _ranks_among_equals(inputs: Sequence[Input], equal: EqualTexts, text_column: str) -> NDArray[np.int64]:
    """Rank of each document among those with the same text, by the digest of all its other columns."""
    ranks = np.zeros(len(equal.first_of), dtype=np.int64)
    repeated = _repeated(equal)
    if len(repeated) == 0:
        return ranks
    digests = _other_columns(inputs, repeated, text_column)
    order = np.lexsort((digests[:, 1], digests[:, 0], equal.first_of[repeated]))
    groups = equal.first_of[repeated][order]
    begins = np.concatenate([[True], groups[1:] != groups[:-1]])
    places = np.arange(len(order))
    ranks[repeated[order]] = places - np.maximum.accumulate(np.where(begins, places, 0))
    return ranks


def _repeated(equal: EqualTexts) -> NDArray[np.int64]:
    """Documents that share their text with another."""
    first_of = equal.first_of
    with_text = np.flatnonzero(first_of != NO_TEXT)
    shared = np.zeros(len(first_of), dtype=np.bool_)
    shared[first_of[with_text[first_of[with_text] != with_text]]] = True
    return with_text[shared[first_of[with_text]]]


def _other_columns(inputs: Sequence[Input], documents: NDArray[np.int64], text_column: str) -> NDArray[np.uint64]:
    """Digests of what the rows say beside their text: uint64[len(documents), 2]; `documents` ascending."""
    found = [np.zeros((0, 2), dtype=np.uint64)]
    for one in inputs:
        names = [name for name in one.schema.names if name != text_column]
        for piece in one.pieces:
            start, end = np.searchsorted(documents, [piece.first, piece.first + piece.num_rows])
            rows = documents[start:end] - piece.first
            if len(rows) == 0:
                continue
            if not names:
                found.append(np.zeros((len(rows), 2), dtype=np.uint64))
                continue
            row = 0
            for batch in piece.batches(names):
                begin, end = np.searchsorted(rows, [row, row + batch.num_rows])
                if end > begin:
                    table = pa.Table.from_batches([batch.take(pl.Series(rows[begin:end] - row).to_arrow())])
                    found.append(np.ascontiguousarray(row_digests(table)).view(np.uint64))
                row += batch.num_rows
    return np.concatenate(found)
