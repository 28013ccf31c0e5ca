"""The selection in a whole run: what balance leaves over is in the ledger, on disk and on the screen."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.base.errors import AuditError, RecipeError
from engine.catalog import sql
from engine.formats.parquet import read_parquet
from engine.formats.selection import BALANCE_SCHEMA
from engine.run.pipeline import run
from engine.run.show import show_run
from tests.engine.run.decided_corpus import letters

WEB = [{"uid": f"w{n}", "text": "ab " * (n + 1), "lang": "de" if n % 3 else "en"} for n in range(9)]
GOLDEN = [{"uid": f"g{n}", "text": "cd " * (n + 20), "lang": "de"} for n in range(2)]
QUOTAS = [{"group": {"language": "de"}, "amount": 40}, {"group": {"language": "en"}, "amount": 500}]


def recipe_in(folder: Path, **sections: Any) -> Path:
    for name, rows in (("web", WEB), ("golden", GOLDEN)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    letters(folder)
    columns = {"id": "uid", "language": "lang"}
    content = {
        "name": "small",
        "sources": [
            {"stage": "jsonl", "name": "web", "path": "web.jsonl", "columns": columns},
            {"stage": "jsonl", "name": "golden", "path": "golden.jsonl", "columns": columns, "protected": True},
        ],
        "annotate": [{"stage": "exact_dup"}, {"stage": "tokens", "tokenizer": "tokenizer.json"}],
        "filters": [{"reason": "short", "keep": "num_bytes >= 6"}],
        "balance": [{"reason": "languages", "by": ["language"], "unit": "tokens", "quotas": QUOTAS}],
        **sections,
    }
    (folder / "recipe.yaml").write_text(json.dumps(content))
    return folder / "recipe.yaml"


def test_run_balances_and_says_what_became_of_every_quota(tmp_path: Path) -> None:
    result = run(recipe_in(tmp_path), tmp_path / "ws")
    # A text of n words has 2 n tokens, a space after each of them. Of German 82 are protected, more than 40: no other
    # stays, and both protected documents do. English are w3 and w6, as w0 is short: 8 + 14 tokens.
    ledger = {(one["source"], one["outcome"], one["reason"]): one for one in result["ledger"]}
    assert {key: (one["documents"], one["bytes"], one["tokens"]) for key, one in ledger.items()} == {
        ("golden", "in", None): (2, 123, 82),
        ("golden", "kept", None): (2, 123, 82),
        ("web", "in", None): (9, 135, 90),
        ("web", "dropped", "short"): (1, 3, 2),
        ("web", "kept", None): (2, 33, 22),
        ("web", "over_budget", "languages"): (6, 99, 66),
    }
    table = read_parquet(next((tmp_path / "ws" / "selections").glob("*/balance.parquet")))
    assert dict(table.schema) == BALANCE_SCHEMA
    assert table.select("group", "asked", "available", "kept", "missing").rows() == [
        ("language = de", 40, 148, 82, 0),
        ("language = en", 500, 22, 22, 478),
    ]
    text = show_run(result)
    assert "balance languages: language = en: 22 of 500 tokens kept, 478 missing (22 came)" in text
    assert "over budget" in text
    decisions = sql("SELECT decision, reason, tags, count(*) FROM decisions GROUP BY ALL ORDER BY ALL", tmp_path / "ws")
    assert decisions["rows"] == [
        ["dropped", "short", None, 1],
        ["kept", None, ["languages"], 2],
        ["kept", None, None, 2],
        ["over_budget", "languages", None, 6],
    ]


def test_changed_balance_makes_another_selection_and_nothing_before_it(tmp_path: Path) -> None:
    run(recipe_in(tmp_path), tmp_path / "ws")
    again = run(recipe_in(tmp_path), tmp_path / "ws", dry_run=True)
    assert {step["state"] for step in again["steps"]} == {"fresh"}
    rule = {"reason": "languages", "by": ["language"], "cap": 1}
    plan = run(recipe_in(tmp_path, balance=[rule]), tmp_path / "ws", dry_run=True)
    assert {step["name"] for step in plan["steps"] if step["state"] == "stale"} == {"selection"}


def test_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    for jobs in (1, 3):
        run(recipe_in(tmp_path), tmp_path / f"ws{jobs}", jobs=jobs)
    found = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.parquet")}
        for name in ("ws1", "ws3")
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 5


def test_guard_stops_a_rule_that_drops_everything_and_not_what_is_over_budget(tmp_path: Path) -> None:
    cap = [{"reason": "languages", "by": ["language"], "cap": 0}]
    result = run(recipe_in(tmp_path, balance=cap, filters=[]), tmp_path / "ws")
    assert sum(one["documents"] for one in result["ledger"] if one["outcome"] == "over_budget") == len(WEB)
    everything = [{"reason": "nothing", "keep": "num_bytes < 0"}]
    with pytest.raises(AuditError, match=r"source web: 9 of 9 documents would go \(9 nothing\)"):
        run(recipe_in(tmp_path, filters=everything), tmp_path / "ws")


def test_quota_for_a_language_nobody_has_stops_the_run_with_a_guess(tmp_path: Path) -> None:
    quotas = [{"group": {"language": "dee"}, "amount": 1}]
    rule = {"reason": "languages", "by": ["language"], "quotas": quotas}
    with pytest.raises(RecipeError, match=r"recipe.yaml: balance\[0\] \(languages\): quotas.*did you mean 'de'\?"):
        run(recipe_in(tmp_path, balance=[rule]), tmp_path / "ws")


def test_selection_on_disk_is_what_was_decided_in_memory(tmp_path: Path) -> None:
    run(recipe_in(tmp_path), tmp_path / "ws")
    parts = sorted((tmp_path / "ws" / "selections").glob("*/*/*.parquet"))
    schema = {"decision": pl.String, "reason": pl.String, "tags": pl.List(pl.String)}
    assert [dict(read_parquet(part).schema) for part in parts] == [schema] * 2
