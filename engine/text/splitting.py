"""The compiled loops that split texts into words and hash them; `engine.text.words` says what words and hashes are.

A text is folded into a scratch block with zeros between its words; edges of words then come from 64-bit masks, 64 bytes
at a time, and words are hashed eight bytes at a time.
"""

from typing import Any

import numpy as np

from engine.text.instructions import LANES, fold_8, fold_64, load_64, nonzero_64, num_ones, store_64, trailing_zeros
from engine.text.kernels import SEED, Bytes, Entries, Hashes, Integer, Places, absorb, finish, inlined, kernel
from engine.text.unicode_tables import FOLDS, KIND_SHIFT, LETTER, LOW_BITS, MARK, ROW_BYTES, SEPARATOR, SOLO

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_LOW, _FOLDS, _KIND_SHIFT, _KINDS = (np.uint32(value) for value in (LOW_BITS, FOLDS, KIND_SHIFT, 3))
_SEPARATOR, _LETTER, _SOLO, _MARK = (np.uint32(kind) for kind in (SEPARATOR, LETTER, SOLO, MARK))
_EIGHT, _FIRST_HIGH_BIT, _HIGH_BITS = np.uint64(8), np.uint64(0x80), np.uint64(0x8080808080808080)
_SIX_BITS, _ROW_BYTES = np.uint32(0x3F), np.uint64(ROW_BYTES)
_NOWHERE = -1

BLOCK_BYTES = 8192
"""Folded bytes of a text that are split at a time."""
_SCRATCH_BYTES = BLOCK_BYTES + 3 * LANES
"""Room for what a block is filled with at once beyond its size, at most 64 bytes, and for 64 loaded behind that."""


def split(
    data: Bytes, text_begins: Places, text_ends: Places, entries: Entries, foldings: Bytes,
    offsets: Places, hashes: Hashes, starts: Places | None, ends: Places | None, chars: Entries | None = None,
) -> None:  # fmt: skip
    """Write the words of texts behind the offsets[0] words already there, and the rest of `offsets`.

    Text d is data[text_begins[d] : text_ends[d]]. Where `starts` and `ends` are None, no positions are written, where
    `chars` is None, no lengths, by kernels compiled without them.
    """
    folded = np.empty(_SCRATCH_BYTES, dtype=np.uint8)
    edges = np.empty(_SCRATCH_BYTES, dtype=np.uint32)
    origins = None if starts is None else np.empty(_SCRATCH_BYTES, dtype=np.int64)
    tail = np.empty(2 * LANES, dtype=np.uint8)
    _split_texts(
        data, text_begins, text_ends, entries, foldings, folded, edges, origins, tail, offsets, hashes,
        starts, ends, chars,
    )  # fmt: skip


@kernel
def count_characters(data: Bytes, text_begins: Places, text_ends: Places, counts: Places) -> None:
    """Write how many bytes of each text begin a character: all but those of the form 10xxxxxx."""
    for document in range(len(text_begins)):
        count = 0
        for byte in data[text_begins[document] : text_ends[document]]:
            count += byte & 0xC0 != 0x80
        counts[document] = count


@kernel
def _split_texts(
    data: Bytes, text_begins: Places, text_ends: Places, entries: Entries, foldings: Bytes,
    folded: Bytes, edges: Entries, origins: Places | None, tail: Bytes,
    offsets: Places, hashes: Hashes, starts: Places | None, ends: Places | None, chars: Entries | None,
) -> None:  # fmt: skip
    """Split texts a block at a time: fold it, find the edges of its words, hash them.

    folded: uint8, the folded bytes of a block, zeros between its words; edges: the places in `folded` where a word
    begins and where it ends, by turns; origins: the byte of the text that each folded byte comes from.
    """
    for document in range(len(text_begins)):
        begin, at, end = text_begins[document], text_begins[document], text_ends[document]
        num_words = offsets[document]
        filled: Integer = 0
        inside: Integer = SEPARATOR
        unplaced: Integer = _NOWHERE
        state, chars_before = SEED, _ZERO
        while at < end:
            source, skipped, stop = data, 0, min(end, len(data) - LANES + 1)
            if at >= stop:
                # Loads of 64 bytes would leave `data`: its last bytes are split from a copy.
                source, skipped, stop = tail, at, end
                _copy_padded(data, at, end, tail)
            at, filled, inside, unplaced = _fold_block(
                source, at - skipped, stop - skipped, end - skipped, skipped - begin, entries, foldings,
                filled, inside, unplaced, folded, origins,
            )  # fmt: skip
            at += skipped
            num_edges = _find_edges(folded, filled, edges)
            # The last word of a block may go on in the next, if only with the zero that ends it.
            goes_on = at < end and num_edges > 0 and edges[num_edges - 1] == filled
            num_closed = num_edges // 2 - goes_on
            _hash_words(folded, edges, num_closed, state, chars_before, hashes, chars, num_words)
            if origins is not None:
                _write_places(origins, edges, num_closed, starts, ends, num_words)
            num_words += num_closed
            state = SEED if num_closed > 0 else state
            chars_before = _ZERO if num_closed > 0 else chars_before
            state, chars_before, filled = _begin_word(folded, edges, num_edges, goes_on, state, chars_before, origins)
        offsets[document + 1] = num_words


