"""The compiled loops that find markup in the bytes of texts and blank it; `engine.text.markup` says what markup is.

Places where markup may begin are found many bytes at a time by the two bytes it begins with. They are then tried one by
one, from the end of a text to its beginning: each looks only ahead, at bytes that are final already. So what is left is
free of markup, and blanking it again changes nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.text.instructions import LANES, nonzero_64, trailing_zeros
from engine.text.kernels import Bytes, Entries, Instruction, Integer, Places, inlined, instruction, kernel
from engine.text.unicode_tables import KIND_SHIFT, NUM_CODE_POINTS, SEPARATOR

Nodes = NDArray[np.uint16]

REACH = 512
"""Most bytes of a tag, a comment or a link target, with the characters that enclose them."""
ARGUMENT_REACH = 64
"""Most bytes of the argument of a command, with its braces."""
MOST_AMPERSANDS = 4
"""How often an ampersand is looked for that was escaped once more: &amp;amp;nbsp; is one entity."""
DECIMAL_DIGITS, HEX_DIGITS = 7, 6
"""Most digits of a numeric entity."""

TAG, ENTITY, AMPERSAND, COMMAND, STYLE, SPACING = 1, 2, 4, 8, 16, 32
"""What a name is, as bits. STYLE and SPACING commands are blanked, SPACING ones with their argument; others stay."""
TAGS, ENTITIES, COMMANDS = 1, 2, 3
"""The nodes of the tree of names that the three kinds of names begin at. Node 0 is that of no name."""
COLUMNS = 64
"""Numbers of a node: column 0 says what the name that ends here is, the others which node follows."""
LETTER_COLUMNS = 52
"""Columns 1 to 52 are those of letters, the ten behind them those of digits."""

_BLOCK_BYTES = 4096
_ONE = np.uint64(1)
_SPACE, _EXCLAMATION, _HASH, _AMPERSAND, _OPEN, _CLOSE = 32, 33, 35, 38, 40, 41
_STAR, _HYPHEN, _SLASH, _SEMICOLON, _LESS, _EQUALS, _GREATER = 42, 45, 47, 59, 60, 61, 62
_BACKSLASH, _CLOSE_SQUARE, _GRAVE, _OPEN_BRACE, _CLOSE_BRACE = 92, 93, 96, 123, 125
_SMALL_U, _LINE_FEED = 117, 10
_SPACES = tuple(b" \n\t\r\f")
_BLANKS, _LINE_ENDS = tuple(b" \t"), tuple(b"\n\r")
_ESCAPED, _ESCAPED_LINE_ENDS, _HEX_SIGNS = tuple(b"nrt"), tuple(b"nr"), tuple(b"xX")
_NOT_IN_TARGETS, _ONLY_IN_ADDRESSES, _SIGNS_OF_LANGUAGES = tuple(b'\x7f<>"[]`'), tuple(b"/#:."), tuple(b"+-.#_")


def scratch() -> Bytes:
    """Return what `blank` marks places in."""
    return np.zeros(_BLOCK_BYTES + LANES, dtype=np.uint8)


@instruction
def _unowned(_typing: Any, array: Any) -> Instruction:
    """Return an array as one that owns nothing, so that no function it is passed to counts references to it."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        unowned = context.make_array(signature.args[0])(context, builder, arguments[0])
        unowned.meminfo = unowned.meminfo.type(None)
        return unowned._getvalue()

    return array(array), emit


@inlined
def _may_begin(here: np.uint8, after: np.uint8) -> bool:
    """Do two bytes begin what may be markup? Without a branch, so that many are asked at once."""
    lower = after | 0x20
    is_letter = (lower >= 97) & (lower <= 122)
    is_first = (here == _LESS) | (here == _AMPERSAND) | (here == _BACKSLASH)
    is_sign = (after == _SLASH) | (after == _EXCLAMATION) | (after == _HASH) | (after == _BACKSLASH)
    is_fence = (here == _GRAVE) & (after == _GRAVE)
    return (is_first & (is_letter | is_sign)) | ((here == _CLOSE_SQUARE) & (after == _OPEN)) | is_fence


