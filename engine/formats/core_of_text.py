"""The core columns that are made of the text alone: its digest, its bytes, its characters."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from engine.base.hashing import DIGEST_BYTES, digests_of
from engine.formats.doc_ids import Digests

OF_TEXT = ("text_digest", "num_bytes", "num_chars")


def text_columns(
    texts: pa.ChunkedArray, names: Sequence[str] = OF_TEXT, keys: Digests | None = None
) -> list[pl.Series]:
    """Return some of OF_TEXT of large strings; the digest is null where the text is null or blank.

    keys: their digests, where the caller has them already.
    """
    columns = {
        "text_digest": lambda: _text_digests(texts, digests(texts) if keys is None else keys),
        "num_bytes": lambda: _sizes(pc.binary_length(texts)),
        "num_chars": lambda: _sizes(pc.utf8_length(texts)),
    }
    return [columns[name]().alias(name) for name in names]


def _text_digests(texts: pa.ChunkedArray, keys: Digests) -> pl.Series:
    return digest_series(keys, ~is_blank(pl.Series(pl.from_arrow(texts))).to_numpy())


def digests(strings: pa.ChunkedArray) -> Digests:
    """Return the 16-byte digests of large strings or large binaries, uint8[rows, 16]; zeros where null."""
    parts = []
    for chunk in strings.chunks:
        _, offsets, data = chunk.buffers()
        bounds = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
        joined = digests_of(memoryview(data) if data is not None else b"", bounds)
        part = np.frombuffer(joined, np.uint8).reshape(len(chunk), DIGEST_BYTES).copy()
        part[chunk.is_null().to_numpy(zero_copy_only=False)] = 0
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros((0, DIGEST_BYTES), np.uint8)


def is_blank(texts: pl.Series) -> pl.Series:
    r"""Return whether each text is null, empty or nothing but white space (Unicode's White_Space, as in `\s`)."""
    # A search ends at the first character that counts; stripping would copy every text.
    return ~texts.str.contains(r"\S").fill_null(False)


def digest_series(values: Digests, is_valid: np.ndarray | None = None) -> pl.Series:
    """Return digests as a binary column, null where not `is_valid`."""
    data = pa.py_buffer(np.ascontiguousarray(values))
    array = pa.FixedSizeBinaryArray.from_buffers(pa.binary(DIGEST_BYTES), len(values), [None, data])
    series = pl.Series(pl.from_arrow(array)).cast(pl.Binary)
    if is_valid is None:
        return series
    return pl.select(pl.when(pl.Series(is_valid)).then(series)).to_series()


def _sizes(lengths: pa.ChunkedArray) -> pl.Series:
    return pl.Series(pl.from_arrow(lengths)).fill_null(0).cast(pl.Int64)