@kernel
def _copy_padded(data: Bytes, begin: Integer, end: Integer, tail: Bytes) -> None:
    """Copy data[begin:end] to the front of `tail` and fill up with zeros."""
    tail[:] = 0
    for place in range(end - begin):
        tail[place] = data[begin + place]


@inlined
def _fold_block(
    source: Bytes, begin: Integer, stop: Integer, end: Integer, origin: Integer, entries: Entries, foldings: Bytes,
    filled_before: Integer, inside_before: Integer, unplaced: Integer, folded: Bytes, origins: Places | None,
) -> tuple[Integer, Integer, Integer, Integer]:  # fmt: skip
    """Fold the characters that begin at source[begin:stop] until `folded` is full; return where the next begins, how
    many bytes are folded, the kind of run the last character left open, and `unplaced`.

    source[0] is byte `origin` of the text, source[end] its end; 64 bytes can be read from any place before `stop`.
    unplaced: where a word began with characters that fold to nothing, else _NOWHERE. Unsigned counters spare numba's
    check for negative indices.
    """
    at, filled, inside = np.uint64(begin), np.uint64(filled_before), np.uint32(inside_before)
    while at < np.uint64(stop) and filled <= np.uint64(BLOCK_BYTES):
        eight = load_64(source, at)
        folded[filled] = 0
        if origins is not None:
            origins[filled] = origin + np.int64(at)
        if eight & _FIRST_HIGH_BIT == _ZERO:
            filled += np.uint64(inside == _SOLO)
            num = min(_fold_ascii(source, at, eight, folded, filled), np.uint64(end) - at)
            if origins is not None:
                _write_origins(origins, filled, num, origin + np.int64(at), unplaced, folded[filled])
                unplaced = _NOWHERE
            at, filled = at + num, filled + num
            inside = _LETTER if folded[filled - _ONE] else _SEPARATOR
            continue
        code_point, width = _decode(np.uint32(eight))
        if width == _ZERO or at + width > np.uint64(end):
            # A branch of its own: as values of the common path, they would delay every character.
            at, filled, inside, unplaced = at + _ONE, filled + _ONE, _SEPARATOR, _NOWHERE
            continue
        entry = entries[code_point]
        kind = entry >> _KIND_SHIFT & _KINDS
        # A letter goes on with a run, a mark with any word; all others have a zero before them.
        gap = kind != _MARK and (kind != _LETTER or inside == _SOLO)
        filled += np.uint64(gap)
        inside = kind if kind != _MARK else max(inside, _LETTER)
        if origins is not None:
            unplaced = origin + np.int64(at) if gap or unplaced == _NOWHERE else unplaced
            origins[filled] = unplaced
        if entry & _FOLDS:
            filled_now = _append_folding(foldings, entry & _LOW, folded, filled)
        else:
            store_64(folded, filled, eight)
            filled_now = filled + (width if kind != _SEPARATOR else _ZERO)
        if origins is not None and (filled_now > filled or kind == _SEPARATOR):
            unplaced = _NOWHERE
        at, filled = at + width, filled_now
    if origins is not None:
        origins[filled] = origin + np.int64(at)
    for place in range(np.uint64(LANES)):
        folded[filled + place] = 0
    return np.int64(at), np.int64(filled), np.int64(inside), unplaced


@inlined
def _fold_ascii(source: Bytes, at: np.uint64, eight: np.uint64, folded: Bytes, filled: np.uint64) -> np.uint64:
    """Fold the ASCII bytes from `at` on, which begin with `eight`, at most 64; return how many. Writes up to 64."""
    high_bits = eight & _HIGH_BITS
    if high_bits == _ZERO:
        num = trailing_zeros(fold_64(source, at, folded, filled))
    else:
        # Between characters of other scripts: short enough for one register.
        store_64(folded, filled, fold_8(eight))
        num = trailing_zeros(high_bits) >> np.uint64(3)
    return num


@inlined
def _decode(four: np.uint32) -> tuple[np.uint32, np.uint64]:
    """Return (code point, bytes) of the non-ASCII character that 4 bytes begin with; bytes 0 where it is not UTF-8."""
    second, third = four >> np.uint32(8) & _SIX_BITS, four >> np.uint32(16) & _SIX_BITS
    if four & np.uint32(0xC0C0F0) == np.uint32(0x8080E0):
        code_point = (four & np.uint32(0x0F)) << np.uint32(12) | second << np.uint32(6) | third
        width = np.uint64(3) if code_point >= 0x800 else _ZERO
    elif four & np.uint32(0xC0E0) == np.uint32(0x80C0):
        code_point = (four & np.uint32(0x1F)) << np.uint32(6) | second
        width = np.uint64(2) if code_point >= 0x80 else _ZERO
    else:
        code_point = (four & np.uint32(0x07)) << np.uint32(18) | second << np.uint32(12) | third << np.uint32(6)
        code_point |= four >> np.uint32(24) & _SIX_BITS
        is_well_formed = four & np.uint32(0xC0C0C0F8) == np.uint32(0x808080F0) and 0x10000 <= code_point <= 0x10FFFF
        width = np.uint64(4) if is_well_formed else _ZERO
    return np.uint32(code_point), width


