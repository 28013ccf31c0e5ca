"""The compiled loops behind `engine.text.words`, and the two steps every hash of this project is made of.

How fast they are is measured by benchmarks/near_dup.py. Kernels run without the GIL, so callers split their work over
threads. Compiled code is cached beside the source; numba looks only at the file of the function itself, so clear
`__pycache__` after changing what another file inlines.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from engine.text.unicode_tables import EXPANDS, KIND_SHIFT, LETTER, LOW_BITS, MARK, SEPARATOR, SOLO

F = TypeVar("F", bound=Callable[..., object])
Bytes = NDArray[np.uint8]
Entries = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Integer = int | np.int64

SEED = np.uint64(0)
_FACTOR = np.uint64(0xFF51AFD7ED558CCD)
_LAST_FACTOR = np.uint64(0xC4CEB9FE1A85EC53)
_ZERO, _ONE, _HALF, _FINAL_SHIFT = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(33)
_LOW, _EXPANDS, _KIND_SHIFT = np.uint32(LOW_BITS), np.uint32(EXPANDS), np.uint32(KIND_SHIFT)

_OUTSIDE, _IN_RUN, _IN_SOLO = 0, 1, 2
_BLOCK_NGRAMS = 1024
MAX_BUCKET_BITS = 18
_MAX_INSERTION = 24


def kernel(function: F) -> F:
    """Compile a function with numba: without the GIL, cached on disk, its types kept for the type checker."""
    return njit(nogil=True, cache=True)(function)


def inlined(function: F) -> F:
    """Compile a function that becomes part of every kernel that calls it."""
    return njit(nogil=True, cache=True, inline="always")(function)


@inlined
def absorb(state: np.uint64, value: np.uint64) -> np.uint64:
    """Return the hash state after one more value; see the head of `engine.text.words`."""
    state = (state ^ value) * _FACTOR
    return state ^ (state >> _HALF)


@inlined
def finish(state: np.uint64) -> np.uint64:
    """Return the hash of a finished state: MurmurHash3's 64-bit finaliser, a bijection."""
    state = (state ^ (state >> _FINAL_SHIFT)) * _FACTOR
    state = (state ^ (state >> _FINAL_SHIFT)) * _LAST_FACTOR
    return state ^ (state >> _FINAL_SHIFT)


@kernel
def split(
    data: Bytes, text_begins: Places, text_ends: Places,
    entries: Entries, expansions: Entries, ascii_folded: Bytes,
    offsets: Places, hashes: Hashes, starts: Places, ends: Places, with_positions: bool,
) -> None:  # fmt: skip
    """Write the words of texts behind the offsets[0] words already there, and the rest of `offsets`."""
    for document in range(len(text_begins)):
        first = offsets[document]
        num_words = _split_text(
            data[text_begins[document] : text_ends[document]], entries, expansions, ascii_folded,
            hashes[first:], starts[first:], ends[first:], with_positions,
        )  # fmt: skip
        for word in range(first, first + num_words):
            hashes[word] = finish(hashes[word])
        offsets[document + 1] = first + num_words


@kernel
def _split_text(
    text: Bytes, entries: Entries, expansions: Entries, ascii_folded: Bytes,
    hashes: Hashes, starts: Places, ends: Places, with_positions: bool,
) -> Integer:  # fmt: skip
    """Write the words of one text, return how many. While inside word w, hashes[w] is its state so far."""
    at: Integer = 0
    word: Integer = 0
    inside: Integer = _OUTSIDE
    state = SEED
    while at < len(text):
        if text[at] < 128:
            if inside == _IN_SOLO:
                word, inside, state = word + 1, _OUTSIDE, SEED
            at, word, inside, state = _split_ascii(
                text, at, ascii_folded, word, inside, state, hashes, starts, ends, with_positions
            )
            continue
        code_point, width = _decode(text, at)
        entry = entries[code_point]
        kind = LETTER if entry & _EXPANDS else np.int64(entry >> _KIND_SHIFT)
        # A letter opens a word unless it goes on with a run, a mark only where there is no word to belong to.
        opens = kind == SOLO or (kind == LETTER and inside != _IN_RUN)
        opens |= kind == MARK and inside == _OUTSIDE
        if inside != _OUTSIDE and (opens or kind == SEPARATOR):
            word, inside, state = word + 1, _OUTSIDE, SEED
        if opens:
            inside = _IN_SOLO if kind == SOLO else _IN_RUN
            if with_positions:
                starts[word] = at
        at += width
        if kind != SEPARATOR:
            state = _absorb_character(state, entry, expansions)
            hashes[word] = state
            if with_positions:
                ends[word] = at
    return word + (inside != _OUTSIDE)


@kernel
def _split_ascii(
    text: Bytes, at: Integer, ascii_folded: Bytes, first_word: Integer, inside: Integer, state: np.uint64,
    hashes: Hashes, starts: Places, ends: Places, with_positions: bool,
) -> tuple[Integer, Integer, Integer, np.uint64]:  # fmt: skip
    """Split from byte `at` up to the next that is not ASCII; return its place, the word, in a run?, the
    state.

    No branch asks for the kind of character, half of them would be mispredicted: a separator multiplies by
    zero, which is the state of an empty word. Unsigned counters spare numba's check for negative indices. One
    way out, or numba counts references to every array at each call (2.5 times slower on Korean).
    """
    place, end = np.uint64(at), np.uint64(len(text))
    word, run = np.uint64(first_word), np.uint64(inside)
    start = starts[word] if inside and with_positions else 0
    while place < end and text[place] < 128:
        folded = np.uint64(ascii_folded[text[place]])
        is_letter = np.uint64(folded != _ZERO)
        word += run & ~is_letter
        state = (state ^ folded) * (_FACTOR * is_letter)
        state ^= state >> _HALF
        hashes[word] = state
        if with_positions:
            start = start if run else np.int64(place)
            starts[word] = start
            ends[word] = np.int64(place) + 1
        run = is_letter
        place += _ONE
    return np.int64(place), np.int64(word), np.int64(run), state


