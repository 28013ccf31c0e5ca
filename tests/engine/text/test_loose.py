"""Loose words: what copying and re-formatting change makes no difference."""

import textwrap
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.loose import IGNORED_RANGES, loose_tables, split_loose
from engine.text.words import split_words


def words(text: str) -> list[int]:
    return split_loose(pa.array([text], type=pa.large_string())).hashes.tolist()


def spans(text: str) -> list[str]:
    split = split_loose(pa.array([text]), with_positions=True)
    assert split.hashes.tolist() == words(text)
    assert split.starts is not None
    assert split.ends is not None
    data = text.encode()
    return [data[a:b].decode() for a, b in zip(split.starts, split.ends, strict=True)]


@pytest.mark.parametrize(
    ("one", "other", "num_words"),
    [
        ("The Cat", "the cat", 2),
        ("STRASSE", "stra\u00dfe", 1),
        ("don't stop", "don\u2019t, stop!", 3),
        ('he said "so" - twice', "he said \u201cso\u201d \u2014 twice", 4),
        ("a\u00a0b\u2009c", "a b c", 3),
        ("one\ntwo\r\n\tthree", "one two three", 3),
        ("co\u00adop\u200bera\u2060tion\ufeff", "cooperation", 1),
        (" \u200b a \u200d \ufeff", "a", 1),
        ("caf\u00e9", "cafe\u0301", 1),
        ("r\u00e9sum\u00e9", "resume", 1),
        ("\uff21\uff11 \ufb01ne x\u00b2", "a1 fine x2", 3),
        ("\U0001d400bc", "abc", 1),
        ("\ud55c\uae00", unicodedata.normalize("NFD", "\ud55c\uae00"), 1),
        ("\u304c\u304c", "\u304b\u3099\u304b\u3099", 2),
        ("\uff76\uff9e", "\u30ac", 1),
        ("\u6f22\u200b\u5b57", "\u6f22\u5b57", 2),
        ("\u0e01\u0e33", "\u0e01\u0e4d\u0e32", 2),
        ("snake_case", "snake case", 2),
        ("one<br>two <b class=x>three</b>", "one two three", 3),
        ("a&nbsp;b &ldquo;c&rdquo; it&#8217;s", 'a b "c" it\'s', 5),
        (r"x \times \mathrm{kg}\quad\nu", r"x \times kg \nu", 4),
        (r'"eggs.\nShe said \"no\", it\u2019s"', 'eggs. She said "no", it\'s', 6),
        ("see [the *page*](http://a.b/c?d=e) now", "see the page now", 4),
        ("```python\nx = 1\n```", "x = 1", 2),
        ("wor<b>d</b>", "wor d", 2),
        ("caf&eacute;", "caf eacute", 2),
    ],
)
def test_formatting_makes_no_difference(one: str, other: str, num_words: int) -> None:
    assert words(one) == words(other)
    assert len(words(one)) == num_words


@pytest.mark.parametrize(
    ("one", "other"), [("well-known", "wellknown"), ("a b", "ab"), ("ab c", "a bc"), ("x", "y"), ("1", "2")]
)
def test_different_words_stay_different(one: str, other: str) -> None:
    assert words(one) != words(other)


def test_positions_are_bytes_of_the_text_as_it_is() -> None:
    assert spans("\ufeffCaf\u00e9 \u200b \u6f22\u200b\u5b57, co\u00adop") == [
        "\ufeffCaf\u00e9",
        "\u6f22",
        "\u5b57",
        "co\u00adop",
    ]


def test_positions_point_into_the_text_with_its_markup() -> None:
    text = r'<p class="x">Jan\u2019s caf\u00e9&nbsp;<b>eggs.\nShe</b> [ran](http://a.b) \text{f}'
    assert spans(text) == ["Jan", "s", "caf", "u00e9", "eggs", "She", "ran", "f"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if a < b and c > d", ["if", "a", "b", "and", "c", "d"]),
        ("vector<int> <stdio.h> x<y and z>w", ["vector", "int", "stdio", "h", "x", "y", "and", "z", "w"]),
        (r"\frac{\alpha}{2}\nu \neq \to", ["frac", "alpha", "2", "nu", "neq", "to"]),
        ("f[i](x) a&b;c", ["f", "i", "x", "a", "b", "c"]),
    ],
)
def test_what_only_looks_like_markup_keeps_its_words(text: str, expected: list[str]) -> None:
    assert spans(text) == expected


def test_null_and_empty_texts_have_no_words() -> None:
    split = split_loose(pa.chunked_array([pa.array([None, ""]), pa.array(["\u200b", "a b"])]))
    assert split.offsets.tolist() == [0, 0, 0, 0, 2]


def test_texts_that_are_not_chosen_have_no_words_and_hashes_go_into_the_room() -> None:
    texts = pa.chunked_array([["<b>a b", "c"], ["d", None, "e&nbsp;f"]])
    room = np.zeros(100, dtype=np.uint64)
    split = split_loose(texts, chosen=np.array([True, False, True, True, True]), room=room)
    assert split.offsets.tolist() == [0, 2, 2, 3, 3, 5]
    assert split.hashes.tolist() == words("a b d e f")
    assert np.shares_memory(split.hashes, room)
    with pytest.raises(ValueError, match="chosen: got 6 values"):
        split_loose(texts, chosen=np.ones(6, dtype=np.bool_))


@given(st.lists(st.sampled_from(["<b>a</b>", "x &lt; y", "plain", r"\nThe \nu", "", None]), max_size=10), st.data())
def test_words_are_the_same_for_any_cut_into_arrays(texts: list[str | None], data: st.DataObject) -> None:
    whole = split_loose(pa.array(texts, pa.string()), with_positions=True)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=4)))
    array = pa.array(["<i>", *texts], pa.string()).slice(1)
    parts = [array[a:b] for a, b in pairwise([0, *cuts, len(texts)])]
    cut = split_loose(pa.chunked_array(parts), with_positions=True)
    for name in ("offsets", "hashes", "starts", "ends"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))


@given(st.text(st.characters(codec="ascii", exclude_characters="<&\\]`")))
def test_plain_text_has_the_words_of_the_splitter(text: str) -> None:
    assert words(text) == split_words(pa.array([text])).hashes.tolist()


@given(st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs", "Cn"], exclude_characters="<&\\]`")))
def test_decomposed_text_has_the_same_words(text: str) -> None:
    assert words(unicodedata.normalize("NFD", text)) == words(text)


@given(st.lists(st.text(st.sampled_from("abcXYZ\u00e9\u00df\u03a3"), min_size=1), max_size=30), st.integers(5, 40))
def test_wrapping_lines_changes_nothing(parts: list[str], width: int) -> None:
    text = " ".join(parts)
    wrapped = textwrap.fill(text, width, break_long_words=False, initial_indent="# ", subsequent_indent="# ")
    assert words(wrapped) == words(text)


@given(st.text(st.sampled_from("ab \u6f22\u0e01\u1100\u00e9."), max_size=20), st.data())
def test_ignored_characters_can_stand_anywhere(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text)))
    first, last = data.draw(st.sampled_from(IGNORED_RANGES))
    ignored = chr(data.draw(st.integers(first, last)))
    assert words(text[:place] + ignored + text[place:]) == words(text)


def test_tables_are_the_same_whatever_unicode_this_python_has() -> None:
    # Digest under Python 3.11 (Unicode 14.0.0).
    from engine.base.hashing import digest_parts

    tables = loose_tables()
    assert (
        digest_parts([tables.entries.tobytes(), tables.foldings.tobytes()]).hex() == "0b86726dfde0b19112bbfaef9e9dfaa5"
    )
