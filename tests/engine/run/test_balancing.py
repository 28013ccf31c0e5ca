"""Balance by hand: who stays is known to the document; what is missing, left over or left out is counted."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from engine.base.errors import RecipeError
from engine.run.deciding import Decisions, decisions_in_memory
from engine.run.show import show_run
from engine.select import balance_table
from engine.select.balance import Rule
from engine.select.filters import Filter
from tests.engine.run.decided_corpus import corpus, doc_id, row, verdicts


def decided(folder: Path, rows: list[dict[str, Any]], *rules: Rule, **options: Any) -> Decisions:
    made = corpus(folder, rows, balance=rules, cut=lambda place: place % 2, with_split=False, **options)
    return decisions_in_memory(made.context, made.state)


def names(decisions: Decisions, rows: list[dict[str, Any]], decision: str = "kept") -> list[str]:
    found = verdicts(decisions.frames())
    return [one["name"] for one in rows if found[doc_id(one["name"])][0] == decision]


def tags(decisions: Decisions, name: str) -> list[str] | None:
    return verdicts(decisions.frames())[doc_id(name)][2]


def by_language(**options: Any) -> Rule:
    return Rule(**{"reason": "languages", "by": ["m__language"]} | options)


def quota(language: str, amount: int) -> dict[str, Any]:
    return {"group": {"m__language": language}, "amount": amount}


def test_quota_and_cap_hold_to_one_document(tmp_path: Path) -> None:
    rows = [
        row(f"{language}{n}", language=language) for language, n in [("en", 7), ("de", 5), ("fr", 2)] for n in range(n)
    ]
    decisions = decided(tmp_path, rows, by_language(cap=2, quotas=[quota("en", 4)]))
    kept = [name[:2] for name in names(decisions, rows)]
    assert [kept.count(language) for language in ("en", "de", "fr")] == [4, 2, 2]
    left = decisions.ledger().filter(pl.col("outcome") == "over_budget")
    assert left.select("reason", "documents", "bytes", "tokens").rows() == [("languages", 6, 30, 18)]
    assert decisions.balance.table.rows() == [
        ("languages", "documents", "m__language = en", True, 4, 7, 4, 0, 7, 4),
        ("languages", "documents", "m__language = de", False, 2, 5, 2, 0, 5, 2),
    ]
    assert decisions.balance.details == [
        {
            "rule": "languages",
            "unit": "documents",
            "groups": 3,
            "losing_groups": 2,
            "available": 14,
            "kept": 8,
            "available_documents": 14,
            "kept_documents": 8,
            "unmet": [],
            "outside_documents": 0,
            "null_documents": 0,
            "tagged_documents": 0,
        }
    ]


def test_preferred_documents_are_taken_and_those_without_a_score_last(tmp_path: Path) -> None:
    scores = {"a": None, "b": 0.2, "c": float("nan"), "d": 0.9, "e": -1.0, "f": 0.5}
    rows = [row(name, language="en", score=score) for name, score in scores.items()]
    for cap, kept in ((1, "d"), (2, "df"), (3, "bdf"), (4, "bdef")):
        assert "".join(names(decided(tmp_path / kept, rows, by_language(cap=cap, prefer="m__score")), rows)) == kept


def test_document_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    # 10 of 14 bytes are taken, 8 and 5 do not fit any more, 4 does.
    rows = [row(f"{size}", "a" * size, language="en", score=1.0 / place) for place, size in enumerate((10, 8, 5, 4), 1)]
    decisions = decided(tmp_path, rows, by_language(cap=14, unit="bytes", prefer="m__score"))
    assert names(decisions, rows) == ["10", "4"]
    assert decisions.balance.table.select("available", "kept", "available_documents", "kept_documents").row(0) == (
        27,
        14,
        4,
        2,
    )


def test_tokens_are_those_of_the_stage(tmp_path: Path) -> None:
    # ab and cd are one token each, as the space between them is: 3 tokens, or 5 letters.
    rows = [row("short", "ab cd", language="en", score=1.0), row("long", "acegb", language="en", score=2.0)]
    assert names(decided(tmp_path / "8", rows, by_language(cap=8, unit="tokens")), rows) == ["short", "long"]
    assert names(decided(tmp_path / "7", rows, by_language(cap=7, unit="tokens", prefer="m__score")), rows) == ["long"]
    assert names(decided(tmp_path / "4", rows, by_language(cap=4, unit="tokens", prefer="m__score")), rows) == ["short"]


def test_protected_documents_stay_use_up_room_and_are_tagged(tmp_path: Path) -> None:
    rows = [row(name, source="golden", language="en", score=score) for name, score in (("g1", 0.9), ("g2", 0.1))]
    rows += [row(name, language="en", score=2.0) for name in ("w1", "w2")]
    two, three = (by_language(cap=cap, prefer="m__score") for cap in (2, 3))
    decisions = decided(tmp_path / "three", rows, three)
    assert len(names(decisions, rows)) == 3
    assert tags(decisions, "g1") is tags(decisions, "g2") is None
    assert names(decided(tmp_path / "two", rows, two), rows) == ["g1", "g2"]
    decisions = decided(tmp_path / "one", rows, by_language(cap=1, prefer="m__score"))
    assert names(decisions, rows) == ["g1", "g2"]
    assert (tags(decisions, "g1"), tags(decisions, "g2")) == (None, ["languages"])
    assert decisions.balance.table.select("asked", "available", "kept").row(0) == (1, 4, 2)
    assert decisions.balance.details[0]["tagged_documents"] == 1


def test_protected_documents_are_tagged_by_filters_and_stage_drops_and_never_go(tmp_path: Path) -> None:
    rows = [row("g", source="golden", language="en", score=0.1, is_copy=True), row("w", language="en", score=0.1)]
    filters = [Filter(reason="low", keep="m__score > 0.5"), Filter(reason="coarse", keep="FALSE", action="tag")]
    made = corpus(tmp_path, rows, filters, [by_language(cap=0)], with_split=False)
    found = verdicts(decisions_in_memory(made.context, made.state).frames())
    assert found[doc_id("g")] == ("kept", None, ["exact_duplicate", "low", "coarse", "languages"])
    assert found[doc_id("w")] == ("dropped", "low", None)


def test_each_rule_works_on_what_those_before_it_left(tmp_path: Path) -> None:
    rows = [row(f"{n}", language="en", url=f"https://{host}.org/", score=float(n)) for n, host in enumerate("aabb")]
    hosts = Rule(reason="hosts", by=["url_host"], cap=1, prefer="m__score")
    decisions = decided(tmp_path, rows, hosts, by_language(quotas=[quota("en", 3)]))
    assert names(decisions, rows) == ["1", "3"]
    second = decisions.balance.table.filter(pl.col("rule") == "languages")
    assert second.select("asked", "available", "kept", "missing").rows() == [(3, 2, 2, 1)]


def test_documents_may_be_grouped_by_a_tag_and_nothing_else(tmp_path: Path) -> None:
    rows = [row(f"{n}", score=float(n)) for n in range(5)]
    low = Filter(reason="low", keep="m__score > 2", action="tag")
    rule = Rule(reason="tagged", by=["tagged__low"], cap=1)
    made = corpus(tmp_path, rows, [low], [rule], with_split=False)
    done = decisions_in_memory(made.context, made.state).balance.table
    assert done.select("group", "available", "kept").rows() == [
        ("tagged__low = true", 3, 1),
        ("tagged__low = false", 2, 1),
    ]


def test_quota_is_counted_after_the_last_rule(tmp_path: Path) -> None:
    sizes = {"en": 4, "de": 2, "fr": 3}
    rows = [row(f"{name}{n}", language=name, score=float(n)) for name, size in sizes.items() for n in range(size)]
    first = by_language(
        quotas=[quota("en", 4), quota("de", 2), quota("fr", 9)], unit="bytes", where="m__score IS NOT NULL"
    )
    first = first.model_copy(
        update={"quotas": tuple(q.model_copy(update={"amount": 5 * q.amount}) for q in first.quotas)}
    )
    second = Rule(reason="all", by=["source"], cap=6, prefer="m__score")
    decisions = decided(tmp_path, rows, first, second)
    kept = names(decisions, rows)
    assert len(kept) == 6
    counts = {name: sum(one.startswith(name) for one in kept) for name in sizes}
    assert counts["en"] < 4
    table = decisions.balance.table.filter(pl.col("rule") == "languages")
    assert table.select(
        "group", "asked", "available", "kept", "missing", "available_documents", "kept_documents"
    ).rows() == [
        (
            f"m__language = {name}",
            asked,
            5 * sizes[name],
            5 * counts[name],
            asked - 5 * counts[name],
            sizes[name],
            counts[name],
        )
        for name, asked in (("en", 20), ("de", 10), ("fr", 45))
    ]
    unmet = decisions.balance.details[0]["unmet"]
    assert [(one["group"], one["kept"], one["missing"]) for one in unmet] == [
        (f"m__language = {name}", 5 * counts[name], asked - 5 * counts[name])
        for name, asked in (("en", 20), ("de", 10), ("fr", 45))
        if counts[name] * 5 < asked
    ]


def test_what_did_not_fit_is_missing(tmp_path: Path) -> None:
    rows = [row(f"{n}", "ab cd.a", language="en") for n in range(5)]
    decisions = decided(tmp_path, rows, by_language(unit="bytes", quotas=[quota("en", 25)]))
    assert decisions.balance.table.select("available", "kept", "missing").rows() == [(35, 21, 4)]
    assert decisions.balance.details[0]["unmet"] == [
        {"group": "m__language = en", "asked": 25, "available": 35, "kept": 21, "missing": 4}
    ]


def test_whoever_has_a_null_or_is_not_meant_stays_and_is_counted(tmp_path: Path) -> None:
    rows = [row("null", grade=3), *(row(f"g{grade}", language="en", grade=grade) for grade in (None, 1, 2, 3))]
    decisions = decided(tmp_path, rows, by_language(cap=0, where="m__grade >= 2"))
    assert names(decisions, rows) == ["null", "gNone", "g1"]
    details = decisions.balance.details[0]
    assert (details["outside_documents"], details["null_documents"], details["available_documents"]) == (3, 1, 2)


def test_where_that_fails_on_a_document_is_an_error_of_the_recipe(tmp_path: Path) -> None:
    rows = [row("a", language="1"), row("b", language="en")]
    place = r"^recipe\.yaml: balance\[0\] \(languages\)\.where: 'CAST\(m__language AS INT\) > 0': "
    with pytest.raises(RecipeError, match=place + ".* Fix: write TRY_CAST"):
        decided(tmp_path, rows, by_language(cap=0, where="CAST(m__language AS INT) > 0"))


def test_a_condition_that_reads_no_column_holds_for_all_or_nobody(tmp_path: Path) -> None:
    rows = [row(f"{n}", language="en") for n in range(3)]
    assert names(decided(tmp_path / "all", rows, by_language(cap=0, where="TRUE")), rows) == []
    assert names(decided(tmp_path / "nobody", rows, by_language(cap=0, where="1 > 2")), rows) == ["0", "1", "2"]


def test_quota_that_cannot_be_met_is_reported_and_shown(tmp_path: Path) -> None:
    rows = [row(f"{n}", language="de") for n in range(3)] + [row("en", language="en", score=0.0)]
    made = corpus(
        tmp_path, rows, [Filter(reason="low", keep="m__score IS NULL")],
        [by_language(quotas=[quota("de", 5000), quota("en", 2)])], with_split=False,
    )  # fmt: skip
    done = decisions_in_memory(made.context, made.state).balance
    assert done.table.select("group", "asked", "available", "kept", "missing").rows() == [
        ("m__language = de", 5000, 3, 3, 4997),
        ("m__language = en", 2, 0, 0, 2),
    ]
    step = {"name": "selection", "state": "fresh", "why": "", "details": {"balance": done.details}}
    text = show_run({"dry_run": False, "steps": [step], "annotating": [], "ledger": [], "n_eff": {}, "mixtures": []})
    assert "balance languages: m__language = de: 3 of 5,000 documents kept, 4,997 missing (3 came)" in text


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            "m__language",
            "dee",
            r"balance\[0\] \(r\): quotas: no document with m__language = 'dee'.*did you mean 'de'\?",
        ),
        ("m__grade", 4, r"m__grade = '4' \(have: 1, 2\)"),
        ("m__is_code", True, r"m__is_code = 'true' \(have: false\)"),
    ],
)
def test_quota_for_a_value_nobody_has_is_an_error_with_a_guess(
    tmp_path: Path, column: str, value: Any, message: str
) -> None:
    rule = Rule(reason="r", by=[column], quotas=[{"group": {column: value}, "amount": 1}])
    rows = [row(f"{n}", language=["de", "en"][n], grade=n + 1, is_code=False) for n in range(2)]
    with pytest.raises(RecipeError, match=message):
        decided(tmp_path, rows, rule)


def test_groups_are_listed_by_loss_and_only_the_largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance_table, "LISTED_GROUPS", 3)
    sizes = {"a": 2, "b": 4, "c": 3, "d": 3, "e": 3, "f": 1}
    rows = [row(f"{language}{n}", language=language) for language, size in sizes.items() for n in range(size)]
    decisions = decided(tmp_path, rows, by_language(cap=1))
    assert decisions.balance.table["group"].to_list() == [f"m__language = {one}" for one in "bcd"]
    assert decisions.balance.details[0]["losing_groups"] == 5


def test_quotas_written_as_a_mapping_show_the_list_they_should_be() -> None:
    with pytest.raises(ValidationError, match=r"Needed: a list of quotas, such as - \{group: \{language: en\}, amount"):
        by_language(quotas={"en": 10})
