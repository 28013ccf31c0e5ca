"""The compiled loops of heuristics: one pass over the bytes of each text, and repeats among hashes.

Input is UTF-8 in Arrow buffers, which is always well-formed. Kernels run without the GIL.
"""

from enum import IntEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.text.kernels import Bytes, Hashes, Integer, Places, absorb, finish, kernel
from engine.text.unicode_tables import unicode_tables


class Count(IntEnum):
    """What is counted in a text: the columns of `count_characters`."""

    CHARS = 0
    RUNS = 1
    """Runs of characters that are not white space."""
    RUN_CHARS = 2
    ALPHA_RUNS = 3
    """Runs that hold a letter."""
    SYMBOLS = 4
    DIGITS = 5
    LINES = 6
    """Lines that are not blank."""
    BULLET_LINES = 7
    ELLIPSIS_LINES = 8
    TERMINAL_LINES = 9


WHITE_SPACE = (
    9,
    10,
    11,
    12,
    13,
    28,
    29,
    30,
    31,
    32,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
)
"""Code points with the Unicode property White_Space, and the ASCII separators 28-31, as `str.isspace` has it."""
BULLETS = "-*\u2022\u2023\u25aa\u25cf\u25e6\u2043"
"""Hyphen, asterisk, bullet, triangular bullet, small square, black circle, white bullet, hyphen bullet."""
TERMINALS = '.!?"\u201d'
"""Full stop, exclamation mark, question mark, straight and curly closing quotation mark."""

_ELLIPSIS = 0x2026
_NO_CHARACTER = 0
_IS_SPACE, _IS_LETTER, _IS_BULLET, _IS_TERMINAL = 1, 2, 4, 8


