"""Words: a slow reference by str.casefold and unicodedata, hashes by hand, the edges of Arrow arrays."""

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text.loose import loose_tables
from engine.text.splitting import BLOCK_BYTES
from engine.text.unicode_tables import (
    FOLDS,
    KIND_SHIFT,
    LETTER,
    MARK,
    SHIPPED_FILE,
    SOLO,
    SOLO_RANGES,
    UNICODE_VERSION,
    UnicodeTables,
    generate,
    unicode_tables,
)
from engine.text.words import ShingleSets, Words, ngram_hashes, shingle_sets, split_words

MASK = 2**64 - 1
FACTOR, LAST_FACTOR = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53
needs_unicode_14 = pytest.mark.skipif(
    unicodedata.unidata_version != UNICODE_VERSION,
    reason=f"this Python knows Unicode {unicodedata.unidata_version}, the tables are {UNICODE_VERSION}",
)

TRICKY = (
    "aB\u00df \u00c9e\u0301_1\u0660\u216f\u00b2-\u0130\ufb03\u0390\u0149\u1e9e\u0345\u24b6'\x00\n"
    "\u4e00\u6f22\u3007\u304b\u3099\u30ab\u30fc\uff76\uff9e\u0e01\u0e34\u0e48\u0e51\u0e81\u0eb4\u1000\u102c"
    "\u1780\u17b6\uac00\ud55c\u0915\u093f\u05d0\u05b4\ufe0f\u200d\ud7ff\ue000"
    "\U00020000\U000e0100\U0001d400\U0010ffff"
)
texts_of_any_kind = st.one_of(st.text(), st.text(alphabet=TRICKY, max_size=60))


def reference_words(text: str) -> list[tuple[str, int, int]]:
    """Return (folded word, start, end) by the rules of the docstring, one character at a time."""
    words: list[tuple[str, int, int]] = []
    inside, at = "nothing", 0
    for character in text:
        width = len(character.encode("utf-8"))
        for folded in character.casefold():
            major = unicodedata.category(folded)[0]
            if major not in "LNM":
                inside = "nothing"
                continue
            is_solo = major != "M" and any(first <= ord(folded) <= last for first, last in SOLO_RANGES)
            if inside == "nothing" or is_solo or (inside == "solo" and major != "M"):
                words.append(("", at, at))
                inside = "solo" if is_solo else "run"
            word, start, _ = words[-1]
            words[-1] = (word + folded, start, at + width)
        at += width
    return words


def reference_hash(values: list[int]) -> int:
    state = 0
    for value in values:
        state = (state ^ value) * FACTOR & MASK
        state ^= state >> 32
    for factor in (FACTOR, LAST_FACTOR):
        state = (state ^ (state >> 33)) * factor & MASK
    return state ^ (state >> 33)


def word_hash(word: str) -> int:
    data = word.encode()
    return reference_hash([int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)])


def split(*texts: str | None) -> Words:
    """Return words with positions and lengths; they are split again without, for other kernels do that."""
    array = pa.array(texts, pa.large_string())
    words, plain, measured = (
        split_words(array, with_positions=True),
        split_words(array),
        split_words(array, with_chars=True),
    )
    for other in (plain, measured):
        np.testing.assert_array_equal(other.hashes, words.hashes)
        np.testing.assert_array_equal(other.offsets, words.offsets)
    return replace(words, chars=measured.chars)


def split_into_strings(text: str) -> list[str]:
    words = split(text)
    assert words.starts is not None
    assert words.ends is not None
    data = text.encode()
    return [data[start:end].decode() for start, end in zip(words.starts, words.ends, strict=True)]


def assert_equals_reference(text: str, words: Words, document: int) -> None:
    assert words.starts is not None
    assert words.ends is not None
    mine = slice(words.offsets[document], words.offsets[document + 1])
    expected = reference_words(text)
    assert words.hashes[mine].tolist() == [word_hash(word) for word, _, _ in expected]
    assert words.starts[mine].tolist() == [start for _, start, _ in expected]
    assert words.ends[mine].tolist() == [end for _, _, end in expected]
    if words.chars is not None:
        assert words.chars[mine].tolist() == [len(word) for word, _, _ in expected]


@needs_unicode_14
def test_shipped_tables_are_what_python_3_11_generates() -> None:
    fresh = generate()
    with np.load(SHIPPED_FILE) as shipped:
        assert sorted(shipped.files) == sorted(fresh)
        for name, array in fresh.items():
            np.testing.assert_array_equal(shipped[name], array)