@kernel
def first_with_candidates(source: Bytes, begins: Places, ends: Places) -> int:
    """Return the first text in which markup may begin, their number where there is none."""
    for document in range(len(begins)):
        begin, last = np.uint64(begins[document]), np.uint64(max(ends[document] - 1, begins[document]))
        while begin < last:
            found = False
            for place in range(begin, min(last, begin + np.uint64(_BLOCK_BYTES))):
                found |= _may_begin(source[place], source[place + _ONE])
            if found:
                return document
            begin += np.uint64(_BLOCK_BYTES)
    return len(begins)


@kernel
def blank(
    source: Bytes, begins: Places, ends: Places, first: int, entries: Entries, nodes: Nodes, columns: Bytes,
    marks: Bytes, target: Bytes,
) -> None:  # fmt: skip
    """Blank the markup of the texts from the first on in `target`, which is a copy of `source`."""
    source, target, entries, nodes, columns = (
        _unowned(source), _unowned(target), _unowned(entries), _unowned(nodes), _unowned(columns),
    )  # fmt: skip
    for document in range(first, len(begins)):
        begin, end = begins[document], ends[document]
        block_end = max(end - 1, begin)
        while block_end > begin:
            num = min(block_end - begin, _BLOCK_BYTES)
            last = np.uint64(block_end - 1)
            # Backwards, so that the lowest bit of a mask is the last place.
            for place in range(np.uint64(num)):
                marks[place] = _may_begin(source[last - place], source[last - place + _ONE])
            for place in range(np.uint64(num), np.uint64(num + LANES)):
                marks[place] = 0
            for base in range(np.uint64(0), np.uint64(num), np.uint64(LANES)):
                found = nonzero_64(marks, base)
                while found != np.uint64(0):
                    at = np.int64(last - base - trailing_zeros(found))
                    found &= found - _ONE
                    stop = _end_of_markup(source, target, at, end, entries, nodes, columns)
                    for place in range(at, stop):
                        target[place] = _SPACE
            block_end -= num


@inlined
def _end_of_markup(
    source: Bytes, text: Bytes, at: Integer, end: Integer, entries: Entries, nodes: Nodes, columns: Bytes
) -> Integer:
    """Return where the markup ends that begins at text[at], `at` where it is none. The text ends at `end`.

    text: what is blanked already; source: the same as it was.
    """
    first = text[at]
    if first == _LESS:
        return _end_of_tag(text, at, min(end, at + REACH), nodes, columns)
    if first == _AMPERSAND:
        return _end_of_entity(text, at, end, entries, nodes, columns)
    if first == _BACKSLASH:
        return _end_of_command(text, at, end, entries, nodes, columns)
    if first == _CLOSE_SQUARE:
        return _end_of_target(source, at, min(end, at + REACH))
    return _end_of_fence(source, text, at, end)


@inlined
def _is_space(byte: np.uint8) -> bool:
    return byte in _SPACES


@inlined
def _skip_spaces(text: Bytes, at: Integer, limit: Integer) -> Integer:
    while at < limit and _is_space(text[at]):
        at += 1
    return at


