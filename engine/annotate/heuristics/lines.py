"""Lines of heuristics: what single characters of a line stand for, and what a whole line is counted as."""

import numpy as np
from numpy.typing import NDArray

from engine.annotate.heuristics.counts import Count
from engine.annotate.heuristics.kinds import (
    DOT,
    IS_BULLET,
    IS_CLOSER,
    IS_ELLIPSIS,
    IS_LETTER,
    IS_PUNCTUATION,
    IS_SPACE,
    IS_STOP,
    IS_TERMINAL,
    IS_WIDE_STOP,
    LINE_FEED,
    MIN_C4_RUNS,
    PHRASES,
)
from engine.text.instructions import load_64, num_ones
from engine.text.kernels import Bytes, Hashes, Integer, Places, absorb, finish, kernel
from engine.text.utf8 import character

BEGIN, RUNS, SENTENCES, IS_JAVASCRIPT, IS_POLICY, IS_TOO_LONG, HAS_LINE, LINE_SIZE = range(8)
"""What is known of an open line: where it begins, runs of the text before it, ends of sentences within it, whether it
holds phrases or a run too long for C4, whether a line that is not blank came before it."""
_ONE, _HIGH_BITS = np.uint64(1), np.uint64(0x8080808080808080)
_PHRASE_BYTES = np.frombuffer(b"".join(PHRASES), dtype=np.uint8)
_PHRASE_BEGINS = np.cumsum([0, *(len(phrase) for phrase in PHRASES)])
_RARE_PLACES = np.array(list(PHRASES.values()))
_RARE_LETTERS = np.array([phrase[place] for phrase, place in PHRASES.items()])
_JAVASCRIPT, _LOREM_IPSUM = 0, 1


@kernel
def look(
    data: Bytes, begin: Integer, end: Integer, at: Integer, kinds: NDArray[np.uint16], counts: Places, line: Places
) -> None:
    """Count what a character stands for together with those around it: ellipses, ends of sentences, phrases."""
    code_point, width = character(data, at)
    kind = kinds[code_point]
    if kind & IS_LETTER:
        for phrase in range(len(_RARE_LETTERS)):
            if code_point | 0x20 == _RARE_LETTERS[phrase] and _stands(data, begin, end, at, phrase):
                counts[Count.LOREM_IPSUMS] += phrase == _LOREM_IPSUM
                line[IS_JAVASCRIPT] |= phrase == _JAVASCRIPT
                line[IS_POLICY] |= phrase > _LOREM_IPSUM
        return
    line[SENTENCES] += _is_followed(data, at + width, end, kind & IS_WIDE_STOP != 0, kinds)
    if kind & IS_ELLIPSIS:
        counts[Count.ELLIPSES] += 1
    elif code_point == DOT and (at == begin or data[at - 1] != DOT):
        behind = at
        while behind < end and data[behind] == DOT:
            behind += 1
        counts[Count.ELLIPSES] += (behind - at) // 3


@kernel
def _is_followed(data: Bytes, behind: Integer, end: Integer, is_wide: bool, kinds: NDArray[np.uint16]) -> bool:
    """Return whether another sentence of the same line begins behind a stop; where stops follow, the last one tells."""
    at = behind
    has_space = False
    while at < end and data[at] != LINE_FEED:
        code_point, width = character(data, at)
        kind = kinds[code_point]
        if kind & (IS_STOP | IS_WIDE_STOP):
            return False
        if kind & IS_SPACE:
            has_space = True
        elif not kind & IS_CLOSER or has_space:
            # A small letter goes on with the sentence: the stop was that of an abbreviation.
            return is_wide or (has_space and not 97 <= code_point <= 122)
        at += width
    return False


@kernel
def _stands(data: Bytes, begin: Integer, end: Integer, at: Integer, phrase: Integer) -> bool:
    """Return whether a phrase stands in data[begin:end], its rare letter at `at`, in ASCII letters of any case."""
    first, last = _PHRASE_BEGINS[phrase], _PHRASE_BEGINS[phrase + 1]
    here = at - _RARE_PLACES[phrase]
    if here < begin or here + last - first > end:
        return False
    for place in range(first, last):
        byte = data[here + place - first]
        if (byte + 32 if 65 <= byte <= 90 else byte) != _PHRASE_BYTES[place]:
            return False
    return True


