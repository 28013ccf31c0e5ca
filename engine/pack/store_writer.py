"""The files of tokens of a store: what was appended as it came is gathered into the order of the documents."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.pack.render import positions

_GATHERED_TOKENS = 1 << 23


def gather(table: pl.DataFrame, parts: Path, folder: Path, dtype: np.dtype[Any]) -> None:
    """Write ids.bin and supervised.bin in the order of the table, a few million tokens at a time."""
    total = int(table["num_tokens"].cast(pl.Int64).sum())
    ids = np.memmap(parts / "ids", dtype=dtype, mode="r") if total else np.zeros(0, dtype)
    supervised = np.memmap(parts / "supervised", dtype=np.bool_, mode="r") if total else np.zeros(0, np.bool_)
    part = (table["offset"] // _GATHERED_TOKENS).rename("part")
    with (folder / "ids.bin").open("wb") as ids_file, (folder / "supervised.bin").open("wb") as bits_file:
        bits = _BitWriter(bits_file)
        for group in cut_where(table, part):
            places = positions(group["start"].to_numpy(), group["num_tokens"].to_numpy().astype(np.int64))
            ids[places].tofile(ids_file)
            bits.write(supervised[places])
        bits.finish()


def cut_where(frame: pl.DataFrame, chunk: pl.Series) -> Iterator[pl.DataFrame]:
    """Yield the runs of rows with the same number in `chunk`."""
    bounds = [0, *(np.flatnonzero(np.diff(chunk.to_numpy())) + 1).tolist(), frame.height]
    for start, end in pairwise(bounds):
        if end > start:
            yield frame.slice(start, end - start)


class _BitWriter:
    """Writes booleans as bits, little bit order, across the borders of bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rest = np.zeros(0, dtype=np.bool_)

    def write(self, values: NDArray[np.bool_]) -> None:
        """Append values; up to seven wait for the next call."""
        values = np.concatenate([self._rest, values])
        whole = values.size // 8 * 8
        np.packbits(values[:whole], bitorder="little").tofile(self._file)
        self._rest = values[whole:]

    def finish(self) -> None:
        """Write what waits, filled up with zeros."""
        np.packbits(self._rest, bitorder="little").tofile(self._file)
