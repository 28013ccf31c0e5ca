"""Words: a slow reference by str.casefold and unicodedata, hashes by hand, the edges of Arrow arrays."""

import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text.unicode_tables import (
    SHIPPED_FILE,
    SOLO,
    SOLO_RANGES,
    UNICODE_VERSION,
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
    return reference_hash([ord(character) for character in word])


def split(*texts: str | None) -> Words:
    return split_words(pa.array(texts, pa.large_string()), with_positions=True)


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


@needs_unicode_14
def test_shipped_tables_are_what_python_3_11_generates() -> None:
    fresh = generate()
    with np.load(SHIPPED_FILE) as shipped:
        assert sorted(shipped.files) == sorted(fresh)
        for name, array in fresh.items():
            np.testing.assert_array_equal(shipped[name], array)


def test_folding_expands_to_a_letter_first_and_to_nothing_solo() -> None:
    kinds = unicode_tables().expansions >> 24
    assert set(kinds[:, 0].tolist()) == {1}
    assert set(kinds.ravel().tolist()) == {0, 1, 3}


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
    assert set(np.flatnonzero(entries >> 24 == SOLO).tolist()) == named


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


GOLDEN_WORDS = ["b26635d521155eb1", "4c311130f791c7c6", "5fd5a7eb83c5c8c2", "d045ae9420260e20"]
GOLDEN_SHINGLES = ["d98a0f38db78bd5d", "dd4ecf521bb9c152"]


def test_golden_hashes_never_change() -> None:
    words = split("The stra\u00dfe \u6f22 x")
    assert [f"{value:016x}" for value in words.hashes.tolist()] == GOLDEN_WORDS
    sets = shingle_sets(split("one two three four five six"), 5)
    assert [f"{value:016x}" for value in sets.hashes.tolist()] == GOLDEN_SHINGLES


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
