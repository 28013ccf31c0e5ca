"""Edits of a text: what is cut goes, what is replaced reads otherwise, both found in the text as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.edits import Edits

TEXT = "Write to Grüße@x.org today. What is seven times six? Bye, Grüße@x.org."


def span(part: str, which: int = 0) -> tuple[int, int]:
    start = -1
    for _ in range(which + 1):
        start = TEXT.index(part, start + 1)
    return len(TEXT[:start].encode()), len(TEXT[: start + len(part)].encode())


def test_cuts_are_found_where_replacements_have_moved_them() -> None:
    mail = [(*span("Grüße@x.org", which), "<EMAIL>") for which in (0, 1)]
    edits = Edits(cuts=[span("What is seven times six?")], replacements=mail)
    assert edits.applied(TEXT) == "Write to <EMAIL> today. Bye, <EMAIL>."
    assert edits.cut_bytes(TEXT) == len("What is seven times six? ")


def test_what_lies_in_a_cut_is_not_replaced() -> None:
    start, end = span("Write to Grüße@x.org today.")
    edits = Edits(cuts=[(start, end)], replacements=[(*span("Grüße@x.org"), "<EMAIL>")])
    assert edits.applied(TEXT) == "What is seven times six? Bye, Grüße@x.org."


@pytest.mark.parametrize("order", [1, -1])
def test_of_replacements_that_overlap_the_first_and_longest_stands(order: int) -> None:
    found = [(*span("Grüße"), "A"), (*span("Grüße@x.org"), "B"), (*span("x.org today"), "C")][::order]
    assert Edits(replacements=found).applied(TEXT).startswith("Write to B today. What")


def test_without_edits_a_text_is_as_it_was() -> None:
    assert Edits().applied("") == ""
    assert Edits().applied(TEXT) == TEXT
    assert Edits(replacements=[(0, 5, "Wrote")]).cut_bytes(TEXT) == 0


spans = st.tuples(st.integers(0, 30), st.integers(1, 10)).map(lambda one: (one[0], one[0] + one[1]))


@given(st.lists(spans, max_size=3), st.lists(spans, max_size=6))
def test_any_spans_make_a_text_without_what_was_replaced(
    cuts: list[tuple[int, int]], found: list[tuple[int, int]]
) -> None:
    text = "abcdefghij" * 5
    edited = Edits(cuts, [(start, end, "#") for start, end in found]).applied(text)
    gone = {place for start, end in cuts for place in range(start, end)}
    kept = [letter for place, letter in enumerate(text) if place not in gone]
    if not found:
        assert edited == "".join(kept)
    assert len(edited.replace("#", "")) <= len(kept)


def test_edits_of_a_text_in_parts_are_edits_of_each_part() -> None:
    parts = ["Write to Grüße@x.org.", "Seven times six?", "It is 42, Grüße@x.org."]
    sizes = [len(part.encode()) for part in parts]
    second, third = sizes[0] + 2, sizes[0] + sizes[1] + 4
    edits = Edits(
        cuts=[(second + 6, third + 9)],
        replacements=[(9, sizes[0] - 1, "<A>"), (third + 10, third + sizes[2] - 1, "<B>")],
    )
    found = edits.of_parts(sizes, 2)
    assert [one.applied(part) for one, part in zip(found, parts, strict=True)] == ["Write to <A>.", "Seven", "<B>."]
    over_two = Edits(replacements=[(sizes[0] - 2, second + 5, "X")]).of_parts(sizes, 2)
    applied = [one.applied(part) for one, part in zip(over_two, parts, strict=True)]
    assert applied == ["Write to Grüße@x.orX", " times six?", parts[2]]
