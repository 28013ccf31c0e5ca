"""Where something may stand that is worth a closer look: one compiled pass over the bytes, without the GIL.

Most text has none: the pass stops only at `@`, digits, colons and the first letter of a key's prefix. What it yields
holds every span of the stage (engine/annotate/pii/__init__.py) and a good deal more; the checks are made in Python.
"""

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.annotate.pii.keys import PREFIXES
from engine.text.kernels import Bytes, Entries, Integer, Places, kernel


class Candidate(IntEnum):
    """What a candidate may be."""

    EMAIL = 0
    """From the `@` to the end of the domain."""
    IPV4 = 1
    """Numbers of up to three digits joined by three full stops."""
    IPV6 = 2
    CARD = 3
    """At least twelve digits, alone or with single spaces or hyphens between them."""
    PHONE = 4
    """Seven to 18 digits, with a plus or with separators between them; or nine to fifteen digits alone. No part of
    something longer, no decimal, nothing like an IPv4 address, no full stops among other separators."""
    IBAN = 5
    KEY = 6
    """From the first byte of a key's prefix to its last one."""


# Of one type, so that numba compiles every kernel once.
_EMAIL, _IPV4, _IPV6, _CARD, _PHONE, _IBAN, _KEY = (np.int64(candidate) for candidate in Candidate)
_WORD, _DIGIT, _HOT, _HEX, _SEPARATOR, _LETTER, _DOMAIN = 1, 2, 4, 8, 16, 32, 64
_AT, _COLON, _DOT, _SPACE, _HYPHEN, _PLUS, _OPEN, _X = (ord(character) for character in "@:. -+(x")
_JOINS_BEFORE, _JOINS_BEHIND, _BORDERS_BEFORE, _BORDERS_BEHIND = (
    tuple(map(ord, characters)) for characters in (".-/,", ".-/,:", "_$%&#<^", "_%@=")
)
_EQUALS, _OTHER_MARKS = ord("="), tuple(map(ord, "+()/"))
_ROOM = 1 << 12
_MAX_DOMAIN, _MAX_IBAN, _MAX_IPV6, _MAX_PHONE = 255, 34, 45, 18
_PREFIX_WIDTH = 16


