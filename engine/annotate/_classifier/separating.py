"""The compiled way to separate texts of ASCII; engine.annotate._classifier.texts says what separated means."""

from functools import lru_cache

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.text.fasttext_model import LABEL
from engine.text.kernels import Bytes, Integer, Places, kernel
from engine.text.utf8 import text_buffers

_BLANK, _WORD, _MARK, _NOT_ASCII = (np.uint8(kind) for kind in range(4))
_SPACE, _UNDERSCORE = np.uint8(32), np.uint8(95)
_GROWTH = 3
"""Most bytes that come of one: a mark between two spaces."""


def separate(texts: pl.Series) -> tuple[pl.Series, NDArray[np.bool_]]:
    """Return (separated texts, whether each is of ASCII); a text that is not comes out as an empty string.

    texts: String, without nulls.
    """
    if not len(texts):
        return texts, np.zeros(0, dtype=np.bool_)
    data, edges = text_buffers(texts.to_arrow().cast(pa.large_string()))
    # The pages behind what is written are never touched.
    written = np.empty(_GROWTH * int(edges[-1] - edges[0]), dtype=np.uint8)
    written_edges, is_ascii = np.zeros(len(edges), dtype=np.int64), np.zeros(len(texts), dtype=np.bool_)
    _separate(data, edges, *_tables(), np.frombuffer(LABEL.encode(), dtype=np.uint8), written, written_edges, is_ascii)
    used = written[: written_edges[-1]]
    lines = pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(written_edges), pa.py_buffer(used))
    return pl.Series(pl.from_arrow(lines)), is_ascii


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (kind, small letter) of every byte: uint8[256] each."""
    kinds, small = np.full(256, _MARK, dtype=np.uint8), np.arange(256, dtype=np.uint8)
    kinds[list(b" \t\n\v\f\r")] = _BLANK
    kinds[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] = _WORD
    kinds[0x80:] = _NOT_ASCII
    small[ord("A") : ord("Z") + 1] += 32
    return kinds, small


@kernel
def _separate(
    data: Bytes,
    edges: Places,
    kinds: Bytes,
    small: Bytes,
    label: Bytes,
    written: Bytes,
    written_edges: Places,
    is_ascii: NDArray[np.bool_],
) -> None:
    end: Integer = np.int64(0)
    for row in range(len(edges) - 1):
        end = _separate_one(data[edges[row] : edges[row + 1]], kinds, small, label, written, end)
        is_ascii[row] = end >= 0
        end = max(end, written_edges[row])
        written_edges[row + 1] = end


@kernel
def _separate_one(text: Bytes, kinds: Bytes, small: Bytes, label: Bytes, written: Bytes, first: Integer) -> Integer:
    """Write a separated text from `first` on; return its end, -1 where the text is not of ASCII."""
    at: Integer = np.int64(0)
    end: Integer = first
    is_apart = False
    while at < len(text):
        byte = small[text[at]]
        kind = kinds[byte]
        if kind == _NOT_ASCII:
            return -1
        if kind == _BLANK:
            is_apart = True
            at += 1
            continue
        if (is_apart or kind == _MARK) and end > first:
            written[end] = _SPACE
            end += 1
        is_apart = kind == _MARK
        if byte == _UNDERSCORE and _is_label(text, at, small, label):
            # The label without its two underscores on either side.
            for place in range(2, len(label) - 2):
                written[end] = label[place]
                end += 1
            at += len(label)
            continue
        written[end] = byte
        end += 1
        at += 1
    return end


@kernel
def _is_label(text: Bytes, at: Integer, small: Bytes, label: Bytes) -> bool:
    same: Integer = np.int64(0)
    while same < len(label) and at + same < len(text) and small[text[at + same]] == label[same]:
        same += 1
    return same == len(label)
