"""A recipe is checked as a whole, and every mistake is reported at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.base.errors import RecipeError
from engine.recipe import check_recipe

Change = Callable[[dict[str, Any]], Any]


def content() -> dict[str, Any]:
    return {
        "name": "web",
        "seed": 7,
        "sources": [
            {"stage": "jsonl", "name": "good", "path": "good.jsonl"},
            {"stage": "parquet", "name": "bad", "path": "bad.parquet", "columns": {"text": "body"}},
        ],
        "annotate": [
            {"stage": "exact_dup"},
            {"stage": "near_dup", "threshold": 0.8},
            {"stage": "quality", "positive": ["good"], "negative": ["bad"]},
            {"stage": "quality", "as": "edu_quality", "positive": ["bad"], "negative": ["good"]},
            {"stage": "contamination"},
        ],
        "split": {"heldout": {"general": {"sources": ["good"], "max_bytes": 1000}}, "min_similarity": 0.5},
        "filters": [{"reason": "poor", "keep": "edu_quality__score >= 0.5 AND quality__score > 0.1"}],
        "guard": {"allow": {"bad": 0.9}},
        "tokenizer": {"train": {"sources": ["good"], "vocab_size": 1000}},
        "mixtures": {"mix": {"sources": ["bad"], "replay": {"share": 0.1, "sources": {"good": 2}}}},
    }


def mistakes(change: Change) -> list[str]:
    spoilt = content()
    change(spoilt)
    with pytest.raises(RecipeError) as caught:
        check_recipe(spoilt, Path("web.yaml"))
    return str(caught.value).splitlines()


def test_whole_recipe_is_accepted_and_resolved_with_its_defaults() -> None:
    recipe = check_recipe(content(), Path("web.yaml"))
    assert recipe.source_names == ["good", "bad"]
    assert [stage.config.column_prefix for stage in recipe.annotate][2:4] == ["quality", "edu_quality"]
    assert recipe.resolved()["guard"] == {
        "max_source_loss": 0.5,
        "max_cluster_documents": 10_000,
        "allow": {"bad": 0.9},
    }


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_numbers_that_are_not_finite_are_mistakes(value: float) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotate"][2]["learning_rate"] = value
        content["annotate"].append({"stage": "difficulty", "by": "chars", "cuts": [1, value]})
        content["guard"]["allow"]["bad"] = value
        content["filters"] = []

    assert sorted(mistakes(change)) == [
        f"web.yaml: annotate[2].learning_rate: got {value}. Needed: a finite number.",
        f"web.yaml: annotate[5].cuts[1]: got {value}. Needed: a finite number.",
        f"web.yaml: guard.allow.bad: got {value}. Needed: a finite number.",
    ]


def test_near_dup_verifies_down_to_what_the_split_needs() -> None:
    with_split = check_recipe(content(), Path("web.yaml"))
    assert with_split.annotate[1].config.floor == 0.5
    without = content()
    del without["split"], without["annotate"][4]
    assert check_recipe(without, Path("web.yaml")).annotate[1].config.floor is None


def test_a_held_out_set_in_tokens_needs_the_stage_that_counts_them() -> None:
    def in_tokens(content: dict[str, Any]) -> None:
        content["split"]["heldout"]["general"] = {"sources": ["good"], "max_tokens": 1000}

    assert mistakes(in_tokens) == [
        "web.yaml: split.heldout.general: max_tokens counts tokens, which no stage counts. Needed: the stage tokens. "
        "Fix: add - {stage: tokens, tokenizer: PATH} to annotate:, or write max_bytes."
    ]


@pytest.mark.parametrize("missing", [["tokenizer"], ["mixtures"], ["tokenizer", "mixtures"]])
def test_control_tokens_without_what_they_are_written_in_are_a_mistake(missing: list[str]) -> None:
    def change(content: dict[str, Any]) -> None:
        content["control_tokens"] = {"tags": [{"tag": "from", "column": "source", "values": ["good"]}]}
        for name in missing:
            del content[name]

    found = f"web.yaml: control_tokens: no token would be written: there is no section {missing[0]}"
    assert any(line.startswith(found) for line in mistakes(change))


@pytest.mark.parametrize(("slots", "is_enough"), [(1, False), (2, True)])
def test_a_tokenizer_to_be_trained_needs_a_slot_for_each_tag_where_it_may_not_grow(slots: int, is_enough: bool) -> None:
    def change(content: dict[str, Any]) -> None:
        tag = {"tag": "from", "column": "source", "values": ["good", "bad"]}
        content["control_tokens"] = {"tags": [tag], "grow": False}
        content["tokenizer"]["train"]["control_slots"] = slots

    if is_enough:
        given = content()
        change(given)
        check_recipe(given, Path("web.yaml"))
    else:
        start = "web.yaml: control_tokens: 2 tokens and 1 free slots in the tokenizer to be trained."
        assert [line[: len(start)] for line in mistakes(change)] == [start]


@pytest.mark.parametrize("value", [-1, 1 << 32, 10**30])
def test_a_value_that_the_type_of_its_column_cannot_hold_is_a_mistake(value: int) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotate"].append({"stage": "heuristics"})
        column = "heuristics__num_words"
        tag = {"tag": "words", "column": column, "values": {"none": [0], "all": [(1 << 32) - 1], "odd": [value]}}
        content["control_tokens"] = {"tags": [tag]}
        quotas = [{"group": {column: one}, "amount": 1} for one in (0, value)]
        content["balance"] = [{"reason": "cap", "by": [column], "quotas": quotas}]

    assert mistakes(change) == [
        f"web.yaml: balance[0] (cap): a quota for heuristics__num_words = {value}, which is UInt32. Needed: a value of "
        "that type.",
        f"web.yaml: control_tokens (words): a label for {value}, but heuristics__num_words is UInt32. Needed: values "
        "of that type.",
    ]


def test_split_draws_with_the_recipe_seed_unless_it_has_its_own() -> None:
    assert check_recipe(content(), Path("web.yaml")).split.seed == 7  # type: ignore[union-attr]
    own = content()
    own["split"]["seed"] = 3
    assert check_recipe(own, Path("web.yaml")).split.seed == 3  # type: ignore[union-attr]


def test_benchmarks_or_a_split_are_enough_to_search_for() -> None:
    only_split = content()
    assert check_recipe(only_split, Path("web.yaml")).benchmarks == ()
    only_benchmarks = content() | {"benchmarks": ["eval/gsm8k.jsonl", "other=arc.csv"]}
    del only_benchmarks["split"]
    assert check_recipe(only_benchmarks, Path("web.yaml")).benchmarks == ("eval/gsm8k.jsonl", "other=arc.csv")


def test_resolved_recipe_is_a_recipe_and_says_the_same_again() -> None:
    given = content() | {"benchmarks": ["gsm8k.jsonl"]}
    given["annotate"][4].update(action="cut", min_passage=0.4)
    recipe = check_recipe(given, Path("web.yaml"))
    resolved = recipe.resolved()
    assert resolved["benchmarks"] == ["gsm8k.jsonl"]
    again = check_recipe(resolved, Path("web.yaml"))
    assert again.resolved() == resolved
    assert again.digest() == recipe.digest()
    assert recipe.digest() != check_recipe({**given, "benchmarks": ["arc.csv"]}, Path("web.yaml")).digest()


def test_rule_set_by_name_becomes_its_rules_in_the_resolved_recipe() -> None:
    given = content()
    given["annotate"].insert(0, {"stage": "heuristics", "as": "h"})
    given["filters"].append({"preset": "c4", "as": "h"})
    recipe = check_recipe(given, Path("web.yaml"))
    resolved = recipe.resolved()
    assert [rule["reason"] for rule in resolved["filters"]] == [
        "poor",
        "c4_lorem_ipsum",
        "c4_curly_bracket",
        "c4_too_few_sentences",
    ]
    assert resolved["filters"][3]["keep"] == "COALESCE(h__num_c4_sentences >= 3, FALSE)"
    assert check_recipe(resolved, Path("web.yaml")).digest() == recipe.digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(sed=1), "web.yaml: sed: unknown key. Fix: did you mean 'seed'?"),
        (lambda r: r["sources"][0].update(nme="x"), "sources[0].nme: unknown key"),
        (lambda r: r["sources"][1].update(name="good"), "two sources are called 'good'"),
        (
            lambda r: r["annotate"][2].update(positive=["god"]),
            "annotate[2].positive: no source 'god' (have: bad, good)",
        ),
        (lambda r: r["annotate"].pop(0), "annotate[0] (near_dup): no column written before it 'exact_dup__kept_id'"),
        (lambda r: r["annotate"][3].pop("as"), "a second stage writes the columns quality__*"),
        (
            lambda r: r.pop("split"),
            "annotate[4] (contamination): it searches for what is meant for measuring, but there is neither split nor "
            "benchmarks. Fix: add a section split: or benchmarks:",
        ),
        (
            lambda r: r["annotate"].pop(4) and r.update(benchmarks=["gsm8k.jsonl"]),
            "web.yaml: benchmarks: no stage searches for them. Needed: a stage that does. "
            "Fix: add - {stage: contamination} to annotate:",
        ),
        (lambda r: r.update(benchmarks="gsm8k.jsonl"), "web.yaml: benchmarks: got 'gsm8k.jsonl'"),
        (lambda r: r["annotate"][4].update(action="delete"), "annotate[4].action: got 'delete'"),
        (lambda r: r["annotate"][4].update(min_fraction=0.5), "annotate[4].min_fraction: unknown key"),
        (lambda r: r["filters"][0].update(keep="edu__score > 1"), "filters[0] (poor): no column 'edu__score'"),
        (lambda r: r["filters"][0].update(keep="quality__score > "), "filters[0].keep"),
        (lambda r: r["filters"][0].update(keep="quality__score"), "write a comparison"),
        (lambda r: r["filters"][0].pop("reason"), "filters[0].reason: is missing"),
        (
            lambda r: r["filters"].append({"preset": "gopher"}),
            "filters[1].preset: no rule set 'gopher'. Needed: one of c4, fineweb, gopher_quality, gopher_repetition",
        ),
        (lambda r: r["filters"].append({"preset": "c4", "prefix_of": "h"}), "filters[1].prefix_of: unknown key"),
        (
            lambda r: r["filters"].append({"preset": "c4"}),
            "filters[1]: preset c4 reads columns heuristics__*, which no stage writes. Needed: the stage heuristics",
        ),
        (
            lambda r: r["filters"][0].update(reason="no_text"),
            "web.yaml: filters[0]: the reason no_text is that of documents without text. Needed: a reason of its own",
        ),
        (
            lambda r: r.update(balance=[{"reason": "broken_json", "by": ["source"], "cap": 1}]),
            "balance[0]: the reason broken_json is that of rows that cannot be read",
        ),
        (
            lambda r: r["filters"].append({"reason": "near_duplicate", "keep": "num_bytes > 1"}),
            "filters[1]: the reason near_duplicate is that of the stage near_dup",
        ),
        (
            lambda r: r.update(balance=[{"reason": "poor", "by": ["source"], "cap": 1}]),
            "balance[0]: the reason poor is that of filters[0]",
        ),
        (
            lambda r: r.update(balance=[{"reason": "cap", "by": ["source"], "cap": cap} for cap in (100, 10)]),
            "balance[1]: the reason cap is that of balance[0]",
        ),
        (
            lambda r: r.update(balance=[{"reason": "cap", "by": ["language", "source", "language"], "cap": 1}]),
            "balance[0]: it groups by language twice; once each",
        ),
        (lambda r: r["guard"]["allow"].update(god=1), "guard.allow: no source 'god'"),
        (lambda r: r.pop("tokenizer"), "no tokenizer is named"),
        (
            lambda r: r["mixtures"]["mix"]["replay"].update(sources=["web"]),
            "mixtures.mix.replay.sources: no source 'web'",
        ),
        (lambda r: r.update(sources=[]), "sources"),
        (lambda r: r["annotate"].append("near_dup"), "annotate[5]: got 'near_dup'"),
        (lambda r: r["annotate"].append({"stge": "near_dup"}), "annotate[5]: no key 'stage'"),
    ],
)
def test_mistake_names_its_place_and_the_remedy(change: Change, message: str) -> None:
    assert any(message in line for line in mistakes(change)), mistakes(change)


def test_filters_may_share_a_reason() -> None:
    given = content()
    given["filters"].append({"reason": "poor", "keep": "num_bytes > 1"})
    assert [one.reason for one in check_recipe(given, Path("web.yaml")).filters] == ["poor", "poor"]


def test_all_mistakes_come_at_once() -> None:
    def spoil(recipe: dict[str, Any]) -> None:
        recipe["sed"] = recipe.pop("seed")
        recipe["sources"][0]["stage"] = "jsnol"
        recipe["annotate"][1]["threshold"] = 1.4
        recipe["filters"][0]["keep"] = "edu__score > 1"
        recipe["mixtures"]["mix"]["row_tokens"] = 0

    found = mistakes(spoil)
    for part in ("sed", "jsnol", "annotate[1].threshold: got 1.4", "edu__score", "mixtures.mix.row_tokens"):
        assert any(part in line for line in found), part