@kernel
def settle_line(
    data: Bytes, text_begin: Integer, end: Integer, runs: Integer, kinds: NDArray[np.uint16], line: Places,
    counts: Places, hashes: Hashes, chars: Places, num_lines: Integer,
) -> Integer:  # fmt: skip
    """Count a line by what it holds and begin the next; return how many lines there are. A blank one leaves a mark."""
    num_runs = runs - line[RUNS]
    if num_runs > 0:
        first, last, first_kind, kind = _trim(data, line[BEGIN], end, kinds)
        hashes[num_lines], chars[num_lines] = _hash_bytes(data, first, last)
        ends_in_dots = last - first >= 3 and data[last - 1] == DOT and data[last - 2] == DOT and data[last - 3] == DOT
        sentences = line[SENTENCES] + 1
        counts[Count.LINES] += 1
        counts[Count.LINE_CHARS] += chars[num_lines]
        counts[Count.BULLET_LINES] += first_kind & IS_BULLET != 0
        counts[Count.ELLIPSIS_LINES] += ends_in_dots or kind & IS_ELLIPSIS != 0
        counts[Count.TERMINAL_LINES] += kind & IS_TERMINAL != 0
        counts[Count.PUNCTUATION_LINES] += kind & IS_PUNCTUATION != 0
        counts[Count.LINES_UNDER_3_RUNS] += num_runs < 3
        counts[Count.LINES_UNDER_5_RUNS] += num_runs < 5
        counts[Count.LINES_UNDER_30_CHARS] += chars[num_lines] < 30
        counts[Count.JAVASCRIPT_LINES] += line[IS_JAVASCRIPT]
        counts[Count.POLICY_LINES] += line[IS_POLICY]
        counts[Count.SENTENCES] += sentences
        is_kept = kind & IS_TERMINAL != 0 and not ends_in_dots and num_runs >= MIN_C4_RUNS
        if is_kept and not (line[IS_TOO_LONG] or line[IS_JAVASCRIPT] or line[IS_POLICY]):
            counts[Count.C4_LINES] += 1
            counts[Count.C4_SENTENCES] += sentences
        num_lines += 1
    elif line[BEGIN] > text_begin and line[HAS_LINE]:
        chars[num_lines - 1] = -abs(chars[num_lines - 1])
    has_line = line[HAS_LINE] | (num_runs > 0)
    line[:] = 0
    line[BEGIN], line[RUNS], line[HAS_LINE] = end + 1, runs, has_line
    return num_lines


@kernel
def _trim(
    data: Bytes, begin: Integer, end: Integer, kinds: NDArray[np.uint16]
) -> tuple[Integer, Integer, Integer, Integer]:
    """Return (begin, end, kind of the first character, kind of the last) without the white space around a line."""
    first, last = begin, end
    code_point, width = character(data, first)
    while kinds[code_point] & IS_SPACE:
        first += width
        code_point, width = character(data, first)
    first_kind = np.int64(kinds[code_point])
    while True:
        place = last - 1
        while data[place] & 0xC0 == 0x80:
            place -= 1
        kind = np.int64(kinds[character(data, place)[0]])
        if not kind & IS_SPACE:
            return first, last, first_kind, kind
        last = place


@kernel
def _hash_bytes(data: Bytes, begin: Integer, end: Integer) -> tuple[np.uint64, Integer]:
    """Return (hash, characters) of data[begin:end]; hashes are made like those of words."""
    state, at, inner = np.uint64(0), begin, np.uint64(0)
    while at + 8 <= end:
        eight = load_64(data, np.uint64(at))
        inner += num_ones(eight & ~(eight << _ONE) & _HIGH_BITS)
        state = absorb(state, eight)
        at += 8
    rest = np.uint64(0)
    if at + 8 <= len(data):
        rest = load_64(data, np.uint64(at)) & ((_ONE << np.uint64(8 * (end - at))) - _ONE)
    else:
        for place in range(at, end):
            rest |= np.uint64(data[place]) << np.uint64(8 * (place - at))
    inner += num_ones(rest & ~(rest << _ONE) & _HIGH_BITS)
    # The length tells apart what only differs in zeros at the end.
    return finish(absorb(absorb(state, rest), np.uint64(end - begin))), end - begin - np.int64(inner)
