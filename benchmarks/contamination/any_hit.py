"""The plain rule ours stands beside: a document with any 13 words in a row of an item is contaminated (GPT-3's way).

The words are ours (engine.text.loose), so that the rules are compared and not the splitters.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.text.kernels import Hashes, Places, kernel
from engine.text.loose import split_loose
from engine.text.words import ngram_hashes

NGRAM_WORDS = 13
_EMPTY = np.uint64(0)


class AnyHit:
    """The set of all 13-grams of some texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Take the 13-grams of `texts`."""
        _, hashes = ngram_hashes(split_loose(pa.array(list(texts), pa.large_string())), NGRAM_WORDS)
        hashes = np.unique(hashes)
        self.num_ngrams = len(hashes)
        self.slots = np.zeros(1 << (len(hashes).bit_length() + 1), dtype=np.uint64)
        _enter(hashes, self.slots)

    def flags(self, texts: pa.Array) -> NDArray[np.bool_]:
        """Return whether each text is flagged."""
        offsets, hashes = ngram_hashes(split_loose(texts), NGRAM_WORDS)
        out = np.zeros(len(texts), dtype=np.bool_)
        _find(offsets, hashes, self.slots, out)
        return out


@kernel
def _enter(hashes: Hashes, slots: Hashes) -> None:
    mask = np.uint64(len(slots) - 1)
    for value in hashes:
        slot = value & mask
        while slots[slot] != _EMPTY:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = value


@kernel
def _find(offsets: Places, hashes: Hashes, slots: Hashes, out: NDArray[np.bool_]) -> None:
    mask = np.uint64(len(slots) - 1)
    for text in range(len(offsets) - 1):
        for place in range(offsets[text], offsets[text + 1]):
            slot = hashes[place] & mask
            while slots[slot] != _EMPTY:
                if slots[slot] == hashes[place]:
                    out[text] = True
                    break
                slot = (slot + np.uint64(1)) & mask
            if out[text]:
                break