def test_folding_expands_to_a_letter_first_and_to_nothing_solo() -> None:
    tables = unicode_tables()
    foldings = [tables.fold(code_point) for code_point in np.flatnonzero(tables.entries).tolist()]
    kinds = [[tables.fold(ord(character))[0] for character in folding] for _, folding in foldings if len(folding) > 1]
    assert {first for first, *_ in kinds} == {LETTER}
    assert {kind for _, *others in kinds for kind in others} == {LETTER, MARK}


@pytest.mark.parametrize("tables", [unicode_tables, loose_tables])
def test_no_character_of_two_bytes_is_a_word_of_its_own(tables: Callable[[], UnicodeTables]) -> None:
    # Else a text could have more words than `split_by_tables` has room for.
    assert SOLO not in (tables().entries[:0x800] >> KIND_SHIFT & 3).tolist()


@needs_unicode_14
def test_tables_fold_as_str_casefold_does() -> None:
    tables = unicode_tables()
    for code_point in np.flatnonzero(tables.entries).tolist():
        assert tables.fold(code_point)[1] == chr(code_point).casefold()


@pytest.mark.parametrize(("code_point", "entry"), [(ord("_"), LETTER << KIND_SHIFT | ord("_")), (ord("A"), 0)])
def test_tables_that_treat_ascii_otherwise_are_refused(code_point: int, entry: int) -> None:
    entries = unicode_tables().entries.copy()
    entries[code_point] = entry
    with pytest.raises(ValueError, match=f"entries: got .* for '{chr(code_point)}'"):
        UnicodeTables(entries, unicode_tables().foldings)


@needs_unicode_14
def test_solo_characters_are_those_of_scripts_without_spaces_by_their_names() -> None:
    beginnings = (
        "CJK UNIFIED,CJK COMPAT,HIRAGANA,KATAKANA,HALFWIDTH KATAKANA,HENTAIGANA,THAI,LAO,KHMER,MYANMAR,MASU,"
        "HANGZHOU,IDEOGRAPHIC ITERATION,IDEOGRAPHIC CLOSING,IDEOGRAPHIC NUMBER,VERTICAL KANA,"
        "VERTICAL IDEOGRAPHIC,OLD CHINESE"
    )
    entries = unicode_tables().entries
    named = {
        code_point
        for code_point in range(0x110000)
        if unicodedata.category(chr(code_point))[0] in "LN"
        and unicodedata.name(chr(code_point), "").startswith(tuple(beginnings.split(",")))
    }
    folds_to_itself = entries & FOLDS == 0
    assert set(np.flatnonzero(folds_to_itself & (entries >> KIND_SHIFT == SOLO)).tolist()) == named


def test_underscore_and_punctuation_separate_but_digits_and_marks_do_not() -> None:
    assert split_into_strings("snake_case, x86-64: e\u0301te\u0301!") == [
        "snake",
        "case",
        "x86",
        "64",
        "e\u0301te\u0301",
    ]


def test_case_is_folded_in_full() -> None:
    for one, other in [
        ("STRASSE", "stra\u00dfe"),
        ("\u1e9e", "ss"),
        ("\ufb03", "FFI"),
        ("\u03a3\u03c2", "\u03c3\u03a3"),
    ]:
        assert split(one).hashes.tolist() == split(other).hashes.tolist()


def test_nothing_is_normalised() -> None:
    assert split("\u00e9").hashes.tolist() != split("e\u0301").hashes.tolist()


def test_characters_of_scripts_without_spaces_are_words_with_their_marks() -> None:
    assert split_into_strings("abc\u6f22\u5b57def") == ["abc", "\u6f22", "\u5b57", "def"]
    assert split_into_strings("\u304b\u3099\u304f") == ["\u304b\u3099", "\u304f"]
    assert split_into_strings("\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48") == [
        "\u0e17\u0e35\u0e48",
        "\u0e19\u0e35\u0e48",
    ]


def test_hangul_words_are_runs() -> None:
    assert split_into_strings("\ud55c\uad6d\uc5b4 \ubb38\uc7a5") == ["\ud55c\uad6d\uc5b4", "\ubb38\uc7a5"]


