"""The Flesch-Kincaid grade of texts in Latin letters: school years in the United States that reading them takes.

    grade = 0.39 * words / sentences + 11.8 * syllables / words - 15.59

Source: Kincaid, Fishburne, Rogers, Chissom, "Derivation of new readability formulas" (1975). It was fitted to English
prose of at least a hundred words; lists, tables, code and other languages have a grade too, which means little.

A word is a run of letters and apostrophes. A sentence ends with a full stop, exclamation or question mark before white
space (closing brackets and quotation marks may stand between), at a blank line, and with the text; one without a word
does not count. The syllables of a word are its groups of vowels (a e i o u y, with any accent), less one for a silent
ending: e, but not -le behind a consonant; ed, but not -ted and -ded; es, but not behind c, g, s, x, z, ch, sh. A word
has at least one. Of the running words of novels 97 % get the number the CMU Pronouncing Dictionary has, and all
together 99 % of its syllables.
"""

import unicodedata
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate._units import UNITS
from engine.text.kernels import Bytes, Integer, Places, kernel
from engine.text.unicode_tables import unicode_tables
from engine.text.utf8 import character, text_buffers

MIN_WORDS = 20
"""Fewer say nothing about sentences."""
LATIN_OF_TEN = 9
"""Words of Latin letters in ten, at least."""
_LATIN, _VOWEL, _OTHER_LETTER, _APOSTROPHE, _STOP, _CLOSING, _SPACE = 1, 2, 4, 8, 16, 32, 64
_LAST_LATIN = 0x24F
_MORE_LATIN = range(0x1E00, 0x1F00)


def reading_grades(texts: pa.ChunkedArray) -> pl.Series:
    """Return the grade of each text: Float64 rounded down to 1e-4, null for too few words or other scripts.

    texts: large strings.
    """
    counts = np.zeros((len(texts), 4), dtype=np.int64)
    document = 0
    for chunk in texts.chunks:
        _count(*text_buffers(chunk), _kinds(), counts[document:])
        document += len(chunk)
    return _grades(*counts.T)


def _grades(
    latin: NDArray[np.int64], others: NDArray[np.int64], sentences: NDArray[np.int64], syllables: NDArray[np.int64]
) -> pl.Series:
    able = (latin >= MIN_WORDS) & (10 * latin >= LATIN_OF_TEN * (latin + others))
    words, ends = np.where(able, latin, 1), np.maximum(sentences, 1)
    # In integers, so that the grade is the same on any machine.
    units = (39 * 100 * words * words + 1180 * 100 * syllables * ends) // (words * ends) - 155_900
    return pl.select(pl.when(pl.Series(able)).then(pl.Series(units / UNITS).round(4))).to_series()


@cache
def _kinds() -> NDArray[np.uint8]:
    """Return a byte of flags per code point."""
    kinds = np.where(unicode_tables().entries != 0, _OTHER_LETTER, 0).astype(np.uint8)
    for code_point in (*range(_LAST_LATIN + 1), *_MORE_LATIN):
        character = chr(code_point)
        if character.isalpha():
            base = unicodedata.normalize("NFKD", character)[0].lower()
            kinds[code_point] = _LATIN | (_VOWEL if base in "aeiouy\u00e6\u0153\u00f8\u0131" else 0)
    # Digits and accents on their own are part of no word.
    kinds[ord("0") : ord("9") + 1] = 0
    kinds[0x300:0x370] = 0
    for characters, flag in (("'\u2019", _APOSTROPHE), (".!?\u2026", _STOP), (")]\"'\u201d\u2019\u00bb", _CLOSING)):
        for character in characters:
            kinds[ord(character)] |= flag
    for code_point in (9, 11, 12, 13, 32, 0xA0, *range(0x2000, 0x200B), 0x202F, 0x3000):
        kinds[code_point] = _SPACE
    return kinds


@kernel
def _count(data: Bytes, edges: Places, kinds: Bytes, counts: Places) -> None:
    """Count, of each text, words of Latin letters, words of others, sentences and syllables."""
    for document in range(len(edges) - 1):
        _count_text(data[edges[document] : edges[document + 1]], kinds, counts[document])


@kernel
def _count_text(text: Bytes, kinds: Bytes, counts: Places) -> None:
    at: Integer = 0
    in_word, is_other, had_vowel, groups = False, False, False, 0
    # The last four letters of the word, the last one lowest; other than a to z they are 1.
    tail: Integer = 0
    words_of_sentence, may_end, line_feeds = 0, False, 0
    while at <= len(text):
        is_end = at == len(text)
        code_point, width = (10, 1) if is_end else character(text, at)
        at += width
        kind = kinds[code_point]
        if kind & (_LATIN | _OTHER_LETTER):
            if not in_word:
                in_word, is_other, had_vowel, groups, tail = True, False, False, 0, 0
            is_other = is_other or kind & _OTHER_LETTER != 0
            is_vowel = kind & _VOWEL != 0
            groups += is_vowel and not had_vowel
            had_vowel = is_vowel
            letter = code_point | 32
            tail = ((tail << 8) | (letter if 97 <= letter <= 122 else 1)) & 0xFFFFFFFF
            may_end, line_feeds = False, 0
            continue
        if in_word and kind & _APOSTROPHE and not is_end and at < len(text) and kinds[text[at]] & _LATIN:
            # don't is one word; its apostrophe parts no group of vowels from another.
            had_vowel = False
            continue
        if in_word:
            in_word = False
            counts[1 if is_other else 0] += 1
            counts[3] += 0 if is_other else max(groups - _is_silent(tail, groups), 1)
            words_of_sentence += 1
        is_feed = code_point == 10
        line_feeds = line_feeds + 1 if is_feed else line_feeds if kind & _SPACE else 0
        if is_end or line_feeds >= 2 or (may_end and (is_feed or kind & _SPACE)):
            counts[2] += words_of_sentence > 0
            words_of_sentence, may_end = 0, False
        elif kind & _STOP:
            may_end = True
        elif not kind & _CLOSING:
            may_end = False


@kernel
def _is_silent(tail: Integer, groups: Integer) -> bool:
    """Whether the last group of vowels of a word is a silent e; `tail`: its last four letters, the last one lowest."""
    last, second, third, fourth = tail & 255, (tail >> 8) & 255, (tail >> 16) & 255, (tail >> 24) & 255
    if groups < 2:
        return False
    if last == 101:  # e
        return not _is_vowel(second) and not (second == 108 and third != 0 and not _is_vowel(third))
    if second == 101 and not _is_vowel(third):
        if last == 100:  # ed
            return third not in (100, 116)
        if last == 115:  # es
            return third not in (99, 103, 115, 120, 122) and not (third == 104 and fourth in (99, 115))
    return False


@kernel
def _is_vowel(letter: Integer) -> bool:
    return letter in (97, 101, 105, 111, 117, 121)
