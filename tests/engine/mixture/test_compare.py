"""Two versions compared: every document in one group, and all sums add up, as a comparison by dictionaries finds."""

from collections import defaultdict
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.mixture.compare import GROUPS, UNITS, USES, compare

Use = tuple[str, str, bool, int, int, int, str]
"""name of the document (its first letter is the source), phase, is_replay, repeats, tokens, supervised, text"""


def uses(*rows: Use) -> pl.DataFrame:
    found = [
        (name.encode(), name[0], phase, replay, repeats, tokens, supervised, text.encode())
        for name, phase, replay, repeats, tokens, supervised, text in rows
    ]
    return pl.DataFrame(found, schema=USES, orient="row")


@st.composite
def versions(draw: st.DrawFn) -> list[Use]:
    """A version: documents a0 to c3, in two phases and two roles, each place once; a document has one text."""
    rows = []
    for name in draw(st.permutations([f"{source}{number}" for source in "abc" for number in range(4)])):
        tokens = draw(st.integers(2, 4))
        text = draw(st.sampled_from("xy"))
        places = st.sets(st.tuples(st.sampled_from(["early", "late"]), st.booleans()), max_size=3)
        for phase, replay in sorted(draw(places)):
            rows.append((name, phase, replay, draw(st.integers(1, 3)), tokens, tokens - 1, text))
    return rows


def by_document(rows: list[Use]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, phase, replay, repeats, tokens, supervised, text in rows:
        one = found.setdefault(name, {"places": {}, "text": text, "tokens": 0, "supervised_tokens": 0, "documents": 1})
        one["places"][phase, replay] = repeats
        one["tokens"] += repeats * tokens
        one["supervised_tokens"] += repeats * supervised
    return found


def naive(old: list[Use], new: list[Use]) -> dict[str, dict[str, set[str]]]:
    """Group -> names of the documents."""
    before, after = by_document(old), by_document(new)
    groups: dict[str, Any] = defaultdict(set)
    for name in before.keys() | after.keys():
        if name not in before or name not in after:
            groups["added" if name in after else "removed"].add(name)
        elif before[name]["places"] != after[name]["places"]:
            groups["moved"].add(name)
        elif before[name] != after[name]:
            groups["changed"].add(name)
    return groups


@settings(max_examples=30)
@given(versions(), versions())
def test_every_document_is_in_the_group_it_belongs_to_and_all_sums_add_up(old: list[Use], new: list[Use]) -> None:
    found = compare(uses(*old), uses(*new))
    expected = naive(old, new)
    for group in GROUPS:
        assert {name.decode() for name in getattr(found, group)["doc_id"]} == expected[group]
        assert getattr(found, group)["doc_id"].is_unique().all()
    truth = {"before": by_document(old), "after": by_document(new)}
    sources = found.sources().to_dicts()
    assert {row["source"] for row in sources} == {name[0] for rows in (old, new) for name, *_ in rows}
    for row in sources:
        for unit in UNITS:
            total = {group: row[f"{unit}_{group}"] for group in ("before", "after", *GROUPS)}
            for when, documents in truth.items():
                assert total[when] == sum(one[unit] for name, one in documents.items() if name[0] == row["source"])
            rest = total["added"] - total["removed"] + total["moved"] + total["changed"]
            assert total["before"] + rest == total["after"]


@settings(max_examples=20)
@given(versions())
def test_nothing_changes_from_a_version_to_itself(rows: list[Use]) -> None:
    found = compare(uses(*rows), uses(*rows))
    assert [getattr(found, group).height for group in GROUPS] == [0, 0, 0, 0]
    assert not found.is_reordered


A, B = ("a1", "all", False, 1, 5, 4, "x"), ("b1", "all", True, 2, 6, 5, "x")


def test_another_order_is_told_as_such_and_moves_nothing() -> None:
    found = compare(uses(A, B), uses(B, A))
    assert found.is_reordered
    assert [getattr(found, group).height for group in GROUPS] == [0, 0, 0, 0]
    assert not compare(uses(A, B), uses(A, ("c1", "all", False, 1, 5, 4, "x"), B)).is_reordered


def test_a_move_says_what_moved() -> None:
    def reason(*after: Use) -> list[tuple[str, int, int]]:
        return compare(uses(B), uses(*after)).moved.select("reason", "tokens", "supervised_tokens").rows()

    assert reason(("b1", "all", True, 3, 6, 5, "x")) == [("more uses", 6, 5)]
    assert reason(("b1", "all", True, 1, 6, 5, "x")) == [("fewer uses", -6, -5)]
    assert reason(("b1", "all", False, 2, 6, 5, "x")) == [("role replay to domain", 0, 0)]
    assert reason(("b1", "late", True, 2, 6, 5, "x")) == [("phase all to late", 0, 0)]
    assert reason(("b1", "all", True, 1, 6, 5, "x"), ("b1", "late", True, 1, 6, 5, "x")) == [
        ("phase all to all and late", 0, 0)
    ]
    assert reason(("b1", "late", False, 3, 6, 5, "x")) == [
        ("role replay to domain, phase all to late, more uses", 6, 5)
    ]
    assert reason(("b1", "late", True, 2, 6, 5, "y")) == [("phase all to late, other text", 0, 0)]


def test_a_document_whose_text_or_tokens_are_others_is_changed_not_moved() -> None:
    found = compare(uses(A, B), uses(("a1", "all", False, 1, 7, 6, "y"), ("b1", "all", True, 2, 9, 5, "x"))).changed
    assert sorted(found.select("source", "reason", "tokens", "supervised_tokens").rows()) == [
        ("a", "other_text", 2, 2),
        ("b", "other_tokens", 6, 0),
    ]