@kernel
def _decode(text: Bytes, at: Integer) -> tuple[Integer, Integer]:
    """Return (code point, bytes) of the non-ASCII character at `at`; (0, 1) where the bytes are not UTF-8."""
    lead = np.int64(text[at])
    width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or at + width > len(text):
        return 0, 1
    code_point = lead & (0x7F >> width)
    is_well_formed = True
    for offset in range(1, width):
        follower = np.int64(text[at + offset])
        is_well_formed &= follower & 0xC0 == 0x80
        code_point = code_point << 6 | (follower & 0x3F)
    least = 0x80 if width == 2 else 0x800 if width == 3 else 0x10000
    if is_well_formed and least <= code_point <= 0x10FFFF:
        return code_point, width
    return 0, 1


@kernel
def _absorb_character(state: np.uint64, entry: np.uint32, expansions: Entries) -> np.uint64:
    """Absorb what one character folds to."""
    low = np.int64(entry & _LOW)
    if not entry & _EXPANDS:
        return absorb(state, np.uint64(low))
    for folded in expansions[low]:
        if folded != 0:
            state = absorb(state, np.uint64(folded & _LOW))
    return state


@kernel
def ngrams(word_offsets: Places, word_hashes: Hashes, ngram_words: int, offsets: Places, hashes: Hashes) -> None:
    """Write the n-gram hashes of document d, in the order of its text, from hashes[offsets[d]] on."""
    for document in range(len(offsets) - 1):
        words = word_hashes[word_offsets[document] : word_offsets[document + 1]]
        _hash_ngrams(words, ngram_words, hashes[offsets[document] : offsets[document + 1]])


@kernel
def _hash_ngrams(word_hashes: Hashes, ngram_words: int, out: Hashes) -> None:
    """Fill `out` with the hashes of the n-grams that begin at words 0, 1, ...

    One word of many n-grams at a time: this compiles to vector instructions, and a block stays in the first
    cache.
    """
    for begin in range(0, len(out), _BLOCK_NGRAMS):
        block = out[begin : begin + _BLOCK_NGRAMS]
        block[:] = SEED
        for place in range(ngram_words):
            words = word_hashes[begin + place : begin + place + len(block)]
            for ngram in range(len(block)):
                block[ngram] = absorb(block[ngram], words[ngram])
        for ngram in range(len(block)):
            block[ngram] = finish(block[ngram])


@kernel
def shingles(
    word_offsets: Places, word_hashes: Hashes, ngram_words: int,
    offsets: Places, hashes: Hashes, scratch: Hashes,
) -> None:  # fmt: skip
    """Write the sorted set of n-gram hashes of document d from hashes[offsets[d]] on, and `offsets`."""
    heads = np.empty((1 << MAX_BUCKET_BITS) + 1, dtype=np.int64)
    for document in range(len(offsets) - 1):
        words = word_hashes[word_offsets[document] : word_offsets[document + 1]]
        length = min(ngram_words, len(words))
        hashed = scratch[: len(words) - length + 1 if length > 0 else 0]
        _hash_ngrams(words, length, hashed)
        first = offsets[document]
        offsets[document + 1] = first + _sorted_set(hashed, hashes[first:], heads)


@kernel
def _sorted_set(values: Hashes, out: Hashes, heads: Places) -> int:
    """Write the distinct `values` in ascending order to `out`, return how many.

    Hashes are uniform, so one counting pass over their top bits leaves buckets of about one: linear time.
    """
    bits = 1
    while bits < MAX_BUCKET_BITS and 1 << bits < len(values):
        bits += 1
    shift = np.uint64(64 - bits)
    heads[: (1 << bits) + 1] = 0
    for value in values:
        heads[(value >> shift) + _ONE] += 1
    for bucket in range(1 << bits):
        heads[bucket + 1] += heads[bucket]
    for value in values:
        bucket = value >> shift
        out[heads[bucket]] = value
        heads[bucket] += 1
    _sort_buckets(out[: len(values)], heads[: 1 << bits])
    num_distinct = 0
    for place in range(len(values)):
        # The value is written in any case and stays where another one follows: no branch to mispredict.
        value = out[place]
        out[num_distinct] = value
        num_distinct += place + 1 == len(values) or out[place + 1] != value
    return num_distinct


@kernel
def _sort_buckets(values: Hashes, bucket_ends: Places) -> None:
    """Sort values that are already in ascending buckets."""
    begin = 0
    for end in bucket_ends:
        if end - begin > _MAX_INSERTION:
            # Repeated n-grams, or a huge document: insertion would take quadratic time.
            values[begin:end].sort()
        begin = end
    for at in range(1, len(values)):
        value, hole = values[at], at
        while hole > 0 and values[hole - 1] > value:
            values[hole] = values[hole - 1]
            hole -= 1
        values[hole] = value