def find_candidates(data: NDArray[np.uint8], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64[num_candidates, 4]: document, Candidate, start, end; in the order of documents.

    Start and end are bytes from the beginning of the document's text. data, edges: of `text_buffers`.
    """
    found = np.empty((_ROOM, 4), dtype=np.int64)
    number = _find(data, edges, *_tables(), found)
    if number > len(found):
        found = np.empty((number, 4), dtype=np.int64)
        _find(data, edges, *_tables(), found)
    return found[:number]


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint32]]:
    """Return (flags per byte, prefixes uint8[num_prefixes + 1, 16] sorted, uint32[2, 256] bits per byte).

    A prefix can begin with two bytes if bits[0, first] and bits[1, second] have a bit in common: one per pair.
    """
    flags = np.zeros(256, dtype=np.uint8)
    for characters, flag in (
        ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", _WORD | _LETTER | _DOMAIN),
        ("0123456789", _WORD | _DIGIT | _HOT | _HEX | _DOMAIN),
        ("_", _WORD),
        ("abcdefABCDEF", _HEX),
        ("@:", _HOT),
        (" -./()", _SEPARATOR),
        (".-", _DOMAIN),
    ):
        flags[[ord(character) for character in characters]] |= flag
    flags[0x80:] |= _DOMAIN
    ordered: Sequence[bytes] = sorted(prefix.encode() for prefix in PREFIXES)
    prefixes = np.zeros((len(ordered) + 1, _PREFIX_WIDTH), dtype=np.uint8)
    bits = np.zeros((2, 256), dtype=np.uint32)
    pairs = sorted({prefix[:2] for prefix in ordered})
    for number, prefix in enumerate(ordered):
        prefixes[number, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
        for place in range(2):
            bits[place, prefix[place]] |= np.uint32(1 << pairs.index(prefix[:2]))
    return flags, prefixes, bits


@kernel
def _find(data: Bytes, edges: Places, flags: Bytes, prefixes: Bytes, bits: Entries, found: Places) -> Integer:
    """Write the candidates of all texts to `found` as far as it has room; return how many there are."""
    number: Integer = np.int64(0)
    for document in range(len(edges) - 1):
        text = data[edges[document] : edges[document + 1]]
        before = number
        number = _find_in(text, flags, prefixes, bits, found, number)
        for row in range(before, min(number, len(found))):
            found[row, 0] = document
    return number


@kernel
def _find_in(text: Bytes, flags: Bytes, prefixes: Bytes, bits: Entries, found: Places, number: Integer) -> Integer:
    at: Integer = np.int64(0)
    word = np.uint8(0)
    begun = np.uint32(0)
    while at < len(text):
        byte = text[at]
        flag = flags[byte]
        # Bits of the pairs that the last two bytes can be, behind a border; no branch, it would be guessed wrong.
        pair = begun & bits[1, byte]
        begun = bits[0, byte] * np.uint32(word ^ 1)
        is_behind_word = word != 0
        word = flag & np.uint8(_WORD)
        if not (flag & _HOT) and not pair:
            at += 1
            continue
        if flag & _DIGIT:
            at, number = _digits(text, flags, at, not is_behind_word, found, number)
            word, begun = np.uint8(1), np.uint32(0)
            continue
        if byte == _AT:
            end = _domain_end(text, flags, at + 1)
            if end > at and at > 0 and (flags[text[at - 1]] & _DOMAIN or text[at - 1] == 95 or text[at - 1] == 43):
                number = _emit(found, number, _EMAIL, at, end)
        elif byte == _COLON:
            end, number = _colons(text, flags, at, found, number)
            if end > at + 1:
                at = end
                word, begun = flags[text[at - 1]] & np.uint8(_WORD), np.uint32(0)
                continue
        elif not (byte == _HYPHEN and at > 1 and text[at - 2] == _HYPHEN):
            length = _prefix_length(text, prefixes, at - 1)
            if length:
                number = _emit(found, number, _KEY, at - 1, at - 1 + length)
        at += 1
    return number


@kernel
def _emit(found: Places, number: Integer, kind: Integer, start: Integer, end: Integer) -> Integer:
    if number < len(found):
        found[number, 1], found[number, 2], found[number, 3] = kind, start, end
    return number + 1


@kernel
def _prefix_length(text: Bytes, prefixes: Bytes, at: Integer) -> Integer:
    """Return the length of the prefix that stands at `at`; 0 where none does."""
    for row in range(len(prefixes) - 1):
        length: Integer = np.int64(0)
        while length < _PREFIX_WIDTH and prefixes[row, length] and at + length < len(text):
            if text[at + length] != prefixes[row, length]:
                break
            length += 1
        if length == _PREFIX_WIDTH or prefixes[row, length] == 0:
            return length
    return 0


@kernel
def _domain_end(text: Bytes, flags: Bytes, start: Integer) -> Integer:
    """Return the end of what may be a domain with a full stop before a letter; -1 where there is none."""
    end, has_letter_behind_dot = start, False
    while end < len(text) and end - start < _MAX_DOMAIN and flags[text[end]] & _DOMAIN:
        if text[end - 1] == _DOT and end > start + 1 and (text[end] >= 0x80 or flags[text[end]] & _LETTER):
            has_letter_behind_dot = True
        end += 1
    return end if has_letter_behind_dot and text[start] != _DOT else -1


@kernel
def _colons(text: Bytes, flags: Bytes, at: Integer, found: Places, number: Integer) -> tuple[Integer, Integer]:
    """Look at the run of hexadecimal digits, colons and full stops around a colon; return (where to go on, number)."""
    start, end, colons = at, at, np.int64(0)
    group, longest = np.int64(0), np.int64(0)
    while start > 0 and at - start < 5 and flags[text[start - 1]] & _HEX:
        start -= 1
    while end < len(text) and (flags[text[end]] & _HEX or text[end] == _COLON or text[end] == _DOT):
        colons += text[end] == _COLON
        group = group + 1 if flags[text[end]] & _HEX else np.int64(0)
        longest = max(longest, group)
        end += 1
    # What follows may be an e-mail address, a key or a number of its own.
    if (end < len(text) and flags[text[end]] & _WORD) or (start > 0 and flags[text[start - 1]] & _WORD):
        return at + 1, number
    while end > at + 1 and text[end - 1] == _DOT:
        end -= 1
    # A longer group is a number that stands behind colons.
    if 2 <= colons <= 8 and end - start <= _MAX_IPV6 and longest <= 4:
        return end, _emit(found, number, _IPV6, start, end)
    return at + 1, number


@kernel
def _digits(
    text: Bytes, flags: Bytes, at: Integer, is_at_border: bool, found: Places, number: Integer
) -> tuple[Integer, Integer]:
    """Look at groups of digits and what separates them, from a digit on; return (where to go on, number)."""
    if not is_at_border:
        if at >= 2 and at + 1 < len(text) and flags[text[at + 1]] & _DIGIT:
            number = _iban(text, flags, at - 2, found, number)
        while at < len(text) and flags[text[at]] & _DIGIT:
            at += 1
        return at, number
    start = at
    while start > 0 and at - start < 2 and (text[start - 1] == _PLUS or text[start - 1] == _OPEN):
        start -= 1
    total: Integer = np.int64(0)
    groups: Integer = np.int64(0)
    # Runs of groups joined by full stops, and by single spaces or hyphens: where they begin, their groups or digits.
    dotted_start, dotted, card_start = at, 0, at
    card: Integer = np.int64(0)
    end: Integer = at
    last_end: Integer = at
    goes_on = True
    while goes_on:
        group_end: Integer = end
        while group_end < len(text) and flags[text[group_end]] & _DIGIT:
            group_end += 1
        total += group_end - end
        groups += 1
        dotted += 1
        card += group_end - end
        after, joint, goes_on = _next_group(text, flags, group_end)
        if joint != _DOT:
            if dotted >= 4:
                number = _emit(found, number, _IPV4, dotted_start, group_end)
            dotted_start, dotted = after, 0
        if joint not in (_SPACE, _HYPHEN):
            if card >= 12:
                number = _emit(found, number, _CARD, card_start, group_end)
            card_start, card = after, 0
        last_end, end = group_end, after
    is_marked = groups > 1 or start < at
    if ((is_marked and 7 <= total <= _MAX_PHONE) or 9 <= total <= 15) and (
        _stands_alone(text, flags, start, last_end) and not _has_other_form(text, start, last_end, groups)
    ):
        number = _emit(found, number, _PHONE, start, last_end)
    return last_end, number


@kernel
def _stands_alone(text: Bytes, flags: Bytes, start: Integer, end: Integer) -> bool:
    """Return False where a telephone number cannot stand (engine.annotate.pii.phones, which looks more closely)."""
    if start > 0:
        before = text[start - 1]
        if flags[before] & (_LETTER | _DIGIT) or before in _BORDERS_BEFORE:
            return False
        if start > 1 and flags[text[start - 2]] & (_LETTER | _DIGIT):
            if before in _JOINS_BEFORE:
                return False
            if before in (_COLON, _EQUALS):
                return True
    if end == len(text):
        return True
    behind = text[end]
    # An x begins an extension.
    if (flags[behind] & _LETTER and behind | 32 != _X) or behind in _BORDERS_BEHIND:
        return False
    return not (behind in _JOINS_BEHIND and end + 1 < len(text) and flags[text[end + 1]] & _DIGIT)


@kernel
def _has_other_form(text: Bytes, start: Integer, end: Integer, groups: Integer) -> bool:
    """Return whether groups are a decimal, four with full stops, or have full stops and other separators."""
    dots, others, spaces = np.int64(0), np.int64(0), np.int64(0)
    for byte in text[start:end]:
        dots += byte == _DOT
        spaces += byte in (_SPACE, _HYPHEN)
        others += byte in _OTHER_MARKS
    if dots and spaces:
        return True
    return dots == groups - 1 and groups in (2, 4) and not others


@kernel
def _next_group(text: Bytes, flags: Bytes, end: Integer) -> tuple[Integer, Integer, bool]:
    """Return (start of the next group of digits, the one separator before it or 0, whether there is such a group)."""
    after: Integer = end
    while after < len(text) and after - end < 3 and flags[text[after]] & _SEPARATOR:
        after += 1
    if after == end or after == len(text) or not flags[text[after]] & _DIGIT:
        return after, np.int64(0), False
    return after, np.int64(text[end]) if after == end + 1 else np.int64(0), True


@kernel
def _iban(text: Bytes, flags: Bytes, start: Integer, found: Places, number: Integer) -> Integer:
    """Emit letters and digits from two letters on, at least fifteen, with single spaces or hyphens between them."""
    if not (flags[text[start]] & _LETTER and flags[text[start + 1]] & _LETTER):
        return number
    if start > 0 and flags[text[start - 1]] & _WORD:
        return number
    end, characters = start, np.int64(0)
    while end < len(text) and characters <= _MAX_IBAN:
        if flags[text[end]] & (_LETTER | _DIGIT):
            characters += 1
        elif not (text[end] in (_SPACE, _HYPHEN) and end + 1 < len(text) and flags[text[end + 1]] & (_LETTER | _DIGIT)):
            break
        end += 1
    return _emit(found, number, _IBAN, start, end) if characters >= 15 else number