@inlined
def _end_of_tag(text: Bytes, at: Integer, limit: Integer, nodes: Nodes, columns: Bytes) -> Integer:
    """Return the end of the tag or comment at text[at], `at` where there is none that ends before `limit`."""
    if text[at + 1] == _EXCLAMATION:
        return _end_of_comment(text, at, limit)
    # A slash that JSON escapes is one too.
    begin = at + 1 + (text[at + 1] == _BACKSLASH)
    is_closing = begin < limit and text[begin] == _SLASH
    if begin == at + 2 and not is_closing:
        return at
    begin += is_closing
    place, node, num_capitals, num_small = begin, TAGS, 0, 0
    while place < limit and columns[text[place]] != 0:
        num_capitals += text[place] < 91 and text[place] > 64
        num_small += text[place] > 96
        lower = text[place] | 0x20
        node = nodes[node * COLUMNS + columns[lower]]
        if node == 0:
            return at
        place += 1
    if nodes[node * COLUMNS] & TAG == 0 or (num_capitals > 0 and num_small > 0):
        return at
    after_name = place
    place = _skip_spaces(text, place, limit)
    stop = _end_of_brackets(text, place, limit)
    if stop > place:
        return stop
    if is_closing or place == after_name:
        return at
    if after_name - begin == 1:
        place = _skip_attribute_name(text, place, limit)
        if place == limit or text[place] != _EQUALS:
            return at
    # A tag that is never closed must not take the next lines with it.
    place = after_name
    while place < limit and text[place] != _LESS and text[place] != _LINE_FEED:
        if text[place] == _GREATER:
            return place + 1
        place += 1
    return at


@inlined
def _end_of_brackets(text: Bytes, at: Integer, limit: Integer) -> Integer:
    """Return the end of `>`, `/>` or `\\/>` at text[at], else `at`."""
    place = at
    if place < limit and text[place] == _BACKSLASH:
        place += 1
    if place < limit and text[place] == _SLASH:
        place += 1
    elif place > at:
        return at
    return place + 1 if place < limit and text[place] == _GREATER else at


@inlined
def _skip_attribute_name(text: Bytes, at: Integer, limit: Integer) -> Integer:
    """Return where the name at text[at] and the white space behind it end; `limit` where there is none."""
    place = at
    while place < limit and not _is_space(text[place]):
        if text[place] == _EQUALS or text[place] == _LESS or text[place] == _GREATER:
            break
        place += 1
    return _skip_spaces(text, place, limit) if place > at else limit


@inlined
def _end_of_comment(text: Bytes, at: Integer, limit: Integer) -> Integer:
    if at + 4 > limit or text[at + 2] != _HYPHEN or text[at + 3] != _HYPHEN:
        return at
    for place in range(at + 4, limit - 2):
        if text[place] == _HYPHEN:
            if text[place + 1] == _HYPHEN and text[place + 2] == _GREATER:
                return place + 3
        elif text[place] == _LESS and text[place + 1] == _EXCLAMATION and text[place + 2] == _HYPHEN:
            return at
    return at


@inlined
def _end_of_entity(text: Bytes, at: Integer, end: Integer, entries: Entries, nodes: Nodes, columns: Bytes) -> Integer:
    """Return the end of the entity at text[at], `at` where it is none or stands for a letter, a number or a mark."""
    begin = stop = at
    for _ in range(MOST_AMPERSANDS):
        # Behind an escaped ampersand stands what follows it in an entity, if it is one.
        begin = stop if stop > at else at + 1
        if begin < end and text[begin] == _HASH:
            number_end = _end_of_numeric_entity(text, begin, end, entries)
            return number_end if number_end > begin else stop
        place, node = begin, ENTITIES
        while place < end and columns[text[place]] != 0 and node != 0:
            node = nodes[node * COLUMNS + columns[text[place]]]
            place += 1
        kind = nodes[node * COLUMNS]
        if kind & ENTITY == 0 or place >= end or text[place] != _SEMICOLON:
            return stop
        stop = place + 1
        if kind & AMPERSAND == 0:
            return stop
    return stop


@inlined
def _end_of_numeric_entity(text: Bytes, at: Integer, end: Integer, entries: Entries) -> Integer:
    """Return the end of `#39;` or `#x27;` at text[at], `at` where it is none or no separator."""
    place, code_point = at + 1, 0
    if place < end and (text[place] in _HEX_SIGNS):
        place += 1
        begin, most, base = place, HEX_DIGITS, 16
    else:
        begin, most, base = place, DECIMAL_DIGITS, 10
    while place < end and place - begin < most:
        digit = _digit(text[place])
        if digit >= base:
            break
        code_point = code_point * base + digit
        place += 1
    if place == begin or place >= end or text[place] != _SEMICOLON or not _separates(code_point, entries):
        return at
    return place + 1


