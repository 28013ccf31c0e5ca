"""The documents of a shard with what stages want changed in them: what is tokenised, and what is exported."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from engine.formats.documents import Shard
from engine.formats.messages import MESSAGES, SEPARATOR, Message
from engine.text.edits import Edits


def edited_texts(shard: Shard, rows: Sequence[int], edits: Mapping[int, Edits]) -> pa.Array:
    """Return the texts of some rows with their edits: large strings, null where a document has no text."""
    texts = _taken(shard.read_text(), rows)
    if edits.keys().isdisjoint(rows):
        return texts
    edited = [
        edits[row].applied(text) if row in edits else text for row, text in zip(rows, texts.to_pylist(), strict=True)
    ]
    return pa.array(edited, pa.large_string())


def edited_messages(shard: Shard, rows: Sequence[int], edits: Mapping[int, Edits]) -> pa.Array:
    """Return the messages of some rows, of type MESSAGES, the edits of each text as edits of its messages."""
    chats = _taken(shard.read_messages(), rows)
    if edits.keys().isdisjoint(rows):
        return chats
    edited = [
        edited_chat(chat, edits[row]) if row in edits else chat
        for row, chat in zip(rows, chats.to_pylist(), strict=True)
    ]
    return pa.array(edited, MESSAGES)


def edited_chat(chat: Sequence[Message], edits: Edits) -> list[Message]:
    """Return the messages of a chat with edits that are spans of its text."""
    parts = edits.of_parts([len(message["content"].encode()) for message in chat], len(SEPARATOR))
    return [
        {"role": message["role"], "content": part.applied(message["content"])}
        for message, part in zip(chat, parts, strict=True)
    ]


def _taken(column: pa.ChunkedArray, rows: Sequence[int]) -> pa.Array:
    chunks = column.take(pa.array(rows, pa.int64())).combine_chunks()
    return chunks if isinstance(chunks, pa.Array) else pa.concat_arrays(chunks.chunks)
