"""How many pieces a tokenizer makes of a word where it stands in running text.

A word is encoded behind another one and a space, and the pieces of what stands before it are taken off: so the space
counts as the word's own, whether the tokenizer marks it, puts one in front of every text or leaves it out. In scripts
without spaces, where a word is one character, it is encoded between its like.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.text.unicode_tables import SOLO_RANGES

if TYPE_CHECKING:
    from engine.formats.tokenizer import Encoder

_BEFORE = "a"


def piece_counts(encode: "Encoder", words: Sequence[str]) -> list[int]:
    """Return the pieces of each word, as written."""
    contexts = [_contexts(word) for word in words]
    with_word = encode([longer for longer, _ in contexts])
    without = {text: 0 for _, text in contexts}
    without = dict(zip(without, (ids.size for ids in encode(list(without))), strict=True))
    return [ids.size - without[shorter] for ids, (_, shorter) in zip(with_word, contexts, strict=True)]


def _contexts(word: str) -> tuple[str, str]:
    """Return a text with the word and one that lacks it."""
    if any(first <= ord(word[0]) <= last for first, last in SOLO_RANGES):
        return word * 3, word * 2
    return f"{_BEFORE} {word}", _BEFORE
