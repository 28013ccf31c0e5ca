"""The 128-bit ids of documents: digests of who they are.

With an id of its own a document is H(source, id as text), else H(source, digest of its text, rank among rows of equal
text). H takes its parts with their lengths, as `engine.base.hashing.digest_parts` does.
"""

import json
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pyarrow as pa

from engine.base.hashing import DIGEST_BYTES, digest_bytes, digests_of

_ROWS_AT_ONCE = 1 << 16

Digests = np.ndarray[Any, np.dtype[np.uint8]]
"""uint8[rows, 16]"""


def id_text(doc_id: bytes) -> str:
    """Return an id as users see it everywhere, and as DuckDB writes it: a UUID in lower case, with dashes.

    Inside manifests and receipts ids stand as hex without dashes; whoever takes an id reads both.
    """
    return str(UUID(bytes=doc_id))


def id_texts(doc_ids: pl.Expr) -> pl.Expr:
    """Return the same of a column of ids."""
    digits = doc_ids.bin.encode("hex")
    parts = [digits.str.slice(start, end - start) for start, end in pairwise((0, 8, 12, 16, 20, 32))]
    return pl.concat_str(parts, separator="-")


def as_text(column: pa.ChunkedArray) -> pl.Series:
    """Return any column as strings: numbers in decimal (1.0 as 1), times in ISO 8601, nested values as JSON."""
    kind = column.type
    if pa.types.is_null(kind):
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(column))
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pl.Series(pl.from_arrow(column.cast(pa.large_string())))
    if pa.types.is_integer(kind):
        return pl.Series(pl.from_arrow(column)).cast(pl.String)
    if pa.types.is_timestamp(kind):
        zone = "%:z" if kind.tz is not None else ""
        return pl.Series(pl.from_arrow(column)).dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    return pl.Series([None if value is None else _scalar_text(value) for value in column.to_pylist()], dtype=pl.String)


def own_doc_ids(source: str, own_ids: pl.Series) -> Digests:
    """Return the doc_ids made of the documents' own ids (strings); zeros where an id is null."""
    prefix = _sized(source.encode()) + _sized(b"id")
    nobody = bytes(DIGEST_BYTES)
    return _digests(
        [nobody if value is None else digest_bytes(prefix + _sized(value.encode())) for value in own_ids.to_list()]
    )


def text_doc_ids(source: str, text_keys: Digests, ranks: np.ndarray) -> Digests:
    """Return the doc_ids of documents without own ids from the digests of their texts and their ranks."""
    prefix = _sized(source.encode()) + _sized(b"text") + DIGEST_BYTES.to_bytes(8, "little")
    rank_bytes = np.ascontiguousarray(ranks.astype("<u8")).view(np.uint8).reshape(-1, 8)
    rank_size = np.broadcast_to(np.frombuffer((8).to_bytes(8, "little"), np.uint8), (len(ranks), 8))
    found = []
    for start in range(0, len(ranks), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        prefixes = np.broadcast_to(np.frombuffer(prefix, np.uint8), (len(ranks[part]), len(prefix)))
        records = np.hstack([prefixes, text_keys[part], rank_size[part], rank_bytes[part]])
        found.append(digests_of(records.tobytes(), range(0, records.size + 1, records.shape[1])))
    return _digests(found)


def _digests(values: list[bytes]) -> Digests:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, DIGEST_BYTES)


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(8, "little") + part


def _scalar_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_scalar_text)
    return str(value)