def count_characters(texts: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
    """Return (counts int64[num_documents, len(Count)], line offsets int64[num_documents + 1], line hashes uint64).

    The hashes of the non-blank lines of document d, without white space around them, stand at
    hashes[offsets[d]:offsets[d + 1]]. texts: large strings; a null text has no characters.
    """
    counts = np.zeros((len(texts), len(Count)), dtype=np.int64)
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    hashes, document = [np.empty(0, dtype=np.uint64)], 0
    for chunk in texts.chunks:
        data, edges = _buffers(chunk)
        lines = np.empty(np.count_nonzero(data[edges[0] : edges[-1]] == 10) + len(chunk), dtype=np.uint64)
        ends = offsets[document + 1 : document + 1 + len(chunk)]
        num_lines = _count(data, edges, _kinds(), counts[document:], ends, lines)
        ends += offsets[document]
        hashes.append(lines[:num_lines])
        document += len(chunk)
    return counts, offsets, np.concatenate(hashes)


def count_repeats(
    offsets: NDArray[np.int64], hashes: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (different hashes, occurrences of the most frequent one) of each document: int64[num_documents] each."""
    distinct, most = (np.zeros(len(offsets) - 1, dtype=np.int64) for _ in range(2))
    longest = int(np.diff(offsets).max(initial=0))
    size = 1 << max(1, (2 * longest).bit_length())
    _count_repeats(offsets, hashes, np.empty(size, dtype=np.uint64), np.zeros(size, dtype=np.int64), distinct, most)
    return distinct, most


def _buffers(chunk: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if chunk.null_count:
        # What lies under a null is undefined in Arrow; an empty text counts nothing.
        chunk = chunk.fill_null("")
    _, edges, data = chunk.buffers()
    if not len(chunk) or data is None:
        return np.empty(0, dtype=np.uint8), np.zeros(len(chunk) + 1, dtype=np.int64)
    every_edge = np.frombuffer(edges, dtype=np.int64)
    return np.frombuffer(data, dtype=np.uint8), every_edge[chunk.offset : chunk.offset + len(chunk) + 1]


def _kinds() -> NDArray[np.uint8]:
    """Return a byte of flags per code point."""
    entries = unicode_tables().entries
    kinds = np.where(entries != 0, _IS_LETTER, 0).astype(np.uint8)
    kinds[ord("0") : ord("9") + 1] = 0
    kinds[list(WHITE_SPACE)] |= _IS_SPACE
    kinds[[ord(bullet) for bullet in BULLETS]] |= _IS_BULLET
    kinds[[ord(terminal) for terminal in TERMINALS]] |= _IS_TERMINAL
    return kinds


@kernel
def _count(data: Bytes, edges: Places, kinds: Bytes, counts: Places, line_ends: Places, lines: Hashes) -> Integer:
    """Count the characters of each text; return the number of lines, their hashes in `lines`."""
    num_lines: Integer = 0
    for document in range(len(edges) - 1):
        num_lines = _count_text(data[edges[document] : edges[document + 1]], kinds, counts[document], lines, num_lines)
        line_ends[document] = num_lines
    return num_lines


@kernel
def _count_text(text: Bytes, kinds: Bytes, counts: Places, lines: Hashes, num_lines: Integer) -> Integer:
    at: Integer = 0
    last: Integer = _NO_CHARACTER
    dots, is_in_run, run_has_letter = 0, False, False
    digits: Integer = 0
    symbols: Integer = 0
    chars, run_chars = 0, 0
    # Of the line: its hash up to the last character that is not white space, and that character; dots before the end.
    state, dots_at_end, is_bullet = np.uint64(0), 0, False
    hash_here = np.uint64(0)
    while at <= len(text):
        is_end = at == len(text)
        # A line feed behind the end closes the last line.
        code_point, width = (10, 1) if is_end else _character(text, at)
        at += width
        kind = kinds[code_point]
        dots = dots + 1 if code_point == 46 else 0
        if not is_end:
            chars += 1
            digits += 48 <= code_point <= 57
            symbols += code_point in (35, _ELLIPSIS) or (dots > 0 and dots % 3 == 0)
        hash_here = absorb(hash_here, np.uint64(code_point))
        if not kind & _IS_SPACE:
            run_chars += 1
            is_in_run, run_has_letter = True, run_has_letter or kind & _IS_LETTER != 0
            if last == _NO_CHARACTER:
                is_bullet = kind & _IS_BULLET != 0
                hash_here = absorb(np.uint64(0), np.uint64(code_point))
            state, last, dots_at_end = hash_here, code_point, dots
            continue
        counts[Count.RUNS] += is_in_run
        counts[Count.ALPHA_RUNS] += is_in_run and run_has_letter
        is_in_run, run_has_letter = False, False
        if code_point == 10:
            if last != _NO_CHARACTER:
                lines[num_lines] = finish(state)
                num_lines += 1
                counts[Count.LINES] += 1
                counts[Count.BULLET_LINES] += is_bullet
                counts[Count.ELLIPSIS_LINES] += last == _ELLIPSIS or dots_at_end >= 3
                counts[Count.TERMINAL_LINES] += kinds[last] & _IS_TERMINAL != 0
            last, is_bullet = _NO_CHARACTER, False
    counts[Count.CHARS], counts[Count.RUN_CHARS] = chars, run_chars
    counts[Count.DIGITS], counts[Count.SYMBOLS] = digits, symbols
    return num_lines


@kernel
def _character(text: Bytes, at: Integer) -> tuple[Integer, Integer]:
    """Return (code point, bytes) of the character at `at`."""
    lead = np.int64(text[at])
    if lead < 0x80:
        return lead, 1
    width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    code_point = lead & (0x7F >> width)
    for offset in range(1, width):
        code_point = code_point << 6 | (np.int64(text[at + offset]) & 0x3F)
    return code_point, width


@kernel
def _count_repeats(offsets: Places, hashes: Hashes, keys: Hashes, seen: Places, distinct: Places, most: Places) -> None:
    """Count in a hash table of open addressing, at most half full, whose used part is cleared for each document."""
    for document in range(len(offsets) - 1):
        values = hashes[offsets[document] : offsets[document + 1]]
        bits = 1
        while 1 << bits < 2 * len(values):
            bits += 1
        seen[: 1 << bits] = 0
        for value in values:
            slot = np.int64(value >> np.uint64(64 - bits))
            while seen[slot] > 0 and keys[slot] != value:
                slot = (slot + 1) & ((1 << bits) - 1)
            distinct[document] += seen[slot] == 0
            keys[slot] = value
            seen[slot] += 1
            most[document] = max(most[document], seen[slot])
