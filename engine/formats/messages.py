"""Messages of chat documents: roles, the text they amount to, and what `field:` picks out of them.

A chat document is a list of messages (role, content). Its text is the contents one after the other, joined by a blank
line, so that every stage that reads texts can read it. `field: prompt` is the same over the messages that are not the
assistant's, `field: response` over the assistant's; a document that has none of those, and every document without
messages, has null there. `field: text` and `field: all` are the whole text.

Spans that a stage found in a prompt or a response are stored as spans of the text: whoever applies them needs to know
nothing of fields.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.base.hashing import digest_bytes

ROLES = ("system", "user", "assistant", "tool")
RESPONDS = "assistant"
WHOLE = ("text", "all")
SEPARATOR = "\n\n"
MESSAGES = pa.list_(pa.struct([("role", pa.large_string()), ("content", pa.large_string())]))
Message = Mapping[str, str]


def texts_of(messages: pa.Array, field: str) -> pa.Array:
    """Return what `field` (text, all, prompt, response) is of each row of messages: large strings, null where none.

    messages: of type MESSAGES, without null roles or contents; a null row has no text.
    """
    chosen = _is_in(messages.flatten().field(0), field)
    # `flatten` leaves out what lies under a null row, so bounds are taken of the lengths.
    lengths = pc.fill_null(pc.list_value_length(messages), 0).to_numpy(zero_copy_only=False)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    kept = np.concatenate([[0], np.cumsum(chosen)])[bounds]
    contents = messages.flatten().field(1).filter(pa.array(chosen))
    lists = pa.LargeListArray.from_arrays(pa.array(kept, pa.int64()), contents)
    joined = pc.binary_join(lists.cast(pa.list_(pa.large_string())), pa.scalar(SEPARATOR, pa.large_string()))
    return pc.if_else(pa.array(np.diff(kept) > 0), joined, pa.scalar(None, pa.large_string()))


def spans_of_text(
    messages: Sequence[Message], field: str, spans: Iterable[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield spans of `field` as spans of the text; one over several messages becomes one in each.

    messages: of one document. spans: start, end (bytes of the UTF-8 field) and whatever else, which is kept.
    """
    gap = len(SEPARATOR)
    places: list[tuple[int, int, int]] = []  # start in the field, end in the field, start in the text
    in_field = in_text = 0
    for message in messages:
        size = len(message["content"].encode())
        if field in WHOLE or (message["role"] == RESPONDS) == (field == "response"):
            places.append((in_field, in_field + size, in_text))
            in_field += size + gap
        in_text += size + gap
    for span in spans:
        for start, end, place in places:
            first, last = max(span["start"], start), min(span["end"], end)
            if first < last:
                yield {**span, "start": first - start + place, "end": last - start + place}


def chat_digests(messages: pa.Array) -> list[bytes]:
    """Return a digest of each row of messages, over roles and contents.

    messages: of type MESSAGES, no row null. What is hashed is the text's digest, and role and length of each message.
    """
    roles = pc.index_in(messages.flatten().field(0), pa.array(ROLES, pa.large_string()))
    sizes = pc.binary_length(messages.flatten().field(1))
    shape = np.stack([np.asarray(column.to_numpy(zero_copy_only=False), "<i8") for column in (roles, sizes)], axis=1)
    bounds = np.concatenate([[0], np.cumsum(pc.list_value_length(messages).to_numpy(zero_copy_only=False))])
    texts = texts_of(messages, "text").to_pylist()
    return [
        digest_bytes(digest_bytes((text or "").encode()) + shape[start:end].tobytes())
        for text, start, end in zip(texts, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]


def shown(messages: Sequence[Message]) -> str:
    """Return messages for people to read: each with its role before it."""
    return SEPARATOR.join(f"{message['role']}: {message['content']}" for message in messages)


def _is_in(roles: pa.Array, field: str) -> np.ndarray:
    if field in WHOLE:
        return np.ones(len(roles), dtype=bool)
    responds = np.asarray(pc.equal(roles, RESPONDS).to_numpy(zero_copy_only=False), dtype=bool)
    return responds if field == "response" else ~responds