@inlined
def _digit(byte: np.uint8) -> Any:
    """Return the value of a hexadecimal digit, 16 of any other byte."""
    lower = byte | 0x20
    return byte - 48 if 48 <= byte <= 57 else lower - 87 if 97 <= lower <= 102 else 16


@inlined
def _separates(code_point: Integer, entries: Entries) -> Any:
    return code_point < NUM_CODE_POINTS and entries[code_point] >> KIND_SHIFT & 3 == SEPARATOR


@inlined
def _end_of_command(text: Bytes, at: Integer, end: Integer, entries: Entries, nodes: Nodes, columns: Bytes) -> Integer:
    """Return the end of the command or escape at text[at], `at` where it stays."""
    place, node = at + 1, COMMANDS
    while place < end and columns[text[place]] != 0 and columns[text[place]] <= LETTER_COLUMNS and node != 0:
        node = nodes[node * COLUMNS + columns[text[place]]]
        place += 1
    kind = nodes[node * COLUMNS]
    if kind & SPACING != 0:
        return _end_of_argument(text, place, end)
    if kind & STYLE != 0:
        return place
    if kind & COMMAND != 0 or at + 1 >= end:
        return at
    second = text[at + 1]
    if second in _ESCAPED:
        return at + 2
    if second != _SMALL_U or at + 6 > end:
        return at
    code_point = 0
    for place in range(at + 2, at + 6):
        digit = _digit(text[place])
        if digit >= 16:
            return at
        code_point = code_point * 16 + digit
    return at + 6 if _separates(code_point, entries) else at


@inlined
def _end_of_argument(text: Bytes, at: Integer, end: Integer) -> Integer:
    """Return the end of `{...}` or `*{...}` at text[at], where it is short and holds no brace, else `at`."""
    place = at + 1 if at < end and text[at] == _STAR else at
    if place >= end or text[place] != _OPEN_BRACE:
        return at
    for stop in range(place + 1, min(end, place + ARGUMENT_REACH)):
        if text[stop] == _CLOSE_BRACE:
            return stop + 1
        if text[stop] == _OPEN_BRACE:
            return at
    return at


@inlined
def _end_of_target(source: Bytes, at: Integer, limit: Integer) -> Integer:
    """Return the end of the link target at source[at], which `](` begins, `at` where it is none."""
    depth: Integer = 1
    is_address = False
    for place in range(at + 2, limit):
        byte = source[place]
        if byte <= _SPACE or byte in _NOT_IN_TARGETS:
            return at
        is_address |= byte in _ONLY_IN_ADDRESSES
        depth += np.int64(byte == _OPEN) - np.int64(byte == _CLOSE)
        if depth == 0:
            return place + 1 if is_address else at
    return at


@inlined
def _end_of_fence(source: Bytes, text: Bytes, at: Integer, end: Integer) -> Integer:
    """Return the end of the word behind ``` at text[at] that ends its line, `at` where there is none."""
    if at + 2 >= end or text[at + 2] != _GRAVE:
        return at
    place = at + 3
    limit = min(end, place + ARGUMENT_REACH)
    while place < limit:
        byte, lower = text[place], text[place] | 0x20
        if not (byte in _SIGNS_OF_LANGUAGES or 48 <= byte <= 57 or 97 <= lower <= 122):
            break
        place += 1
    if place == at + 3:
        return at
    after = place
    while after < end and after < limit and text[after] in _BLANKS:
        after += 1
    if after == end or text[after] in _LINE_ENDS:
        return place
    # An escaped line feed is blank by now, or stands before letters that make it a command.
    is_escape = place + 1 < end and source[place] == _BACKSLASH
    return place if is_escape and source[place + 1] in _ESCAPED_LINE_ENDS else at