GOLDEN_WORDS = ["e84e49387c6f4e0e", "ac797b12ece8bcd3", "1fa3b529d4418828", "d045ae9420260e20"]
GOLDEN_LENGTHS = ["0691de9636472289", "408c143f20aa3f42", "b35aed118f70181e", "ff1c08017ebe74e4", "b2076b0b390abe54"]
GOLDEN_SHINGLES = ["b44fbbc4d4371c6a", "eb9515bc553bebec"]


def test_golden_hashes_never_change() -> None:
    words = split("The stra\u00dfe \u6f22 x")
    assert [f"{value:016x}" for value in words.hashes.tolist()] == GOLDEN_WORDS
    alphabet = "abcdefghijklmnopq"
    lengths = split(" ".join(alphabet[:length] for length in (7, 8, 9, 16, 17)))
    assert [f"{value:016x}" for value in lengths.hashes.tolist()] == GOLDEN_LENGTHS
    sets = shingle_sets(split("one two three four five six"), 5)
    assert [f"{value:016x}" for value in sets.hashes.tolist()] == GOLDEN_SHINGLES


@pytest.mark.parametrize("length", [*range(1, 26), 63, 64, 65])
def test_hash_of_a_word_of_any_length(length: int) -> None:
    word = "abcdefghijklmnopqrstuvwxyz0123456789" * 2
    assert split(f"-{word[:length].upper()}-").hashes.tolist() == [word_hash(word[:length])]


# A block is full at BLOCK_BYTES folded bytes and takes up to 64 more.
PLACES_AT_BLOCK_ENDS = [*range(BLOCK_BYTES - 30, BLOCK_BYTES + 75), *range(2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 130, 7)]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Straddling it", ["straddling", "it"]),
        ("stra\u00dfe \u0390 \ufb03x", ["strasse", "\u03b9\u0308\u0301", "ffix"]),
        ("a\u6f22\u304b\u3099b", ["a", "\u6f22", "\u304b\u3099", "b"]),
        ("\ud55c\uad6d\uc5b4 \U0001d400.", ["\ud55c\uad6d\uc5b4", "\U0001d400"]),
    ],
)
def test_words_at_the_end_of_a_block_are_whole(text: str, folded: list[str]) -> None:
    expected = [word_hash(word) for word in folded]
    for place in PLACES_AT_BLOCK_ENDS:
        words = split(" " * place + text)
        assert words.hashes.tolist() == expected
        assert words.starts is not None
        assert words.starts[0] == place


def test_word_over_a_block_end_is_one_word() -> None:
    for place in PLACES_AT_BLOCK_ENDS:
        words = split("a" * place + "\u00df\u6f22")
        assert words.hashes.tolist() == [word_hash("a" * place + "ss"), word_hash("\u6f22")]
        assert words.starts is not None
        assert words.ends is not None
        assert words.starts.tolist() == [0, place + 2]
        assert words.ends.tolist() == [place + 2, place + 5]


