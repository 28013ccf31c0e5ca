"""Tokens of a span as text in parts: what is a label, what is not, and which tokens stand for structure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.formats.tokenizer import Tokenizer, decode_batch, special_pieces


def parts_of(
    tokenizer: Tokenizer, spans: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]]
) -> list[list[dict[str, Any]]]:
    """Return the parts of each span: text, supervised, special, tokens; together all tokens in their order.

    spans: ids and whether each is a label, int64[n] and bool[n]. A special token (EOS, a control token, a marker of a
    template) is a part of its own, shown as its piece. All other parts joined are what their ids decode to together:
    where one character is spelt by tokens on both sides of a border, it stands on the right of it.
    """
    special = special_pieces(tokenizer)
    bounds = [_bounds(ids, is_label, special) for ids, is_label in spans]
    texts = _texts(tokenizer, [ids for ids, _ in spans], bounds, special)
    found = []
    for (ids, is_label), ends, shown in zip(spans, bounds, texts, strict=True):
        found.append(
            [
                {
                    "text": text,
                    "supervised": bool(is_label[start]),
                    "special": int(ids[start]) in special,
                    "tokens": end - start,
                }
                for start, end, text in zip([0, *ends], ends, shown, strict=False)
            ]
        )
    return found


def _bounds(ids: NDArray[np.int64], is_label: NDArray[np.bool_], special: dict[int, str]) -> list[int]:
    """Return where each part ends."""
    is_special = np.isin(ids, np.fromiter(special, np.int64, len(special)))
    changes = (is_label[1:] != is_label[:-1]) | is_special[1:] | is_special[:-1]
    return [*(np.flatnonzero(changes) + 1).tolist(), len(ids)]


def _texts(
    tokenizer: Tokenizer, ids: Sequence[NDArray[np.int64]], bounds: Sequence[list[int]], special: dict[int, str]
) -> list[list[str]]:
    """Return the text of each part. A part is decoded with what is before it since the last special token."""
    sequences: list[list[int]] = []
    firsts: list[list[int]] = []
    for of_span, ends in zip(ids, bounds, strict=True):
        first, of_parts = 0, []
        for start, end in zip([0, *ends], ends, strict=False):
            if int(of_span[start]) in special:
                first = end
            sequences.append(of_span[min(first, start) : end].tolist())
            of_parts.append(min(first, start))
        firsts.append(of_parts)
    decoded = iter(decode_batch(tokenizer, sequences))
    found = []
    for of_parts in firsts:
        texts: list[str] = []
        before, first_before = "", -1
        for first in of_parts:
            text = next(decoded)
            shared = _shared(before, text) if first == first_before else 0
            # What the part before ended with may have been half a character, which only now is a whole one.
            if shared < len(before) and first == first_before:
                texts[-1] = texts[-1][: max(len(texts[-1]) - (len(before) - shared), 0)]
            texts.append(text[shared:])
            before, first_before = text, first
        found.append(texts)
    return found


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    if other.startswith(one):
        return len(one)
    return next(place for place, pair in enumerate(zip(one, other + "\0", strict=False)) if pair[0] != pair[1])
