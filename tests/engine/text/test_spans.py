"""What is left of a text when spans are cut out of it, character by character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.spans import LINE_BYTES, merged_spans, moved_spans, with_replacements, without_spans

FAR = "far away words " * 8
"""More than a line."""


def cut(marked: str) -> str:
    """Cut out what stands in <<...>>."""
    text, spans = "", []
    for number, part in enumerate(marked.replace(">>", "<<").split("<<")):
        start = len(text.encode())
        text += part
        if number % 2:
            spans.append((start, len(text.encode())))
    return without_spans(text, spans)


@pytest.mark.parametrize(
    ("marked", "left"),
    [
        ("nothing is cut ", "nothing is cut "),
        ("one <<two>> three", "one three"),
        ("one\n\n<<two>>\n\nthree\n", "one\n\nthree\n"),
        ("one\n\n<<two>> three", "one\n\nthree"),
        ("one\n<<two>>\nthree", "one\nthree"),
        ("one\r\n<<two>>\r\nthree", "one\r\nthree"),
        ("one\n\n\n\n<<two>>\n\n\nthree", "one\n\nthree"),
        ("<<one>> two", "two"),
        ("one <<two>>", "one"),
        ("one\n<<two>>\n", "one\n"),
        ("one\n<<two", "one"),
        ("<<all of it>>", ""),
    ],
)
def test_pieces_are_joined_by_the_white_space_that_was_there(marked: str, left: str) -> None:
    assert cut(marked) == left


@pytest.mark.parametrize(
    ("marked", "left"),
    [
        ('He asked: "<<who is it>>?" And left.', "He asked: And left."),
        ("one **<<two>>** three", "one three"),
        ("one __<<two>>__ three", "one three"),
        ("one\n- <<two>>\n- three", "one\n- three"),
        ("one\n> <<two>>?\n\nthree", "one\n\nthree"),
        ("one. <<Two>>. Three.", "one. Three."),
        ("(<<two>>?)", ""),
        ("one <<two>>.\n", "one\n"),
    ],
)
def test_punctuation_around_it_and_an_empty_bullet_go_too(marked: str, left: str) -> None:
    assert cut(marked) == left


def test_indentation_of_what_follows_stays() -> None:
    assert cut('def f(x):\n    """<<Say who it is>>."""\n    return x\n') == "def f(x):\n    return x\n"
    assert cut("if x:\n        # <<say who>>\n        return 1\n") == "if x:\n        return 1\n"


def test_what_stands_between_two_spans_stays() -> None:
    assert cut("one <<two>> or <<three>> four") == "one or four"
    assert cut(f"one <<two>> {FAR} <<three>> four") == f"one {FAR.strip()} four"


def test_spans_may_overlap_and_come_in_any_order() -> None:
    text = "one two three four " + FAR
    assert without_spans(text, [(8, 13), (4, 10), (4, 7)]) == "one four " + FAR


def test_spans_are_bytes_and_scripts_without_spaces_close_up() -> None:
    assert cut("\u4e00\u4e8c<<\u4e09\u56db>>\u4e94\u516d") == "\u4e00\u4e8c\u4e94\u516d"
    assert cut("Stra\u00dfe <<\u00fcber>> alles") == "Stra\u00dfe alles"


def test_where_no_letter_or_digit_is_left_nothing_is() -> None:
    assert cut(" -- <<one two>> ?! \n\n ***") == ""


@given(st.lists(st.sampled_from(["word", " ", "\n", "?", "- ", "\u00e9", FAR]), max_size=12), st.data())
def test_no_word_outside_the_spans_is_lost_but_those_within_a_line(parts: list[str], data: st.DataObject) -> None:
    spans, place = [], 0
    chosen = data.draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts)))
    for part, is_cut in zip(parts, chosen, strict=True):
        end = place + len(part.encode())
        spans += [(place, end)] if is_cut else []
        place = end
    text = "".join(parts)
    left = without_spans(text, spans)
    kept = [part for part, is_cut in zip(parts, chosen, strict=True) if not is_cut and part == FAR]
    assert left.count(FAR.strip()) == len(kept)
    assert not spans or len(left) <= len(text)
    assert without_spans(left, []) == left


def test_spans_less_than_a_line_apart_are_one_whatever_their_order() -> None:
    assert merged_spans([(500, 510), (0, 10), (89, 120), (115, 118)], LINE_BYTES) == [(0, 120), (500, 510)]
    assert merged_spans([(0, 10), (90, 120)], LINE_BYTES) == [(0, 10), (90, 120)]


def test_spans_that_touch_are_one() -> None:
    assert merged_spans([(0, 10), (10, 12), (13, 15)]) == [(0, 12), (13, 15)]


def test_replacements_stand_where_the_spans_were() -> None:
    assert with_replacements("caf\u00e9 anna, ben", [(12, 15, "B"), (6, 10, "<long tag>")]) == "caf\u00e9 <long tag>, B"
    assert with_replacements("as it is", []) == "as it is"


@pytest.mark.parametrize("spans", [[(0, 3, "x"), (2, 4, "y")], [(1, 1, "x")], [(3, 9, "x")]])
def test_spans_that_overlap_are_empty_or_outside_are_refused(spans: list[tuple[int, int, str]]) -> None:
    with pytest.raises(ValueError, match="overlaps another, is empty"):
        with_replacements("four", spans)


def test_spans_move_with_the_replacements_before_them_and_take_in_those_they_cut() -> None:
    replacements = [(5, 9, "<a tag>"), (14, 17, "B")]
    text = with_replacements("Dear anna and ben, hello", replacements)
    assert text == "Dear <a tag> and B, hello"
    moved = moved_spans([(0, 4), (5, 9), (10, 13), (7, 16), (19, 24)], replacements)
    assert [text[start:end] for start, end in moved] == ["Dear", "<a tag>", "and", "<a tag> and B", "hello"]


@given(st.text(max_size=20), st.data())
def test_what_is_outside_of_replacements_is_where_moved_spans_say(text: str, data: st.DataObject) -> None:
    edges = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    places = [len(text[:edge].encode()) for edge in edges]
    pieces = list(zip(places[::2], places[1::2], strict=False))
    replacements = [(start, end, "\u00e9!") for start, end in pieces[::2]]
    moved = moved_spans(pieces[1::2], replacements)
    made = with_replacements(text, replacements).encode()
    assert [made[start:end] for start, end in moved] == [text.encode()[start:end] for start, end in pieces[1::2]]
