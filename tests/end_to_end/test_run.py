"""From files to a schedule: what is re-used, what is the same however the work is cut, what stops a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.base.errors import AuditError, RecipeError
from engine.formats.mixture import open_mixture
from engine.formats.schedule import open_schedule
from engine.formats.token_store import open_token_store
from engine.formats.workspace import Workspace
from engine.run.pipeline import run

from .conftest import standard_library_documents, write_jsonl

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], Path]


def states(result: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in result["steps"]}


def digests(result: dict[str, Any], workspace: Path) -> dict[str, str]:
    mixture = open_mixture(Workspace(workspace), result["mixtures"][0]["reference"]).manifest
    return {
        "mixture": mixture.digest,
        "tokenizer": mixture.tokenizer,
        "token_store": mixture.token_store,
        "selection": mixture.selection,
        "split": str(mixture.split),
        "schedule": mixture.schedule,
    }


def test_ledger_accounts_for_every_document_and_byte(small_corpus: Path) -> None:
    result = run(small_corpus / "recipe.yaml", small_corpus / "ws")
    ledger = pl.DataFrame(result["ledger"])
    came_in = ledger.filter(pl.col("outcome") == "in")
    rest = ledger.filter(pl.col("outcome") != "in")
    assert (
        came_in["documents"].sum() == rest["documents"].sum() == sum(len(rows) for rows in standard_library_documents())
    )
    assert came_in["bytes"].sum() == rest["bytes"].sum()
    reasons = set(ledger["reason"].drop_nulls())
    assert {"exact_duplicate", "near_duplicate", "no_text", "general", "code"} <= reasons


def test_second_run_makes_nothing(small_corpus: Path) -> None:
    run(small_corpus / "recipe.yaml", small_corpus / "ws")
    again = run(small_corpus / "recipe.yaml", small_corpus / "ws")
    assert set(states(again).values()) == {"fresh"}
    assert again["mixtures"][0]["reference"] == "small_code@v1"


def test_changed_filter_reruns_only_selection_and_what_follows(small_corpus: Path, edit_recipe: Edit) -> None:
    recipe, workspace = small_corpus / "recipe.yaml", small_corpus / "ws"
    run(recipe, workspace)
    edit_recipe(recipe, lambda r: r["filters"][0].update(keep="heuristics__num_words >= 200"))
    plan = run(recipe, workspace, dry_run=True)
    result = run(recipe, workspace)
    stale = {"selection", "tokenizer", "token store", "audit", "mixture small_code"}
    assert {name for name, state in states(result).items() if state == "made"} == stale
    assert {name for name, state in states(plan).items() if state == "stale"} == stale
    assert result["mixtures"][0]["reference"] == "small_code@v2"


def test_old_content_built_again_gets_its_old_version(small_corpus: Path, edit_recipe: Edit) -> None:
    recipe, workspace = small_corpus / "recipe.yaml", small_corpus / "ws"
    run(recipe, workspace)
    edit_recipe(recipe, lambda r: r["filters"][0].update(keep="heuristics__num_words >= 200"))
    run(recipe, workspace)
    edit_recipe(recipe, lambda r: r["filters"][0].update(keep="heuristics__num_words >= 20"))
    assert run(recipe, workspace)["mixtures"][0]["reference"] == "small_code@v1"


def test_new_source_reuses_the_shard_parts_of_the_others(small_corpus: Path, edit_recipe: Edit) -> None:
    recipe, workspace = small_corpus / "recipe.yaml", small_corpus / "ws"
    run(recipe, workspace)
    part = next((workspace / "annotations" / "heuristics").glob("*/code/*.parquet"))
    before = part.stat().st_mtime_ns
    prose, _ = standard_library_documents()
    write_jsonl(small_corpus / "more.jsonl", [{**row, "body": (row["body"] or "")[::-1]} for row in prose])
    columns = {"text": "body", "id": "uid", "license": "licence"}
    edit_recipe(
        recipe,
        lambda r: r["sources"].append({"stage": "jsonl", "name": "more", "path": "more.jsonl", "columns": columns}),
    )
    result = run(recipe, workspace)
    assert states(result)["source code"] == states(result)["quality (model)"] == "fresh"
    assert states(result)["near_dup"] == "made"
    assert part.stat().st_mtime_ns == before


def test_jobs_and_cuts_into_files_change_no_digest(small_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_corpus / "recipe.yaml"
    one = digests(run(recipe, small_corpus / "one", jobs=1), small_corpus / "one")
    prose, code = standard_library_documents()
    (small_corpus / "prose.jsonl").unlink()
    (small_corpus / "code.jsonl").unlink()
    for number in range(5):
        write_jsonl(small_corpus / f"prose-{number}.jsonl", prose[number::5])
        write_jsonl(small_corpus / f"code-{number}.jsonl", code[number::5])
    monkeypatch.setattr("engine.run.intake.shards.SHARD_BYTES", 65_536)
    three = digests(run(recipe, small_corpus / "three", jobs=3), small_corpus / "three")
    assert one == three
    assert len(list((small_corpus / "three" / "documents" / "code").glob("*/*.ids.parquet"))) > 1


def test_every_token_of_the_mixture_is_scheduled_once(small_corpus: Path) -> None:
    result = run(small_corpus / "recipe.yaml", small_corpus / "ws")
    workspace = Workspace(small_corpus / "ws")
    mixture = open_mixture(workspace, result["mixtures"][0]["reference"])
    spans = open_schedule(workspace.schedule(mixture.manifest.schedule)).spans()
    store = open_token_store(workspace.tokens(mixture.manifest.token_store))
    placed = spans.group_by("document").agg(pl.col("length").sum().cast(pl.Int64)).sort("document")
    wanted = mixture.documents().select("document", pl.col("num_tokens").cast(pl.Int64) * pl.col("repeats"))
    assert placed.rows() == wanted.rows()
    assert store.meta.num_tokens == store.documents()["num_tokens"].sum()


def test_guard_stops_a_run_that_loses_most_of_a_source(small_corpus: Path, edit_recipe: Edit) -> None:
    recipe = edit_recipe(
        small_corpus / "recipe.yaml", lambda r: r["filters"][0].update(keep="heuristics__num_words >= 100000")
    )
    with pytest.raises(AuditError, match=r"removal guard, source (prose|code): .* too_short"):
        run(recipe, small_corpus / "ws")
    edit_recipe(recipe, lambda r: r.update(guard={"allow": {"prose": 1.0, "code": 1.0}}, mixtures={}))
    run(recipe, small_corpus / "ws")


def test_dry_run_writes_nothing(small_corpus: Path) -> None:
    plan = run(small_corpus / "recipe.yaml", small_corpus / "ws", dry_run=True)
    assert set(states(plan).values()) == {"stale"}
    assert not (small_corpus / "ws").exists()


def test_all_mistakes_of_a_recipe_are_reported_at_once(small_corpus: Path, edit_recipe: Edit) -> None:
    def spoil(recipe: dict[str, Any]) -> None:
        recipe["annotate"][1]["treshold"] = recipe["annotate"][1].pop("threshold")
        recipe["annotate"][2]["stage"] = "heuristcs"
        recipe["filters"][0]["keep"] = "heuristics__num_wrds >= 20"
        recipe["sources"][1]["name"] = "prose"
        recipe["mixtures"]["small_code"]["row_tokens"] = -5

    recipe = edit_recipe(small_corpus / "recipe.yaml", spoil)
    with pytest.raises(RecipeError) as caught:
        run(recipe, small_corpus / "ws")
    message = str(caught.value)
    assert "did you mean 'threshold'?" in message
    assert "did you mean 'heuristics'?" in message
    assert "two sources are called 'prose'" in message
    assert "row_tokens" in message
    assert "heuristics__num_wrds" in message
    assert not (small_corpus / "ws").exists()