@pytest.mark.parametrize("character", ["a", "\u00df", "\uac00"])
def test_word_of_a_megabyte_is_one_word(character: str) -> None:
    text = character * (1_000_000 // len(character.encode()))
    words = split(f"b {text} c")
    assert words.hashes.tolist() == [word_hash("b"), word_hash(text.casefold()), word_hash("c")]
    assert words.chars is not None
    assert words.chars.tolist() == [1, len(text.casefold()), 1]


def test_words_do_not_depend_on_what_lies_behind_the_text() -> None:
    text = "Stra\u00dfe \u6f22\u5b57 an der Ecke"
    alone = split(text)
    for distance in range(70):
        assert split("x" * distance, text, "y" * distance).hashes.tolist()[distance > 0 :][: len(alone.hashes)] == (
            alone.hashes.tolist()
        )


UNITS = [
    "a",
    " ",
    "ab ",
    "Word, ",
    "\u00df",
    "\u0390",
    "\u6f22",
    "\u6f22a",
    "\u304b\u3099",
    "\uac00 ",
    "\U0001d400",
    "e\u0301",
]


@st.composite
def texts_as_long_as_blocks(draw: st.DrawFn) -> str:
    """Draw stretches of one kind of text that end near the end of a block, with other characters between them."""
    text, size = draw(st.text(alphabet=TRICKY, max_size=10)), 0
    for _ in range(draw(st.integers(1, 2))):
        unit = draw(st.sampled_from(UNITS))
        size += BLOCK_BYTES
        repeats = (size - len(text.casefold().encode())) // len(unit.casefold().encode())
        text += unit * max(repeats + draw(st.integers(-40, 10)), 0) + draw(st.text(alphabet=TRICKY, max_size=40))
    return text


@needs_unicode_14
@given(texts_as_long_as_blocks())
@settings(deadline=None, max_examples=50)
def test_splitter_equals_the_reference_at_block_ends(text: str) -> None:
    assert_equals_reference(text, split(text), 0)


@needs_unicode_14
@given(st.lists(texts_of_any_kind, max_size=5))
@settings(deadline=None)
def test_splitter_equals_the_reference_on_arbitrary_text(texts: list[str]) -> None:
    words = split(*texts)
    for document, text in enumerate(texts):
        assert_equals_reference(text, words, document)


@needs_unicode_14
def test_splitter_equals_the_reference_on_every_assigned_character() -> None:
    characters = (chr(code_point) for code_point in range(0x110000))
    text = "".join(f"a{character}" for character in characters if unicodedata.category(character)[0] != "C")
    assert_equals_reference(text, split(text), 0)


@needs_unicode_14
def test_splitter_equals_the_reference_on_real_multilingual_text(shared_data: Path) -> None:
    files = [
        sorted(
            path for path in (shared_data / "corpora" / corpus).rglob("*") if path.suffix != ".gz" and path.is_file()
        )
        for corpus in ("zhwiki", "kowiki", "gesetze", "bible", "python-code")
    ]
    texts = [path.read_bytes()[:100_000].decode("utf-8", "ignore") for found in files for path in found[1:6]]
    if not texts:
        pytest.skip("no multilingual corpora in the shared data folder")
    words = split(*texts)
    for document, text in enumerate(texts):
        assert_equals_reference(text, words, document)


def test_positions_are_computed_only_when_asked_and_change_no_hash() -> None:
    text = pa.array(["a\u00df \u6f22b", None, "c"])
    plain = split_words(text)
    assert plain.starts is None
    assert plain.ends is None
    np.testing.assert_array_equal(plain.hashes, split_words(text, with_positions=True).hashes)


@pytest.mark.parametrize("unit", ["a\u6f22", "\u6f22", "a ", "\u6f22\u3099", "a\u304c"])
def test_texts_of_as_many_words_as_bytes_allow(unit: str) -> None:
    for repeats in (1, 50, 5000):
        assert_equals_reference(unit * repeats + "a", split(unit * repeats + "a"), 0)


def test_null_and_empty_texts_have_no_words() -> None:
    assert split("a b", None, "", " _ ", "c").num_words.tolist() == [2, 0, 0, 0, 1]
    assert split().num_words.tolist() == []
    assert split_words(pa.chunked_array([], pa.string())).offsets.tolist() == [0]


def test_null_that_owns_bytes_has_no_words() -> None:
    buffers = [pa.py_buffer(b"\x05"), pa.py_buffer(np.array([0, 1, 2, 3], np.int32)), pa.py_buffer(b"abc")]
    texts = pa.Array.from_buffers(pa.string(), 3, buffers)
    assert split_words(texts).hashes.tolist() == [word_hash("a"), word_hash("c")]


@given(st.lists(st.one_of(st.none(), texts_of_any_kind), max_size=8), st.data())
@settings(deadline=None)
def test_slices_chunks_and_string_types_give_the_same_words(texts: list[str | None], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(texts)))
    whole = split(*texts)
    array = pa.array(["before", *texts, None], pa.string())
    for same in (array[1:-1], pa.chunked_array([array[1 : 1 + cut], array[1 + cut : -1]])):
        words = split_words(same, with_positions=True)
        for name in ("offsets", "hashes", "starts", "ends"):
            np.testing.assert_array_equal(getattr(words, name), getattr(whole, name))


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_bytes_that_are_not_utf_8_separate(data: bytes) -> None:
    offsets = pa.py_buffer(np.array([0, len(data)], np.int32))
    words = split_words(pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(data)]))
    # Python replaces each maximal ill-formed part by U+FFFD, which separates too.
    assert words.hashes.tolist() == split(data.decode("utf-8", "replace")).hashes.tolist()


@pytest.mark.parametrize(
    "wrong", [b"\xff", b"\xe6\xbc", b"\xc1\x81", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\x80" * 3]
)
def test_bytes_that_are_not_utf_8_separate_in_the_middle_of_a_block(wrong: bytes) -> None:
    data = b"Long enough for loads of sixty-four bytes, with " + b"a" + wrong + b"b" + "\u00df".encode() + b" c" * 60
    offsets = pa.py_buffer(np.array([0, len(data)], np.int32))
    words = split_words(pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(data)]))
    assert words.hashes.tolist()[9:12] == [word_hash("a"), word_hash("bss"), word_hash("c")]


