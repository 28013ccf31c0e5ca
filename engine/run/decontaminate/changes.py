"""What becomes of the rows: without the flagged ones, without what was found in them, or with a word about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.base.errors import InputError, problem
from engine.run.decontaminate.hits import best_hits
from engine.run.oneshot.inputs import Input
from engine.run.oneshot.survivors import only, write_survivors
from engine.text.spans import without_spans

DROP, CUT, TAG = "drop", "cut", "tag"
ACTIONS = (DROP, CUT, TAG)
TAGS = {
    "contamination__benchmark": pa.large_string(),
    "contamination__item": pa.large_string(),
    "contamination__kind": pa.large_string(),
    "contamination__score": pa.float64(),
}
"""Columns that `tag` adds: the best hit, null where there is none."""


@dataclass(frozen=True)
class Outcome:
    """Documents that stay, that went, and that were changed."""

    num_kept: int
    num_gone: int
    num_cut: int


def write_changed(
    folder: Path, files: Sequence[Input], text_column: str, hits: pl.DataFrame, action: str, threads: int
) -> Outcome:
    """Write the survivors of an action (survivors.write_survivors); hits: of search.hits_of."""
    num_documents = sum(one.num_rows for one in files)
    flagged = hits["document"].unique().sort().to_numpy()
    if action == TAG:
        tags = _Tags(hits)
        write_survivors(folder, files, tags, threads, [pa.field(name, kind) for name, kind in TAGS.items()])
        return Outcome(num_documents, 0, 0)
    if action == CUT:
        cuts = _Cuts(hits, text_column)
        write_survivors(folder, files, cuts, threads)
        return Outcome(num_documents - cuts.num_gone, cuts.num_gone, len(flagged) - cuts.num_gone)
    stays = np.ones(num_documents, dtype=np.bool_)
    stays[flagged] = False
    write_survivors(folder, files, only(stays), threads)
    return Outcome(num_documents - len(flagged), len(flagged), 0)


def require_no_tags(files: Sequence[Input]) -> None:
    """Raise InputError where a file has a column of TAGS already."""
    for one in files:
        for name in TAGS:
            if one.has(name):
                found = f"column '{name}' is there already"
                raise InputError(problem(one.name, found, "no column of that name", "--action drop, or rename it"))


class _Tags:
    """Adds the best hit of each document."""

    def __init__(self, hits: pl.DataFrame) -> None:
        best = best_hits(hits)
        self._documents = best["document"].to_numpy()
        self._columns = [
            best[name.removeprefix("contamination__")].to_arrow().cast(kind) for name, kind in TAGS.items()
        ]

    def __call__(self, first: int, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows with TAGS behind their columns."""
        documents = first + np.arange(rows.num_rows)
        places = np.searchsorted(self._documents, documents)
        is_clean = np.ones(rows.num_rows, dtype=np.bool_)
        within = places < len(self._documents)
        is_clean[within] = self._documents[places[within]] != documents[within]
        chosen = pa.array(places, mask=is_clean)
        added = [column.take(chosen) for column in self._columns]
        return pa.RecordBatch.from_arrays([*rows.columns, *added], [*rows.schema.names, *TAGS])


class _Cuts:
    """Cuts out of each text what was found in it; a document with nothing left goes."""

    def __init__(self, hits: pl.DataFrame, text_column: str) -> None:
        self.num_gone = 0
        self._text_column = text_column
        by_document = hits.group_by("document").agg(pl.col("spans").list.explode()).sort("document")
        self._documents = by_document["document"].to_numpy()
        self._spans = by_document["spans"]
        self._lock = Lock()

    def __call__(self, first: int, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that are left, their texts cut."""
        begin, end = np.searchsorted(self._documents, [first, first + rows.num_rows])
        if begin == end:
            return rows
        flagged = self._documents[begin:end] - first
        number = rows.schema.get_field_index(self._text_column)
        texts = [
            without_spans(rows.column(number)[row].as_py(), [(span["start"], span["end"]) for span in spans])
            for row, spans in zip(flagged.tolist(), self._spans[begin:end].to_list(), strict=True)
        ]
        columns = [*rows.columns]
        columns[number] = _replaced(columns[number], flagged, texts)
        stays = np.ones(rows.num_rows, dtype=np.bool_)
        stays[flagged] = [bool(text) for text in texts]
        with self._lock:
            self.num_gone += int((~stays).sum())
        changed = pa.RecordBatch.from_arrays(columns, rows.schema.names)
        return changed if stays.all() else changed.filter(pa.array(stays))


def _replaced(column: pa.Array, rows: NDArray[np.int64], texts: list[str]) -> pa.Array:
    """Return a column of strings with other texts in some rows; a dictionary grows by them."""
    mask = np.zeros(len(column), dtype=np.bool_)
    mask[rows] = True
    if not pa.types.is_dictionary(column.type):
        return pc.replace_with_mask(column, pa.array(mask), pa.array(texts, column.type))
    new = pa.array(len(column.dictionary) + np.arange(len(rows)), column.indices.type)
    indices = pc.replace_with_mask(column.indices, pa.array(mask), new)
    values = pa.concat_arrays([column.dictionary, pa.array(texts, column.dictionary.type)])
    return pa.DictionaryArray.from_arrays(indices, values)
