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
from engine.base.errors import InputError, RecipeError, problem
from engine.base.hashing import DIGEST_BYTES
from engine.run.dedup.equal_texts import NO_TEXT, EqualTexts
from engine.run.dedup.inputs import Input, Piece
from engine.run.intake.core_columns import as_text, digest_series
from engine.run.intake.doc_ids import Digests, own_doc_ids, text_doc_ids
from engine.run.intake.identity import row_digests

SOURCE, OLD_SOURCE = "dedup", "dedup --against"
BEST = "best:"
SHOWN_IDS = 3


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


def own_ids(inputs: Sequence[Input], id_column: str) -> Digests:
    """Return the doc_ids made of the documents' own ids, uint8[num_documents, 16]; zeros for old ones without.

    Old documents may have the ids of new ones: an earlier state of the same documents is what they often are.

    Raises InputError where ids of new documents are null or stand twice, naming three.
    """
    found = [np.zeros((0, DIGEST_BYTES), dtype=np.uint8)]
    for one in inputs:
        for piece in one.pieces:
            if one.has(id_column):
                found.append(own_doc_ids(OLD_SOURCE if one.is_old else SOURCE, id_texts(piece, id_column)))
            else:
                found.append(np.zeros((piece.num_rows, DIGEST_BYTES), dtype=np.uint8))
    doc_ids = np.concatenate(found)
    new = [one for one in inputs if not one.is_old]
    for one in new:
        _require_ids(doc_ids[one.first : one.first + one.num_rows], one, id_column)
    _require_distinct(doc_ids[: sum(one.num_rows for one in new)], new, id_column)
    return doc_ids


def _require_ids(doc_ids: Digests, one: Input, id_column: str) -> None:
    lacking = np.flatnonzero(~doc_ids.any(axis=1))
    if len(lacking):
        rows = ", ".join(map(str, lacking[:SHOWN_IDS]))
        more = f" and {len(lacking) - SHOWN_IDS:,} more" if len(lacking) > SHOWN_IDS else ""
        found = f"no id in column '{id_column}' in row {rows}{more} (from 0)"
        raise InputError(problem(one.name, found, "an id for every document", "mend them, or leave --id-column out"))


def id_texts(piece: Piece, id_column: str) -> pl.Series:
    """Return the own ids of a row group as strings."""
    return as_text(piece.read([id_column]).column(0))


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
                    table = pa.Table.from_batches([batch.take(pa.array(rows[begin:end] - row))])
                    found.append(np.ascontiguousarray(row_digests(table)).view(np.uint64))
                row += batch.num_rows
    return np.concatenate(found)


def _require_distinct(doc_ids: NDArray[np.uint8], inputs: Sequence[Input], id_column: str) -> None:
    keys = np.ascontiguousarray(doc_ids).view(np.uint64)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    if not same.any():
        return
    first_places = order[:-1][same]
    _, distinct = np.unique(keys[first_places, 0], return_index=True)
    shown = []
    for document in first_places[np.sort(distinct)][:SHOWN_IDS]:
        piece = next(p for one in inputs for p in one.pieces if p.first <= document < p.first + p.num_rows)
        shown.append(f"'{id_texts(piece, id_column)[int(document - piece.first)]}'")
    more = f" and {len(distinct) - SHOWN_IDS:,} more" if len(distinct) > SHOWN_IDS else ""
    found = f"ids stand twice: {', '.join(shown)}{more}"
    fix = "mend them, or leave --id-column out: documents are then named by file and row"
    raise InputError(problem(f"--id-column {id_column}", found, "every id once", fix))