def test_character_cut_by_the_end_of_its_text_is_not_completed_by_the_next() -> None:
    data = ("a" * 80 + "\u6f22" + "b" * 80).encode()
    offsets = pa.py_buffer(np.array([0, 82, len(data)], np.int32))
    words = split_words(pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(data)]))
    assert words.hashes.tolist() == [word_hash("a" * 80), word_hash("b" * 80)]


@given(st.lists(st.tuples(st.one_of(st.none(), texts_of_any_kind), st.booleans()), max_size=8), st.integers(0, 8))
@settings(deadline=None)
def test_texts_that_are_not_chosen_have_no_words(rows: list[tuple[str | None, bool]], cut: int) -> None:
    texts, chosen = [text for text, _ in rows], np.array([is_chosen for _, is_chosen in rows], dtype=np.bool_)
    column = pa.chunked_array([pa.array(texts[:cut], pa.string()), pa.array(texts[cut:], pa.string())])
    words = split_words(column, chosen=chosen)
    expected = split(*(text if is_chosen else None for text, is_chosen in rows))
    np.testing.assert_array_equal(words.offsets, expected.offsets)
    np.testing.assert_array_equal(words.hashes, expected.hashes)


def test_chosen_must_have_a_value_for_each_text() -> None:
    with pytest.raises(ValueError, match=r"chosen: got 1 values\. Needed: one for each of 2 texts"):
        split_words(pa.array(["a", "b"]), chosen=np.ones(1, dtype=np.bool_))


def test_other_arrow_types_are_refused() -> None:
    with pytest.raises(TypeError, match=r"texts: got binary\. Needed: string or large_string"):
        split_words(pa.array([b"a"]))


def reference_ngrams(text: str, ngram_words: int) -> list[int]:
    hashes = [word_hash(word) for word, _, _ in reference_words(text)]
    return [reference_hash(hashes[at : at + ngram_words]) for at in range(len(hashes) - ngram_words + 1)]


few_words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=40).map(" ".join)


@given(st.lists(few_words, max_size=4), st.integers(1, 13))
@settings(deadline=None)
def test_ngrams_are_those_of_the_text_in_its_order(texts: list[str], ngram_words: int) -> None:
    offsets, hashes = ngram_hashes(split(*texts), ngram_words)
    found = [hashes[begin:end].tolist() for begin, end in pairwise(offsets)]
    assert found == [reference_ngrams(text, ngram_words) for text in texts]


@given(st.lists(few_words, max_size=4), st.integers(1, 13))
@settings(deadline=None)
def test_shingle_set_is_the_sorted_set_of_ngrams_or_one_over_a_short_text(texts: list[str], ngram_words: int) -> None:
    expected = []
    for text in texts:
        length = min(ngram_words, len(text.split()))
        expected.append(sorted(set(reference_ngrams(text, length))) if length else [])
    assert sets_of(shingle_sets(split(*texts), ngram_words)) == expected


def sets_of(sets: ShingleSets) -> list[list[int]]:
    return [sets.hashes[b:e].tolist() for b, e in pairwise(sets.offsets)]


def test_shingle_sets_of_long_and_of_repeating_texts_are_sorted_without_repeats() -> None:
    numbers = [str(number) for number in np.random.default_rng(1).integers(0, 50_000, 300_000)]
    texts = [" ".join(numbers), " ".join(["all", "work"] * 20_000), "x " * 5000]
    words = split(*texts)
    offsets, ngrams = ngram_hashes(words, 2)
    for document, found in enumerate(sets_of(shingle_sets(words, 2))):
        assert found == np.unique(ngrams[offsets[document] : offsets[document + 1]]).tolist()
    assert [len(found) for found in sets_of(shingle_sets(words, 2))][1:] == [2, 1]


def test_shingles_depend_on_the_order_of_their_words() -> None:
    sets = sets_of(shingle_sets(split("a b c", "c b a", "b a c", "a a b", "a b b", "a b"), 3))
    assert len({found[0] for found in sets}) == len(sets)


def test_ngram_words_below_one_is_an_error() -> None:
    for function in (shingle_sets, ngram_hashes):
        with pytest.raises(ValueError, match=r"ngram_words: got 0\. Needed: at least 1"):
            function(split("a"), 0)
