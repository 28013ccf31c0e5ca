"""Texts of a corpus, a few megabytes at a time, for several threads: decoding and working go side by side.

A run is a stretch of consecutive documents that one reader decodes in order (a row group, a shard). Threads take whole
runs while there are enough of them; the last ones share a run, taking turns at its reader, so that one large row group
keeps all of them busy.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock, local

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BATCH_BYTES = 4 << 20
"""Text worked on at once by one thread: its words and shingles stay near the second cache."""
MAX_BATCH_DOCUMENTS = 1 << 16
_of_thread = local()


@dataclass(frozen=True)
class TextRun:
    """Documents `first` to `first + num_documents`; `read` yields their texts in order, in arrays of any length."""

    first: int
    num_documents: int
    read: Callable[[], Iterator[pa.Array]]


Work = Callable[[int, pa.Array], None]
"""What is done with the texts of the documents from a number on; called from several threads at once."""


def each_batch(runs: Sequence[TextRun], work: Work, jobs: int) -> None:
    """Call `work` for all texts, in batches of about `BATCH_BYTES`; an error stops all threads and is raised."""
    readers = _Readers(runs)
    if jobs == 1:
        _drain(readers, work)
        return
    with ThreadPoolExecutor(jobs) as executor:
        drained = [executor.submit(_drain, readers, work) for _ in range(jobs)]
        try:
            for one in drained:
                one.result()
        except BaseException:
            readers.stop()
            raise


class _Reader:
    """One run being read; whoever holds the lock decodes the next batch."""

    def __init__(self, run: TextRun) -> None:
        self.num_workers = 0
        self.has_ended = False
        self._batches = _batches(run)
        self._lock = Lock()

    def next(self) -> tuple[int, pa.Array] | None:
        """Return the next batch and its first document, or None at the end."""
        with self._lock:
            batch = next(self._batches, None)
            self.has_ended |= batch is None
            return batch


class _Readers:
    """Hands runs to threads."""

    def __init__(self, runs: Sequence[TextRun]) -> None:
        self._waiting = iter(runs)
        self._open: list[_Reader] = []
        self._stopped = False
        self._lock = Lock()

    def take(self) -> _Reader | None:
        """Return a reader of its own while runs are waiting, then the one with fewest threads; None when all ended."""
        with self._lock:
            self._open = [reader for reader in self._open if not reader.has_ended]
            if self._stopped:
                return None
            if (run := next(self._waiting, None)) is not None:
                self._open.append(_Reader(run))
                reader = self._open[-1]
            elif self._open:
                reader = min(self._open, key=lambda reader: reader.num_workers)
            else:
                return None
            reader.num_workers += 1
            return reader

    def stop(self) -> None:
        """Let no thread take another batch."""
        with self._lock:
            self._stopped = True
            for reader in self._open:
                reader.has_ended = True


def _drain(readers: _Readers, work: Work) -> None:
    try:
        while (reader := readers.take()) is not None:
            while not reader.has_ended and (batch := reader.next()) is not None:
                work(*batch)
    except BaseException:
        readers.stop()
        raise


def _batches(run: TextRun) -> Iterator[tuple[int, pa.Array]]:
    document, end = run.first, run.first + run.num_documents
    for array in run.read():
        if document + len(array) > end:
            count = document + len(array) - run.first
            raise ValueError(f"{count} texts were read where {run.num_documents} documents are")
        for texts in slices(array):
            yield document, texts
            document += len(texts)
    if document != end:
        raise ValueError(f"{document - run.first} texts were read where {run.num_documents} documents are")


def slices(texts: pa.Array) -> Iterator[pa.Array]:
    """Cut an array before each document with which it would exceed the size of a batch."""
    if texts.nbytes <= BATCH_BYTES and len(texts) <= MAX_BATCH_DOCUMENTS:
        if len(texts):
            yield texts
        return
    ends = text_bounds(texts)[1:] - text_bounds(texts)[0]
    start = 0
    while start < len(texts):
        base = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, base + BATCH_BYTES, side="right")), start + 1)
        stop = min(stop, start + MAX_BATCH_DOCUMENTS)
        yield texts.slice(start, stop - start)
        start = stop


def word_room() -> NDArray[np.uint64]:
    """Return room for the words of a batch, the same for all batches of a thread."""
    if not hasattr(_of_thread, "room"):
        _of_thread.room = np.empty(BATCH_BYTES // 2 + MAX_BATCH_DOCUMENTS, dtype=np.uint64)
    room: NDArray[np.uint64] = _of_thread.room
    return room


def text_bounds(texts: pa.Array) -> NDArray[np.int64]:
    """Return where each text begins in the data buffer, and where the last one ends: int64[len(texts) + 1]."""
    offsets = texts.buffers()[1]
    width = np.int32 if pa.types.is_string(texts.type) else np.int64
    return np.frombuffer(offsets, dtype=width)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
