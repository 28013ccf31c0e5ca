"""What heuristics knows of characters: flags of each code point, and the phrases it looks for."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.text.unicode_tables import unicode_tables

WHITE_SPACE = (
    *range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000,
)  # fmt: skip
"""Code points with the Unicode property White_Space, and the ASCII separators 28-31, as `str.isspace` has it."""
BULLETS = "-*\u2022\u2023\u25aa\u25cf\u25e6\u2043"
"""Hyphen, asterisk, bullet, triangular bullet, small square, black circle, white bullet, hyphen bullet."""
TERMINALS = '.!?"\u201d'
"""Full stop, exclamation mark, question mark, straight and curly closing quotation mark."""
ELLIPSIS = "\u2026"
STOPS = ".!?" + ELLIPSIS
"""What ends a sentence where white space follows."""
WIDE_STOPS = (
    "\u3002\uff01\uff0e\uff1f\uff61"  # ideographic full stop, fullwidth ! . ?, halfwidth ideographic full stop
    "\u0589\u061f\u06d4\u0964\u0965"  # Armenian full stop, Arabic question mark and full stop, danda, double danda
    "\u104a\u104b\u1362\u17d4\u17d5"  # Myanmar section marks, Ethiopic full stop, Khmer signs
    "\u203c\u203d\u2047\u2048\u2049"  # doubled and combined ! and ?
)
"""What ends a sentence whatever follows."""
CLOSERS = "\"')]\u2019\u201d\u00bb\u300b\u300d\u300f\uff09"
"""Closing quotation marks and brackets, which go with the sentence before them."""
PUNCTUATION = STOPS + WIDE_STOPS + "\"'\u2019\u201d"
"""What FineWeb takes for the end of a line in prose: stops, and closing quotation marks."""
PHRASES = {
    b"javascript": 0, b"lorem ipsum": 7, b"terms of use": 3, b"privacy policy": 3,
    b"cookie policy": 3, b"uses cookies": 8, b"use of cookies": 10, b"use cookies": 7,
}  # fmt: skip
"""Phrases of C4, in lower case, each with the place of a rare pair of letters: where that stands, the phrase is looked
for."""
MIN_C4_RUNS, MAX_C4_RUN_CHARS = 5, 1000
"""What C4 keeps: lines of at least so many runs, none longer than so many characters (see the head of the stage)."""

IS_SPACE, IS_LETTER, NEEDS_LOOK = 1, 2, 4
IS_BULLET, IS_TERMINAL, IS_PUNCTUATION, IS_ELLIPSIS, IS_STOP, IS_WIDE_STOP, IS_CLOSER = 8, 16, 32, 64, 128, 256, 512
"""Flags of code points; the third: it means something together with those around it."""
LINE_FEED, DOT = 10, ord(".")


@cache
def character_kinds() -> NDArray[np.uint16]:
    """Return the flags of each code point."""
    kinds = np.where(unicode_tables().entries != 0, IS_LETTER, 0).astype(np.uint16)
    kinds[ord("0") : ord("9") + 1] = 0
    flagged = {
        IS_SPACE: map(chr, WHITE_SPACE), IS_BULLET: BULLETS, IS_TERMINAL: TERMINALS, IS_PUNCTUATION: PUNCTUATION,
        IS_ELLIPSIS: ELLIPSIS, IS_STOP: STOPS, IS_WIDE_STOP: WIDE_STOPS, IS_CLOSER: CLOSERS,
        NEEDS_LOOK: {*STOPS, *WIDE_STOPS},
    }  # fmt: skip
    for flag, characters in flagged.items():
        kinds[[ord(character) for character in characters]] |= flag
    return kinds
