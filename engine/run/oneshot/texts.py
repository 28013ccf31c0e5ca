"""The texts of the inputs, batch by batch, whatever string type their column has."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from engine.base.errors import InputError, problem
from engine.run.oneshot.inputs import Input, Piece
from engine.text.batches import BATCH_BYTES, TextRun


def text_runs(inputs: Sequence[Input], text_column: str) -> list[TextRun]:
    """Return where the texts are read, row group by row group."""

    def reader(piece: Piece) -> Callable[[], Iterator[pa.Array]]:
        return lambda: (texts for batch in piece.batches([text_column]) for texts in plain_texts(batch.column(0)))

    return [
        TextRun(piece.first, piece.num_rows, reader(piece)) for one in inputs for piece in one.pieces if piece.num_rows
    ]


def plain_texts(column: pa.Array) -> Iterator[pa.Array]:
    """Yield strings as Arrow string or large string, whatever they are encoded as; a dictionary bit by bit."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        yield column
    elif pa.types.is_dictionary(column.type):
        lengths = pl.Series(pl.from_arrow(pc.take(pc.binary_length(column.dictionary), column.indices)))
        ends, start = np.cumsum(lengths.fill_null(0).to_numpy()), 0
        while start < len(column):
            base = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, base + BATCH_BYTES, side="right")), start + 1)
            yield column.slice(start, stop - start).dictionary_decode().cast(pa.large_string())
            start = stop
    else:
        yield column.cast(pa.large_string())


def require_utf8(texts: pa.Array, first: int, place_of: Callable[[int], str]) -> None:
    """Raise InputError for a text that is no UTF-8; place_of: what the document `first` + row is called."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        row = next(row for row in range(len(texts)) if not _is_utf8(texts.slice(row, 1)))
        raise InputError(problem(place_of(first + row), "text that is no UTF-8", "UTF-8")) from error


def _is_utf8(texts: pa.Array) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
