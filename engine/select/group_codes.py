"""Groups as numbers: documents with equal values of some columns get the same code, whatever shard they are in.

Values become categories of one table for all shards, filled by several threads at once. Which code a group gets hangs
on who came first, so codes order nothing; names do.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
ABSENT = np.iinfo(np.uint32).max
"""Code of a document that is in no group."""
LOOKUP_VALUES = 1 << 22
"""Up to so many possible pairs of values are numbered by a table instead of by sorting."""


class GroupCodes:
    """The codes of the groups of one rule."""

    def __init__(self, by: Sequence[str]) -> None:
        """`by`: the columns, of text, whole numbers or truth."""
        self.by = tuple(by)
        self._values = {name: pl.Categorical(pl.Categories.random()) for name in by}
        self._groups = pl.Categorical(pl.Categories.random()) if len(by) > 1 else self._values[by[0]]
        # Polars forgets the codes of categories that no column has any more.
        self._alive = [pl.Series([], dtype=kind) for kind in (*self._values.values(), self._groups)]

    def codes(self, values: pl.DataFrame) -> Codes:
        """Return the code of each row's group: uint32[rows]; `values`: the columns `by`, without nulls."""
        found = [self._codes_of(values[name].cast(pl.String), self._values[name]) for name in self.by]
        if len(found) == 1 or not values.height:
            return found[0]
        places, known = _dense(found[0].astype(np.int64))
        parts = [known]
        for more in found[1:]:
            width = int(more.max()) + 1
            places, known = _dense(places * width + more)
            parts = [*(part[known // width] for part in parts), known % width]
        texts = pl.DataFrame({str(at): part for at, part in enumerate(parts)}).select(
            pl.concat_str(pl.all(), separator=" ")
        )
        return self._codes_of(texts.to_series(), self._groups)[places]

    def code(self, group: Sequence[str | bool | int]) -> int:
        """Return the code of one group, given by its values in the order of `by`."""
        return int(self.codes(pl.DataFrame({name: [value] for name, value in zip(self.by, group, strict=True)}))[0])

    def names(self, codes: Codes) -> list[str]:
        """Return the names of groups: `language__top = en, domain__top = law`."""
        texts = self._texts_of(codes, self._groups)
        if len(self.by) == 1:
            return [f"{self.by[0]} = {value}" for value in texts]
        parts = np.array([text.split(" ") for text in texts], dtype=np.uint32).reshape(len(texts), len(self.by))
        columns = [self._texts_of(parts[:, at], self._values[name]) for at, name in enumerate(self.by)]
        return [
            ", ".join(f"{name} = {value}" for name, value in zip(self.by, row, strict=True))
            for row in zip(*columns, strict=True)
        ]

    @staticmethod
    def _codes_of(texts: pl.Series, kind: pl.Categorical) -> Codes:
        return texts.cast(kind).to_physical().cast(pl.UInt32).to_numpy(writable=True)

    @staticmethod
    def _texts_of(codes: Codes, kind: pl.Categorical) -> list[str]:
        return pl.Series(codes, dtype=pl.UInt32).cat.to(kind).cast(pl.String).to_list()


def _dense(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each key its place among the different keys, and these in order."""
    bound = int(keys.max()) + 1
    if bound > LOOKUP_VALUES:
        known, places = np.unique(keys, return_inverse=True)
        return places, known
    is_there = np.zeros(bound, dtype=np.bool_)
    is_there[keys] = True
    return (np.cumsum(is_there) - 1)[keys], np.flatnonzero(is_there)
