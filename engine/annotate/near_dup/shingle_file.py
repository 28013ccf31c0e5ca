"""Shingle sets on disk: those of all documents that stand in a candidate pair are more than memory may hold.

Where there is memory to spare the system's file cache keeps them; it gives way where there is none.
"""

import os
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from engine.text.words import ShingleSets


class ShingleFile:
    """Sets of 64-bit shingles, written and read by several threads. The file has no name and goes with the object.

    sizes: int64[num_documents], how many shingles a document has; 0 as well where none were written.
    """

    def __init__(self, num_documents: int, folder: Path) -> None:
        """The file lies in `folder`."""
        self.sizes = np.zeros(num_documents, dtype=np.int64)
        self._starts = np.zeros(num_documents, dtype=np.int64)
        self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by close()
        self._end = 0
        self._lock = Lock()

    def write(self, first: int, sets: ShingleSets) -> None:
        """Write the sets of documents `first`, `first` + 1, ..."""
        with self._lock:
            start, self._end = self._end, self._end + len(sets.hashes)
        end = first + len(sets.offsets) - 1
        self._starts[first:end] = start + sets.offsets[:-1]
        self.sizes[first:end] = np.diff(sets.offsets)
        write_at(self._file.fileno(), sets.hashes, start * 8)

    def read(self, documents: NDArray[np.int64]) -> ShingleSets:
        """Return the sets of `documents`."""
        offsets = np.concatenate([[0], np.cumsum(self.sizes[documents])])
        hashes = np.empty(int(offsets[-1]), dtype=np.uint64)
        starts = self._starts[documents].tolist()
        for start, begin, end in zip(starts, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            read_at(self._file.fileno(), hashes[begin:end], start * 8)
        return ShingleSets(offsets, hashes)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def write_at(file: int, values: NDArray[np.uint64], offset: int) -> None:
    """Write all of an array at a byte offset of an open file."""
    buffer, at = np.ascontiguousarray(values).data.cast("B"), 0
    while at < len(buffer):
        at += os.pwrite(file, buffer[at:], offset + at)


def read_at(file: int, values: NDArray[np.uint64], offset: int) -> None:
    """Fill an array from a byte offset of an open file; raises OSError where the file ends before."""
    buffer, at = values.data.cast("B"), 0
    while at < len(buffer):
        count = os.preadv(file, [buffer[at:]], offset + at)
        if count == 0:
            raise OSError("a scratch file ends before its content: was it cut short?")
        at += count
