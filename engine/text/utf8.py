"""UTF-8 as it lies in Arrow buffers, which is always well-formed: the bytes of texts, and the characters in them."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.text.kernels import Bytes, Integer, kernel


def text_buffers(chunk: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (bytes of the texts, where in them each text begins and the last one ends); a null is an empty text.

    Both can only be read: numba compiles a kernel once more for arrays that can be written.
    """
    if chunk.null_count:
        # What lies under a null is undefined in Arrow.
        chunk = chunk.fill_null("")
    _, edges, data = chunk.buffers()
    if not len(chunk) or data is None:
        return np.frombuffer(b"", dtype=np.uint8), np.frombuffer(bytes(8 * (len(chunk) + 1)), dtype=np.int64)
    every_edge = np.frombuffer(edges, dtype=np.int64)
    return np.frombuffer(data, dtype=np.uint8), every_edge[chunk.offset : chunk.offset + len(chunk) + 1]


@kernel
def character(text: Bytes, at: Integer) -> tuple[Integer, Integer]:
    """Return (code point, bytes) of the character at `at`."""
    lead = np.int64(text[at])
    if lead < 0x80:
        return lead, 1
    width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    code_point = lead & (0x7F >> width)
    for offset in range(1, width):
        code_point = code_point << 6 | (np.int64(text[at + offset]) & 0x3F)
    return code_point, width
