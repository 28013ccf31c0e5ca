"""Which documents have the same text: a hash table of 128-bit digests that several threads fill.

A text is worked on by whoever comes first with it; which of its documents stays is decided later, so that nothing
depends on who that was.
"""

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from engine.text.kernels import Hashes, Places, kernel

NO_TEXT = -1


class EqualTexts:
    """For each document the one that came first with its text: `first_of`, int64[num_documents], NO_TEXT (-1) so far.

    digests: uint64[num_documents, 2]. A document takes 24 bytes, and 16 to 32 in the table.
    """

    def __init__(self, num_documents: int) -> None:
        """No document has a text yet."""
        self.digests = np.zeros((num_documents, 2), dtype=np.uint64)
        self.first_of = np.full(num_documents, NO_TEXT, dtype=np.int64)
        self._slots = np.full(1 << max(4, (2 * num_documents - 1).bit_length()), NO_TEXT, dtype=np.int64)
        self._lock = Lock()

    def add(self, first: int, digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Enter the texts of documents `first`, `first` + 1, ...; return which of them nobody had before."""
        end = first + len(digests)
        self.digests[first:end] = digests
        with self._lock:
            _enter(self._slots, self.digests, self.first_of, first, end)
        return self.first_of[first:end] == np.arange(first, end)

    def release_table(self) -> None:
        """Let the table go once all texts are in."""
        self._slots = np.empty(0, dtype=np.int64)


@kernel
def _enter(slots: Places, digests: Hashes, first_of: Places, begin: int, end: int) -> None:
    mask = np.uint64(len(slots) - 1)
    for document in range(begin, end):
        slot = digests[document, 0] & mask
        while slots[slot] != NO_TEXT and (
            digests[slots[slot], 0] != digests[document, 0] or digests[slots[slot], 1] != digests[document, 1]
        ):
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] == NO_TEXT:
            slots[slot] = document
        first_of[document] = slots[slot]