@inlined
def _append_folding(foldings: Bytes, row: np.uint32, folded: Bytes, filled: np.uint64) -> np.uint64:
    """Write a row of foldings behind `filled` bytes, return how many there are now."""
    begin = np.uint64(row) * _ROW_BYTES
    store_64(folded, filled, load_64(foldings, begin))
    store_64(folded, filled + _EIGHT, load_64(foldings, begin + _EIGHT))
    return filled + np.uint64(foldings[begin + _ROW_BYTES - _ONE])


@inlined
def _write_origins(
    origins: Places, filled: np.uint64, num: np.uint64, origin: Integer, unplaced: Integer, first_folded: np.uint8
) -> None:
    """Write the origins of `num` ASCII bytes."""
    for place in range(num):
        origins[filled + place] = origin + np.int64(place)
    if unplaced != _NOWHERE and first_folded != 0:
        origins[filled] = unplaced


@inlined
def _find_edges(folded: Bytes, filled: Integer, edges: Entries) -> Integer:
    """Write where words begin and end in the first `filled` bytes, which a zero follows; return how many edges."""
    num_edges, before = _ZERO, _ZERO
    for base in range(np.uint64(0), np.uint64(filled + 1), np.uint64(LANES)):
        in_words = nonzero_64(folded, base)
        found = in_words ^ (in_words << _ONE | before)
        before = in_words >> np.uint64(63)
        place = num_edges
        num_edges += num_ones(found)
        while place < num_edges:
            # Eight at a time, also where there are fewer: a branch for each would be mispredicted.
            for ahead in range(np.uint64(8)):
                edges[place + ahead] = base + trailing_zeros(found)
                found &= found - _ONE
            place += np.uint64(8)
    return np.int64(num_edges)


@inlined
def _hash_words(
    folded: Bytes, edges: Entries, num_words: Integer, first_state: np.uint64, first_chars: np.uint64,
    hashes: Hashes, chars: Entries | None, first_word: Integer,
) -> None:  # fmt: skip
    """Write the hashes of the words between edges, and their characters; the first goes on from a state."""
    state, num_chars = first_state, first_chars
    for word in range(np.uint64(num_words)):
        begin, end = np.uint64(edges[word + word]), np.uint64(edges[word + word + _ONE])
        while end - begin > np.uint64(16):
            state = absorb(state, load_64(folded, begin))
            if chars is not None:
                num_chars += _EIGHT - _num_inner(load_64(folded, begin))
            begin += _EIGHT
        # Up to 16 bytes without a branch: most words are shorter, and their lengths cannot be predicted.
        one, two = load_64(folded, begin), load_64(folded, begin + _EIGHT)
        is_short = end - begin <= _EIGHT
        unused_bits = (begin - end << np.uint64(3)) & np.uint64(63)
        last = (one if is_short else two) << unused_bits >> unused_bits
        state = state if is_short else absorb(state, one)
        hashes[np.uint64(first_word) + word] = finish(absorb(state, last))
        if chars is not None:
            num_inner = _num_inner(last) + (_ZERO if is_short else _num_inner(one))
            chars[np.uint64(first_word) + word] = num_chars + (end - begin) - num_inner
            num_chars = _ZERO
        state = SEED


@inlined
def _num_inner(eight: np.uint64) -> np.uint64:
    """Return how many of 8 bytes do not begin a character: those of the form 10xxxxxx."""
    return num_ones(eight & ~(eight << _ONE) & _HIGH_BITS)


@inlined
def _write_places(
    origins: Places, edges: Entries, num_words: Integer, starts: Any, ends: Any, first_word: Integer
) -> None:
    """Write the bytes of the text that words begin and end at."""
    for word in range(num_words):
        starts[first_word + word] = origins[edges[2 * word]]
        ends[first_word + word] = origins[edges[2 * word + 1]]


@inlined
def _begin_word(
    folded: Bytes,
    edges: Entries,
    num_edges: Integer,
    goes_on: bool | np.bool_,
    state: np.uint64,
    num_chars: np.uint64,
    origins: Places | None,
) -> tuple[np.uint64, np.uint64, Integer]:
    """Move what a block leaves of an unfinished word to the front of the next; return its state and characters so far,
    how many bytes.

    All but its last 1 to 8 bytes are absorbed: the word keeps at least one byte, by which the next block knows it.
    """
    length: Integer = 0
    if goes_on:
        begin, end = np.int64(edges[num_edges - 2]), np.int64(edges[num_edges - 1])
        if origins is not None:
            origins[0] = origins[begin]
        while end - begin > 8:
            state = absorb(state, load_64(folded, np.uint64(begin)))
            num_chars += _EIGHT - _num_inner(load_64(folded, np.uint64(begin)))
            begin += 8
        length = end - begin
        store_64(folded, _ZERO, load_64(folded, np.uint64(begin)))
    return state, num_chars, length
