"""One pass over the characters of each text: runs, lines, sentences, symbols, and hashes of lines and paragraphs.

Input is UTF-8 in Arrow buffers, which is always well-formed. Kernels run without the GIL. The loop over characters has
one branch, for the few that need a look around them; all else is arithmetic on flags, as what a character is cannot be
predicted.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.heuristics.counts import Count
from engine.annotate.heuristics.kinds import (
    IS_LETTER,
    IS_SPACE,
    LINE_FEED,
    MAX_C4_RUN_CHARS,
    NEEDS_LOOK,
    character_kinds,
)
from engine.annotate.heuristics.lines import (
    BEGIN,
    IS_TOO_LONG,
    LINE_SIZE,
    look,
    settle_line,
)
from engine.text.batches import text_bounds
from engine.text.instructions import LANES, leading_zeros, num_ones, trailing_zeros, within_64
from engine.text.kernels import Bytes, Hashes, Integer, Places, absorb, finish, inlined, kernel
from engine.text.utf8 import character

_ZERO, _ONE, _ALL = (np.uint64(value) for value in (0, 1, (1 << 64) - 1))
_HASH, _CURLY = ord("#"), ord("{")
_LAST_BIT, _NO_BITS = np.uint64(1 << 63), np.uint8(0)
_RARE_PAIRS = (b"ja", b"va", b"ki", b"ms", b"ps")
"""What `_count_block` looks for, the last letter unseen where a block ends."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """Lines or paragraphs: those of document d are at offsets[d] : offsets[d + 1].

    offsets: int64[num_documents + 1]; hashes: uint64, equal for equal pieces; chars: int64, their characters.
    """

    offsets: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    chars: NDArray[np.int64]


def count_characters(texts: pa.LargeStringArray, counts: NDArray[np.int64]) -> tuple[Pieces, Pieces]:
    """Write what characters tell to counts, int64[num_documents, len(Count)]; return (lines, paragraphs).

    Pieces are without the blank lines, and their lines without the white space around them.
    """
    edges, buffer = text_bounds(texts), texts.buffers()[2]
    data = np.frombuffer(b"" if buffer is None else buffer, dtype=np.uint8)
    most = int(np.count_nonzero(data[edges[0] : edges[-1]] == LINE_FEED)) + len(texts)
    lines, paragraphs = (
        Pieces(np.zeros(len(texts) + 1, np.int64), np.empty(most, np.uint64), np.empty(most, np.int64))
        for _ in range(2)
    )
    _count_texts(
        data, edges, character_kinds(), counts,
        lines.offsets, lines.hashes, lines.chars, paragraphs.offsets, paragraphs.hashes, paragraphs.chars,
    )  # fmt: skip
    return lines, paragraphs


@kernel
def _count_texts(
    data: Bytes, edges: Places, kinds: NDArray[np.uint16], counts: Places,
    line_offsets: Places, line_hashes: Hashes, line_chars: Places,
    paragraph_offsets: Places, paragraph_hashes: Hashes, paragraph_chars: Places,
) -> None:  # fmt: skip
    """Count the characters of each text, write the hashes and lengths of its lines and paragraphs."""
    line, tail = np.zeros(LINE_SIZE, dtype=np.int64), np.empty(LANES, dtype=np.uint8)
    num_paragraphs: Integer = 0
    for document in range(len(edges) - 1):
        begin, end = edges[document], edges[document + 1]
        first = line_offsets[document]
        num_lines = _count_text(data, begin, end, kinds, tail, line, counts[document], line_hashes, line_chars, first)
        line_offsets[document + 1] = num_lines
        # A line remembers whether a blank one stands behind it, in the sign of its length.
        state = np.uint64(0)
        chars: Integer = 0
        for place in range(first, num_lines):
            state = absorb(state, line_hashes[place])
            chars += abs(line_chars[place])
            if line_chars[place] < 0 or place == num_lines - 1:
                paragraph_hashes[num_paragraphs], paragraph_chars[num_paragraphs] = finish(state), chars
                num_paragraphs += 1
                state, chars = np.uint64(0), 0
            line_chars[place] = abs(line_chars[place])
        paragraph_offsets[document + 1] = num_paragraphs
        counts[document, Count.PARAGRAPHS] = num_paragraphs - paragraph_offsets[document]


@kernel
def _count_text(
    data: Bytes, begin: Integer, end: Integer, kinds: NDArray[np.uint16], tail: Bytes, line: Places, counts: Places,
    line_hashes: Hashes, line_chars: Places, num_lines: Integer,
) -> Integer:  # fmt: skip
    """Count the characters of data[begin:end], 64 bytes at a time; write its lines behind `num_lines`, return how many.

    A bit stands for a byte; those of a character of several bytes are alike. What lies behind the end is white space.
    """
    line[:] = 0
    line[BEGIN] = begin
    runs: Integer = 0
    run_begin: Integer = begin
    is_inside, has_letter, spilled = _ZERO, _ZERO, _ZERO
    for base in range(begin, end + 1, LANES):
        source, place = data, np.uint64(base)
        if base + LANES > len(data):
            source, place = tail, _ZERO
            _copy_padded(data, base, end, tail)
        valid = _ALL if base + LANES <= end else (_ONE << np.uint64(end - base)) - _ONE
        spaces, letters, looks, inner = _count_block(source, place, valid, counts)
        spaces |= ~valid | spilled
        spilled = _ZERO
        others = within_64(source, place, _NO_BITS, np.uint8(0xC0), np.uint8(0xFF)) & valid
        while others:
            bit = trailing_zeros(others)
            others &= others - _ONE
            code_point, width = character(data, base + np.int64(bit))
            kind = np.int64(kinds[code_point])
            letters |= np.uint64(kind & IS_LETTER != 0) << bit
            looks |= np.uint64(kind & NEEDS_LOOK != 0) << bit
            if kind & IS_SPACE:
                bits = (_ONE << np.uint64(width)) - _ONE
                spaces |= bits << bit
                spilled = bits >> (np.uint64(64) - bit) if bit > 60 else _ZERO
        solid = ~spaces
        counts[Count.RUN_CHARS] += np.int64(num_ones(solid & ~inner))
        starts = solid & ~(solid << _ONE | is_inside)
        # A letter carries to the place behind its run, once however many there are.
        letters |= has_letter & solid
        carried = solid + letters
        counts[Count.ALPHA_RUNS] += np.int64(num_ones(carried & spaces) + (has_letter & spaces))
        has_letter = np.uint64(carried < solid)
        run_begin = _measure_runs(data, base, solid, starts, is_inside, run_begin, line, counts)
        while looks:
            bit = trailing_zeros(looks)
            looks &= looks - _ONE
            at = base + np.int64(bit)
            if data[at] == LINE_FEED:
                runs_here = runs + np.int64(num_ones(starts & ((_ONE << bit) - _ONE)))
                num_lines = settle_line(
                    data, begin, at, runs_here, kinds, line, counts, line_hashes, line_chars, num_lines
                )
            else:
                look(data, begin, end, at, kinds, counts, line)
        runs += np.int64(num_ones(starts))
        is_inside = solid >> np.uint64(63)
    counts[Count.RUNS] = runs
    return settle_line(data, begin, end, runs, kinds, line, counts, line_hashes, line_chars, num_lines)


@inlined
def _count_block(
    source: Bytes, place: np.uint64, valid: np.uint64, counts: Places
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Count what single bytes tell; return bits for ASCII white space, for letters, for what needs a look, and for
    bytes that do not begin a character.
    """
    spaces = _within(source, place, 0, 9, 13) | _within(source, place, 0, 28, 32)
    letters = _within(source, place, 0x20, ord("a"), ord("z"))
    line_feeds = _within(source, place, 0, LINE_FEED, LINE_FEED) & valid
    looks = line_feeds | _within(source, place, 0, ord("."), ord(".")) | _within(source, place, 0, ord("!"), ord("!"))
    looks |= _within(source, place, 0, ord("?"), ord("?"))
    behind_a, behind_i, behind_s = (
        _within(source, place, 0x20, ord("a"), ord("a")) >> _ONE | _LAST_BIT,
        _within(source, place, 0x20, ord("i"), ord("i")) >> _ONE | _LAST_BIT,
        _within(source, place, 0x20, ord("s"), ord("s")) >> _ONE | _LAST_BIT,
    )
    looks |= _within(source, place, 0x20, ord("j"), ord("j")) & behind_a
    looks |= _within(source, place, 0x20, ord("v"), ord("v")) & behind_a
    looks |= _within(source, place, 0x20, ord("k"), ord("k")) & behind_i
    looks |= _within(source, place, 0x20, ord("m"), ord("m")) & behind_s
    looks |= _within(source, place, 0x20, ord("p"), ord("p")) & behind_s
    inner = _within(source, place, 0, 0x80, 0xBF) & valid
    chars = num_ones(valid) - num_ones(inner)
    counts[Count.CHARS] += np.int64(chars)
    counts[Count.LINE_FEEDS] += np.int64(num_ones(line_feeds))
    counts[Count.DIGITS] += np.int64(num_ones(_within(source, place, 0, ord("0"), ord("9")) & valid))
    counts[Count.HASHES] += np.int64(num_ones(_within(source, place, 0, _HASH, _HASH) & valid))
    counts[Count.CURLY_BRACKETS] += np.int64(num_ones(_within(source, place, 0, _CURLY, _CURLY) & valid))
    return spaces, letters & valid, looks & valid, inner


