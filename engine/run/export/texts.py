"""The documents of one shard as they are trained on: texts or messages with their edits, checked against the store."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa

from engine.base.errors import InputError, problem
from engine.base.hashing import digest_bytes, digests_of
from engine.formats.documents import Shard
from engine.formats.messages import MESSAGES, SEPARATOR, Message
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
    found = _messages(shard, rows, edits) if shard.has_messages else _texts(shard, rows, edits)
    _require_same(shard, wanted, _digests(found))
    return _tagged(found, wanted["control"].to_list()) if wanted["control"].null_count() < wanted.height else found


def messages_digest(messages: Sequence[Message]) -> bytes:
    """Return the digest of what was rendered of a chat."""
    return digest_bytes(SEPARATOR.join(message["content"] for message in messages).encode())


def edited_messages(messages: Sequence[Message], edits: Edits) -> list[dict[str, str]]:
    """Return the messages with edits that are spans of the whole text, each message edited by itself."""
    edited, start = [], 0
    for message in messages:
        content = message["content"]
        end = start + len(content.encode())
        own = Edits(
            [
                (max(first, start) - start, min(last, end) - start)
                for first, last in edits.cuts
                if first < end and last > start
            ],
            [
                (max(first, start) - start, min(last, end) - start, text)
                for first, last, text in edits.replacements
                if first < end and last > start
            ],
        )
        edited.append(
            {"role": message["role"], "content": own.applied(content) if own.cuts or own.replacements else content}
        )
        start = end + len(SEPARATOR)
    return edited


def _texts(shard: Shard, rows: list[int], edits: Mapping[int, Edits]) -> pa.Array:
    texts = _whole(shard.read_text().take(pa.array(rows, pa.int64())))
    if edits.keys().isdisjoint(rows):
        return texts
    edited = [
        edits[row].applied(text) if row in edits else text for row, text in zip(rows, texts.to_pylist(), strict=True)
    ]
    return pa.array(edited, pa.large_string())


def _messages(shard: Shard, rows: list[int], edits: Mapping[int, Edits]) -> pa.Array:
    messages = _whole(shard.read_messages().take(pa.array(rows, pa.int64())))
    if edits.keys().isdisjoint(rows):
        return messages
    chats = zip(rows, messages.to_pylist(), strict=True)
    return pa.array([edited_messages(chat, edits[row]) if row in edits else chat for row, chat in chats], MESSAGES)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    chunks = column.combine_chunks()
    return chunks if isinstance(chunks, pa.Array) else pa.concat_arrays(chunks.chunks)


def _digests(found: pa.Array) -> list[bytes]:
    if pa.types.is_list(found.type):
        return [b"" if chat is None else messages_digest(chat) for chat in found.to_pylist()]
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
                    f"document {doc_id.hex()} is not the text that was tokenised",
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
