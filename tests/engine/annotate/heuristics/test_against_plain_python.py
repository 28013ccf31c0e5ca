"""heuristics: all measures equal plain Python on arbitrary texts."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.annotate.heuristics.counts import count_texts
from engine.annotate.heuristics.measures import MEASURES

from .plain import measures


def measured(*texts: str | None) -> list[dict[str, Any]]:
    counts = count_texts(pa.chunked_array([pa.array(texts, pa.large_string())]))
    columns = {
        name.removeprefix("heuristics__"): measure.values(counts).to_list() for name, measure in MEASURES.items()
    }
    return [{name: values[row] for name, values in columns.items()} for row in range(len(texts))]


def assert_equal(*texts: str) -> None:
    for text, found in zip(texts, measured(*texts), strict=True):
        expected = measures(text)
        assert found == {name: expected[name] for name in found}, text


# Few characters, so that runs, lines and n-grams repeat; of one to four bytes, white space and stops of several bytes.
CHARACTERS = 'aaB1# \n\t.!?"-{}_\u2022\u2026\u201d\u00df\u00e9\u6f22\u00a0\u3000\u3002\u300d\u0301\U0001f600\u0b95'
PIECES = ("the ", "of", "\n\n", "javascript", "use cookies", "Lorem ipsum", "terms of use", "privacy policy", "...")
TEXTS = st.lists(st.sampled_from([*CHARACTERS, *PIECES]), max_size=150).map("".join)
WORDY = st.lists(st.sampled_from(["a", "b", "cc", "\u00dfa", "\u6f22", "d.\n", "e,", "\n\n"]), max_size=80).map(
    " ".join
)
LONG_RUNS = st.lists(st.tuples(st.sampled_from("a1\u00e9\u6f22# \n."), st.integers(1, 140)), max_size=6).map(
    lambda parts: "".join(character * number for character, number in parts)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS | LONG_RUNS, min_size=1, max_size=4))
@example(["\n" * 64, " " * 64, "a" * 64, "\u3000" * 64, "a" * 63 + "\u3000" + "a"])
@example(
    [
        "a" * 61 + "\u6f22\u6f22" + " \u00a0b",
        "x" * 1001 + " b c d e.",
        "x" * 1000 + " b c d e.\n" + "x" * 1001 + " b c d e.",
    ]
)
def test_characters_lines_and_sentences(texts: list[str]) -> None:
    assert_equal(*texts)


@settings(max_examples=100, deadline=None)
@given(st.lists(WORDY, min_size=1, max_size=4))
@example(["a " * 60, "a b " * 40, "a b c d e f g h i j k " * 5])
def test_repeated_words_lines_and_paragraphs(texts: list[str]) -> None:
    assert_equal(*texts)


@pytest.mark.parametrize("phrase", ["javascript", "lorem ipsum", "terms of use", "privacy policy", "use of cookies"])
def test_phrase_is_found_wherever_it_lies_in_a_block(phrase: str) -> None:
    assert_equal(*("x" * before + " " + spelt + " y" for before in range(66) for spelt in (phrase, phrase.upper())))


@pytest.mark.parametrize("unit", ["a b c. ", "\u6f22\u3002", "caf\u00e9 \u2026\n", "x\n\n"])
def test_texts_of_any_length_up_to_three_blocks(unit: str) -> None:
    text = unit * 200
    assert_equal(*(text[:length] for length in range(200)))


def test_a_text_is_measured_the_same_among_others() -> None:
    texts = ["a.\nb", None, "- x\n- x", "", "\u6f22\u5b57 ...", "one two three four five " * 30]
    assert measured(*texts) == [measured(text)[0] for text in texts]


def test_chunks_and_slices_change_nothing() -> None:
    texts = [f"line {number}\nline {number % 3}\n\nthe end of {number}." for number in range(50)]
    whole = pa.array(["before", *texts, "behind"], pa.large_string()).slice(1, 50)
    chunked = pa.chunked_array([whole.slice(0, 7), whole.slice(7, 0), whole.slice(7)])
    assert (count_texts(chunked) == count_texts(pa.chunked_array([pa.array(texts, pa.large_string())]))).all()
