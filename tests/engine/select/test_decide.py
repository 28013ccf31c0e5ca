"""Decisions: exactly one per document, the first rule that applies."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.base.errors import RecipeError
from engine.formats.ledger import SCHEMA, unbalanced
from engine.select.decide import Rule, decide, over_budget_code, rule_columns
from engine.select.ledger import Cut, ledger_rows

RULES = [
    Rule(reason="near_duplicate", drop="n__kept_id IS NOT NULL"),
    Rule(reason="held_out"),
    Rule(reason="contaminated", drop="c__fraction >= 0.5"),
    Rule(reason="too_short", keep="h__num_words >= 20"),
    Rule(reason="low_quality", keep="q__score >= 0.5"),
]
GOOD: dict[str, Any] = {
    "read_problem": None, "text_digest": b"x", "n__kept_id": None, "held_out": None, "c__fraction": None,
    "h__num_words": 20, "q__score": 0.5,
}  # fmt: skip
DTYPES = {
    "read_problem": pl.String, "text_digest": pl.Binary, "n__kept_id": pl.Binary, "held_out": pl.String,
    "c__fraction": pl.Float64, "h__num_words": pl.UInt32, "q__score": pl.Float64,
}  # fmt: skip


def documents(*changes: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([GOOD | change for change in changes], schema=DTYPES, orient="row")


@pytest.mark.parametrize(
    ("change", "decision", "reason"),
    [
        ({}, "kept", None),
        ({"read_problem": "bad_json", "text_digest": None}, "dropped", "bad_json"),
        ({"text_digest": None}, "dropped", "no_text"),
        ({"text_digest": None, "n__kept_id": b"y"}, "dropped", "no_text"),
        ({"n__kept_id": b"y", "held_out": "general"}, "dropped", "near_duplicate"),
        ({"held_out": "general", "c__fraction": 1.0, "h__num_words": 1}, "held_out", "general"),
        ({"c__fraction": 0.5, "h__num_words": 1}, "dropped", "contaminated"),
        ({"c__fraction": 0.4999}, "kept", None),
        ({"h__num_words": 19, "q__score": 0.0}, "dropped", "too_short"),
        ({"h__num_words": None}, "dropped", "too_short"),
        ({"q__score": None}, "dropped", "low_quality"),
    ],
)
def test_first_rule_that_applies_is_the_reason(change: dict[str, Any], decision: str, reason: str | None) -> None:
    assert decide(documents(change), RULES).frame().rows() == [(decision, reason, None)]


def test_without_rules_all_readable_texts_are_kept() -> None:
    decided = decide(documents({}, {"text_digest": None}), []).frame()
    assert decided.rows() == [("kept", None, None), ("dropped", "no_text", None)]
    assert decided.schema == {"decision": pl.String, "reason": pl.String, "tags": pl.List(pl.String)}


def test_columns_of_a_rule_are_those_of_its_condition() -> None:
    assert [rule_columns(rule) for rule in RULES[:3]] == [("n__kept_id",), (), ("c__fraction",)]


def test_a_rule_cannot_keep_and_drop() -> None:
    with pytest.raises(ValidationError, match="not both"):
        Rule(reason="r", drop="TRUE", keep="TRUE")


def test_ledger_says_what_came_in_and_where_it_went() -> None:
    decided = decide(documents({}, {}, {"text_digest": None}, {"held_out": "general"}, {"h__num_words": 3}), RULES)
    ledger = ledger_rows(decided, pl.Series([10, 20, 0, 40, 7]), None, "web", Cut())
    assert dict(ledger.schema) == SCHEMA
    assert ledger.rows() == [
        ("selection", "web", "in", None, 5, 77, None),
        ("selection", "web", "dropped", "no_text", 1, 0, None),
        ("selection", "web", "dropped", "too_short", 1, 7, None),
        ("selection", "web", "held_out", "general", 1, 40, None),
        ("selection", "web", "kept", None, 2, 30, None),
    ]


def test_bytes_cut_out_of_kept_documents_are_not_kept() -> None:
    decided = decide(documents({}, {}, {"held_out": "general"}), RULES)
    ledger = ledger_rows(decided, pl.Series([10, 20, 40]), pl.Series([3, None, 4]), "web", Cut("contamination", 8, -1))
    assert ledger.rows() == [
        ("selection", "web", "in", None, 3, 70, 7),
        ("selection", "web", "held_out", "general", 1, 40, 4),
        ("selection", "web", "kept", None, 2, 22, 4),
        ("selection", "web", "cut", "contamination", 0, 8, -1),
    ]
    assert unbalanced(ledger).height == 0


def test_ledger_of_no_documents_is_zero_in() -> None:
    none = pl.Series([], dtype=pl.Int64)
    assert ledger_rows(decide(documents(), RULES), none, None, "web", Cut()).rows() == [
        ("selection", "web", "in", None, 0, 0, None)
    ]


ROWS = st.fixed_dictionaries(
    {
        "read_problem": st.sampled_from([None, "bad_json", "bad_utf8"]),
        "text_digest": st.sampled_from([None, b"x"]),
        "n__kept_id": st.sampled_from([None, b"y"]),
        "held_out": st.sampled_from([None, "general", "code"]),
        "c__fraction": st.one_of(st.none(), st.floats(0, 1)),
        "h__num_words": st.one_of(st.none(), st.integers(0, 40)),
        "q__score": st.one_of(st.none(), st.floats(0, 1)),
        "num_bytes": st.integers(100, 2**40),
        "cut_bytes": st.integers(0, 100),
    }
)


@given(rows=st.lists(ROWS, max_size=20), rules=st.lists(st.sampled_from(RULES), max_size=5, unique=True))
@settings(max_examples=50, deadline=None)
def test_every_document_is_accounted_for_once(rows: list[dict[str, Any]], rules: list[Rule]) -> None:
    frame = pl.DataFrame(rows, schema={**DTYPES, "num_bytes": pl.Int64, "cut_bytes": pl.Int64}, orient="row")
    codes = decide(frame, rules)
    decided = codes.frame()
    assert decided.height == frame.height
    assert decided["decision"].is_in(["kept", "dropped", "held_out"]).all()
    assert (decided["reason"].is_null() == (decided["decision"] == "kept")).all()
    is_cut = bool((decided["decision"] == "kept").any())
    cut = Cut("c", int(frame["cut_bytes"].filter(decided["decision"] == "kept").sum()), 3) if is_cut else Cut()
    ledger = ledger_rows(codes, frame["num_bytes"], frame["num_bytes"] // 4, "web", cut)
    assert unbalanced(ledger).height == 0
    assert ledger.filter(pl.col("outcome") == "in").select("documents", "bytes").row(0) == (
        len(rows),
        sum(r["num_bytes"] for r in rows),
    )


TAGGING = [Rule(reason=f"above_{bound}", keep=f"h__num_words <= {bound}", action="tag") for bound in range(11)]


def test_tags_are_the_reasons_of_all_rules_that_only_tag_in_their_order() -> None:
    decided = decide(documents({"h__num_words": 3}, {"h__num_words": 10}, {"h__num_words": 0}), TAGGING)
    assert decided.frame()["tags"].to_list() == [
        ["above_0", "above_1", "above_2"],
        [f"above_{bound}" for bound in range(10)],
        None,
    ]
    assert decided.is_tagged("above_9").to_list() == [False, True, False]


def test_only_kept_documents_have_tags() -> None:
    decided = decide(documents({"q__score": 0.1}, {}), [TAGGING[0], RULES[4]]).frame()
    assert decided.rows() == [("dropped", "low_quality", None), ("kept", None, ["above_0"])]


def test_every_rule_only_tags_documents_of_a_protected_source_but_for_the_split() -> None:
    changes = [{"n__kept_id": b"y", "c__fraction": 1.0}, {"held_out": "general"}, {"text_digest": None}]
    assert decide(documents(*changes), RULES, is_protected=True).frame().rows() == [
        ("kept", None, ["near_duplicate", "contaminated"]),
        ("held_out", "general", None),
        ("dropped", "no_text", None),
    ]


def test_documents_that_go_or_are_tagged_later_keep_all_else() -> None:
    before = decide(documents({}, {}, {"held_out": "general"}), RULES, is_protected=True, balance=["cap", "quota"])
    nobody, second = np.array([False] * 3), np.array([False, True, False])
    after = before.going(over_budget_code(len(RULES), 1), second, nobody, "quota")
    assert after.frame().rows() == [("kept", None, None), ("over_budget", "quota", None), ("held_out", "general", None)]
    tagged = before.going(over_budget_code(len(RULES), 0), nobody, second, "cap")
    assert tagged.frame()["tags"].to_list() == [None, ["cap"], None]


@given(
    changes=st.lists(
        st.sampled_from([{}, {"h__num_words": 4}, {"held_out": "code"}, {"text_digest": None}]), max_size=9
    )
)
@settings(max_examples=50, deadline=None)
def test_table_that_is_written_says_what_the_frame_says(changes: list[dict[str, Any]]) -> None:
    decided = decide(documents(*changes), [RULES[1], *TAGGING])
    assert pl.DataFrame(decided.table()).cast(decided.frame().schema).equals(decided.frame())


@pytest.mark.parametrize("keep", ["CAST(n AS INTEGER) > 3", "1.5 / h__num_words > 1"])
def test_condition_that_fails_on_a_document_is_an_error_that_names_its_rule(keep: str) -> None:
    rows = pl.DataFrame(
        {"read_problem": [None], "text_digest": [b"x"], "n": ["word"], "h__num_words": [0]},
        schema_overrides={"read_problem": pl.String, "h__num_words": pl.UInt64},
    )
    rules = [Rule(reason="fine", keep="h__num_words >= 0"), Rule(reason="odd", keep=keep)]
    with pytest.raises(RecipeError, match=r"^rule odd: "):
        decide(rows, rules)
