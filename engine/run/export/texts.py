"""The documents of one shard as they are trained on: texts or messages with their edits, checked against the store."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa

from engine.base.errors import InputError, problem
from engine.base.hashing import digests_of
from engine.formats.doc_ids import id_text
from engine.formats.documents import Shard
from engine.formats.messages import MESSAGES, chat_digests
from engine.run.edited import edited_messages, edited_texts
from engine.text.edits import Edits

_DIGEST_BYTES = 16


def exported_texts(shard: Shard, wanted: pl.DataFrame, edits: Mapping[int, Edits]) -> pa.Array:
    """Return the texts of some rows as they are trained on: large strings, or MESSAGES where the shard holds chats.

    Args:
        shard: Where the documents lie.
        wanted: row (in the shard), doc_id, text_digest (of the token store), control (text in front, or null).
        edits: Row -> what is changed in its text.

    Raises InputError that names the first document that is not what the token store was made of.
    """
    rows = wanted["row"].to_list()
    found = edited_messages(shard, rows, edits) if shard.has_messages else edited_texts(shard, rows, edits)
    _require_same(shard, wanted, _digests(found))
    return _tagged(found, wanted["control"].to_list()) if wanted["control"].null_count() < wanted.height else found


def _digests(found: pa.Array) -> list[bytes]:
    if pa.types.is_list(found.type):
        return chat_digests(found)
    found = found.fill_null("")
    offsets = np.frombuffer(found.buffers()[1], np.int64)[found.offset : found.offset + len(found) + 1].tolist()
    joined = digests_of(memoryview(found.buffers()[2] or b""), offsets)
    return [joined[start:end] for start, end in pairwise(range(0, len(joined) + 1, _DIGEST_BYTES))]


def _require_same(shard: Shard, wanted: pl.DataFrame, digests: list[bytes]) -> None:
    for doc_id, stored, digest in zip(wanted["doc_id"], wanted["text_digest"], digests, strict=True):
        if stored != digest:
            raise InputError(
                problem(
                    shard.text_path,
                    f"document {id_text(doc_id)} is not the text that was tokenised",
                    "the file as it was read in",
                    "put the file back, or run the recipe again and export the version it builds",
                )
            )


def _tagged(found: pa.Array, control: list[str | None]) -> pa.Array:
    if not pa.types.is_list(found.type):
        texts = zip(control, found.to_pylist(), strict=True)
        return pa.array([(tokens or "") + text for tokens, text in texts], pa.large_string())
    chats = found.to_pylist()
    for tokens, chat in zip(control, chats, strict=True):
        if tokens and chat:
            chat[0]["content"] = tokens + chat[0]["content"]
    return pa.array(chats, MESSAGES)
