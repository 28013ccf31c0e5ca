"""What documents are called in the results: by their own ids, or by file and row."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.run.oneshot.inputs import Input, Piece
from engine.run.oneshot.own_ids import id_texts


class Names:
    """What some documents are called in the results: their own ids, or file and row."""

    def __init__(self, inputs: Sequence[Input], id_column: str | None, documents: NDArray[np.int64]) -> None:
        """Names are known of `documents` alone, in any order and as often as they come."""
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
