"""search: what a text holds of the targets, whatever other texts stand beside it."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate.contamination.index import Index
from engine.annotate.contamination.search import PIECE_CHARS, search
from tests.engine.annotate.contamination.makers import array, index_of, item, words

REACH = 32


def matches(index: Index, *texts: str | None) -> list[dict[str, Any]]:
    return search(array(*texts), index).matches.to_dicts()


def match(index: Index, text: str) -> dict[str, Any]:
    """The one match of a text."""
    (only,) = matches(index, text)
    return only


def test_a_text_holds_a_question_whatever_stands_around_it() -> None:
    index = index_of(item(words(0, 8)))
    assert [m["row"] for m in matches(index, words(0, 8), f"x {words(0, 8)} y", "nothing", words(0, 7))] == [0, 1]


@pytest.mark.parametrize(
    "text",
    [
        "W0 W1 W2 W3 W4 W5 W6 W7",
        "w0, w1; w2: (w3) - w4... w5?! \u201cw6\u201d \u2014 w7",
        "w0\nw1\r\nw2\tw3\u00a0w4  w5\u2003w6\u3000w7",
        "w0 w\u200b1 w\u00ad2 w3\ufeff w4 w5 w6 w7",
        "**w0** _w1_ ~~w2~~ `w3` > w4 - w5 | w6 | # w7",
        "\uff57\uff10 w1 w2 w3 w4 w5 w6 w7",
    ],
)
def test_case_punctuation_spaces_and_decoration_change_nothing(text: str) -> None:
    assert match(index_of(item(words(0, 8))), text)["ngrams"] == [0]


def test_a_null_text_and_an_empty_one_hold_nothing() -> None:
    index = index_of(item(words(0, 8)))
    assert [m["row"] for m in matches(index, None, "", words(0, 8), None)] == [2]


@pytest.mark.parametrize(("num_words", "is_looked_at"), [(9, False), (10, True), (13, True)])
def test_a_quarter_of_the_ngrams_makes_a_match(num_words: int, is_looked_at: bool) -> None:
    # 17 words have ten 8-grams: a quarter of them is three.
    index = index_of(item(words(0, 17)))
    assert bool(matches(index, words(0, num_words))) == is_looked_at


def test_an_ngram_that_stands_twice_counts_once() -> None:
    index = index_of(item(words(0, 17)))
    assert matches(index, " x ".join([words(0, 9)] * 5)) == []
    assert len(search(array(" x ".join([words(0, 9)] * 5)), index).ngrams) == 2


def test_ngrams_are_counted_even_where_they_make_no_match() -> None:
    found = search(array(words(0, 8), "nothing", words(1, 10)), index_of(item(words(0, 40))))
    assert found.matches.height == 0
    assert found.ngrams["row"].to_list() == [0, 2, 2]


def test_spans_are_bytes_of_the_text_as_it_is() -> None:
    text = "\u00e9t\u00e9: W0 W1, W2 w3 w4 w5 w6 \u201cw7\u201d \u2014 \u00fc"
    found = match(index_of(item(words(0, 8))), text)
    assert found["pieces"] == ["W0 W1, W2 w3 w4 w5 w6 \u201cw7"]
    ((start, end),) = [(span["start"], span["end"]) for span in found["spans"]]
    assert text.encode()[start:end].decode() == found["pieces"][0]


def test_pieces_apart_are_spans_apart() -> None:
    found = match(index_of(item(words(0, 20))), f"{words(0, 9)} other {words(9, 20)}")
    assert found["pieces"] == [words(0, 9), words(9, 20)]


def test_a_long_piece_is_cut_and_its_span_is_not() -> None:
    question = " ".join(f"long{number:06}" for number in range(200))
    found = match(index_of(item(question)), question)
    assert found["pieces"] == [question[:PIECE_CHARS]]
    assert found["spans"] == [{"start": 0, "end": len(question)}]


def test_a_piece_is_cut_between_characters() -> None:
    question = " ".join(f"\u00e9t\u00e9{number}" for number in range(400))
    assert match(index_of(item(question)), question)["pieces"] == [question[:PIECE_CHARS]]


@pytest.mark.parametrize(
    ("gap", "is_found"), [(0, True), (REACH + 8 + 1 - 1, True), (REACH + 8 + 1, False)], ids=["next", "last", "beyond"]
)
def test_an_answer_counts_within_reach_behind_a_question(gap: int, is_found: bool) -> None:
    # Reach: 8 words of the question, 1 of the answer, 32 more.
    index = index_of(item(words(0, 8), ["yes"]))
    filler = " ".join(["x"] * gap)
    assert match(index, f"{words(0, 8)} {filler} yes")["has_answer"] == is_found


@pytest.mark.parametrize(("gap", "is_found"), [(40, True), (41, False)])
def test_an_answer_counts_within_reach_before_a_question(gap: int, is_found: bool) -> None:
    index = index_of(item(words(0, 8), ["yes"]))
    filler = " ".join(["x"] * gap)
    assert match(index, f"yes {filler} {words(0, 8)}")["has_answer"] == is_found


def test_an_answer_inside_the_question_is_no_answer() -> None:
    index = index_of(item(words(0, 8), ["w3"]))
    assert not match(index, words(0, 8))["has_answer"]
    assert match(index, f"{words(0, 8)} w3")["has_answer"]


def test_choices_are_counted_each_once() -> None:
    index = index_of(item(words(0, 8), choices=["red", "dark blue", "green"]))
    assert match(index, f"{words(0, 8)} red red green")["num_choices"] == 2
    assert match(index, f"{words(0, 8)} dark")["num_choices"] == 0
    assert match(index, f"{words(0, 8)} dark-blue")["num_choices"] == 1


def test_numbers_are_counted_in_the_question_and_around_it() -> None:
    index = index_of(item(f"{words(0, 12)} 10 20 30"))
    assert match(index, f"{words(0, 12)} 10 20 30")["num_numbers"] == 3
    assert match(index, f"{words(0, 12)} 11 20 31")["num_numbers"] == 1


def test_what_is_found_near_a_match_is_evidence_too() -> None:
    found = match(index_of(item(words(0, 8), ["dark blue"])), f"{words(0, 8)} is it. Dark blue!")
    assert found["pieces"] == [words(0, 8), "Dark blue"]


def test_a_question_of_three_words_is_found_by_its_answer() -> None:
    index = index_of(item("who was it", ["the man in the iron mask"]))
    found = match(index, "Who was it? The man in the iron mask.")
    assert (found["has_question"], found["has_answer"]) == (True, True)
    assert not match(index, "The man in the iron mask.")["has_question"]


def test_any_right_answer_leads_to_a_question_of_three_words() -> None:
    index = index_of(item("who was it", ["a man in a mask", "the man in the iron mask"]))
    for answer in ("a man in a mask", "the man in the iron mask"):
        found = match(index, f"who was it {answer}")
        assert (found["has_question"], found["has_answer"]) == (True, True)


def test_all_choices_lead_to_a_question_of_three_words() -> None:
    index = index_of(item("can they fly", ["not all of them can do it"], ["no they never fly", "yes they can fly"]))
    assert match(index, "can they fly (a) yes they can fly (b) no they never fly")["num_choices"] == 2


def test_matches_come_by_row_and_target() -> None:
    index = index_of(item(words(0, 8)), item(words(0, 9)), item(words(4, 13)))
    found = matches(index, words(0, 13), words(4, 13), words(0, 8))
    assert [(m["row"], m["target"]) for m in found] == [(0, 0), (0, 1), (0, 2), (1, 2), (2, 0)]


def test_pieces_of_one_item_in_one_long_text_are_put_together() -> None:
    question = words(0, 40)
    text = f"{words(0, 20)} {' '.join(['x'] * 5000)} {words(20, 40)}"
    found = match(index_of(item(question)), text)
    assert len(found["ngrams"]) == 13 + 13
    assert found["pieces"] == [words(0, 20), words(20, 40)]


def test_a_string_array_and_a_chunked_one_are_searched_alike() -> None:
    index = index_of(item(words(0, 8)))
    texts = ["a", None, words(0, 9), words(0, 30)]
    wanted = search(array(*texts), index)
    chunked = pa.chunked_array([array(*texts[:1]), array(), array(*texts[1:])], type=pa.large_string())
    for other in (pa.array(texts, pa.string()), chunked, array("x", *texts, "y").slice(1, 4)):
        found = search(other, index)
        assert found.matches.equals(wanted.matches)
        assert found.ngrams.equals(wanted.ngrams)


QUESTIONS = (words(0, 13), words(5, 14), words(0, 60), "1 2 3 " + words(2, 20), "w0 w1 w2")
PIECES = st.sampled_from(
    [words(0, 13), words(5, 14), words(0, 33), words(30, 60), "w0 w1 w2", "yes", "no", "1 2 3", "x"]
)
TEXTS = st.lists(st.none() | st.lists(PIECES, max_size=6).map(" ".join), min_size=1, max_size=8)
INDEX = index_of(*(item(question, ["yes it is so indeed"], ["yes", "no"]) for question in QUESTIONS))


@settings(deadline=None)
@given(TEXTS, st.data())
def test_batches_cut_anywhere_give_the_same(texts: list[str | None], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(texts)))
    whole = search(array(*texts), INDEX)
    first, second = search(array(*texts[:cut]), INDEX), search(array(*texts[cut:]), INDEX)
    for name in ("matches", "ngrams"):
        moved = [row | {"row": row["row"] + cut} for row in getattr(second, name).to_dicts()]
        assert getattr(first, name).to_dicts() + moved == getattr(whole, name).to_dicts()
