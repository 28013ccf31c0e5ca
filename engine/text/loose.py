"""Loose words: the words of a text with everything taken away that copying and re-formatting change.

Contamination is searched with these words, near-duplicates never: here two texts shall match although somebody changed
their case, punctuation, quotation marks, dashes, spaces, line breaks, accents, typography or markup. Words are those of
`engine.text.words` (Unicode 14.0.0 categories L, N, M; all else separates; characters of scripts without spaces stand
alone), with four differences:

1. Markup separates: tags and comments of HTML, entities, LaTeX commands that set space and style, the escapes of JSON
   and of source strings, targets of links and languages of fences in Markdown. `engine.text.markup` states the rules to
   the byte. It is blanked before anything else, so `wor<b>d</b>` is two words.
2. Characters that only steer the layout are not there at all: soft hyphen, zero-width space, joiner and non-joiner,
   word joiner, byte order mark, direction marks (`IGNORED_RANGES`). They neither separate words nor belong to them.
3. Marks are not there either, so accents, vowel points and variation selectors make no difference, and a precomposed
   letter equals a decomposed one.
4. A letter or number is the letters and numbers of its compatibility decomposition (NFKD) after full case folding: full
   width and mathematical letters, ligatures, superscripts and halfwidth kana become plain. One that decomposes to more
   than three stays as it is.

Nothing is joined across a hyphen or an apostrophe: "don't" is two words with either apostrophe. Unicode never changes
the decomposition or folding of a character it has assigned, and the classes are those of the shipped tables, so the
words are the same under every version of Python.
"""

import unicodedata
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.text.markup import without_markup
from engine.text.unicode_tables import (
    FOLDS,
    KIND_SHIFT,
    LETTER,
    SEPARATOR,
    SOLO,
    UnicodeTables,
    folding_rows,
    unicode_tables,
)
from engine.text.words import Words, split_by_tables

IGNORED_RANGES = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x061C, 0x061C),  # Arabic letter mark
    (0x180E, 0x180E),  # Mongolian vowel separator
    (0x200B, 0x200F),  # zero-width space, non-joiner, joiner, direction marks
    (0x202A, 0x202E),  # direction embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, direction isolates
    (0xFEFF, 0xFEFF),  # byte order mark, zero-width no-break space
)
"""Inclusive ranges of the format characters (category Cf) that layout alone needs."""

_MOST_LETTERS = 3


def split_loose(
    texts: pa.Array | pa.ChunkedArray,
    with_positions: bool = False,
    chosen: NDArray[np.bool_] | None = None,
    room: NDArray[np.uint64] | None = None,
) -> Words:
    """Return the loose words of each text; a null text has none.

    Positions, where asked for, are bytes of the text as it is, with its markup. `chosen` and `room` as for
    `engine.text.words.split_words`. Raises TypeError unless `texts` is of type string or large_string.
    """
    chunks, document = [], 0
    for chunk in texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]:
        chunks.append(without_markup(chunk, None if chosen is None else chosen[document : document + len(chunk)]))
        document += len(chunk)
    return split_by_tables(pa.chunked_array(chunks, texts.type), loose_tables(), with_positions, chosen, room)


@cache
def loose_tables() -> UnicodeTables:
    """Return the tables that make `kernels.split` split loosely (made once a process, about 0.1 s)."""
    strict = unicode_tables()
    entries = strict.entries.copy()
    kinds = strict.entries >> KIND_SHIFT & 3
    in_words = np.flatnonzero(kinds != SEPARATOR).tolist()
    # One pass normalises all characters: none of them reacts with the line feeds between them.
    characters = "\n".join(map(chr, in_words)).casefold()
    plain = unicodedata.normalize("NFKD", characters).casefold().split("\n")
    is_letter = ((kinds == LETTER) | (kinds == SOLO)).tolist()
    rows = {"": 0}
    for code_point, letters in zip(in_words, plain, strict=True):
        if letters == chr(code_point) and is_letter[code_point]:
            continue
        kept = "".join(letter for letter in letters if is_letter[ord(letter)])
        if len(kept) > _MOST_LETTERS:
            kept = strict.fold(code_point)[1]
        if kept == chr(code_point):
            continue
        kind = int(kinds[ord(kept)]) if len(kept) == 1 else LETTER
        entries[code_point] = FOLDS | kind << KIND_SHIFT | rows.setdefault(kept, len(rows))
    for first, last in IGNORED_RANGES:
        entries[first : last + 1] = FOLDS | LETTER << KIND_SHIFT
    return UnicodeTables(entries, folding_rows(rows))