@inlined
def _within(source: Bytes, place: np.uint64, ones: int, first: int, last: int) -> np.uint64:
    return within_64(source, place, np.uint8(ones), np.uint8(first), np.uint8(last))


@inlined
def _measure_runs(
    data: Bytes, base: Integer, solid: np.uint64, starts: np.uint64, is_inside: np.uint64, run_begin: Integer,
    line: Places, counts: Places,
) -> Integer:  # fmt: skip
    """Measure the runs that end in a block where they may be the longest; return where the open run begins."""
    if is_inside and ~solid:
        end = base + np.int64(trailing_zeros(~solid))
        if end - run_begin > min(counts[Count.LONGEST_RUN], MAX_C4_RUN_CHARS):
            chars = _num_chars(data, run_begin, end)
            counts[Count.LONGEST_RUN] = max(counts[Count.LONGEST_RUN], chars)
            line[IS_TOO_LONG] |= chars > MAX_C4_RUN_CHARS
    if _has_ones(solid, counts[Count.LONGEST_RUN] + 1):
        # With the next start behind the block left out: such a run ends in another.
        inner = starts
        while inner:
            bit = trailing_zeros(inner)
            inner &= inner - _ONE
            length = np.int64(trailing_zeros(~(solid >> bit)))
            if length > counts[Count.LONGEST_RUN] and np.int64(bit) + length < LANES:
                chars = _num_chars(data, base + np.int64(bit), base + np.int64(bit) + length)
                counts[Count.LONGEST_RUN] = max(counts[Count.LONGEST_RUN], chars)
    return base + 63 - np.int64(leading_zeros(starts)) if starts else run_begin


@inlined
def _has_ones(bits: np.uint64, num: Integer) -> bool:
    """Return whether so many neighbouring bits are set, at least one."""
    if num > LANES:
        return False
    length = np.uint64(1)
    while length + length <= np.uint64(num):
        bits &= bits >> length
        length += length
    return bits & bits >> (np.uint64(num) - length) != _ZERO


@kernel
def _num_chars(data: Bytes, begin: Integer, end: Integer) -> Integer:
    num: Integer = 0
    for place in range(begin, end):
        num += data[place] & 0xC0 != 0x80
    return num


@kernel
def _copy_padded(data: Bytes, begin: Integer, end: Integer, tail: Bytes) -> None:
    """Copy data[begin:end] to the front of `tail`."""
    tail[:] = 0
    for place in range(end - begin):
        tail[place] = data[begin + place]
