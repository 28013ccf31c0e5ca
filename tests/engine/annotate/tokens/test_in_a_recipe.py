"""The stage in a recipe with a mixture: its steps beside those of the token store, what makes it stale, bad recipes."""

import json
import random
import runpy
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.base.errors import RecipeError
from engine.catalog import sql
from engine.recipe import load_recipe
from engine.report import report
from engine.run.pipeline import run

made = runpy.run_path(str(Path(__file__).parent / "tokenizers_made.py"))
GENERAL = ["the", "old", "new", "house", "river", "road", "of", "in", "and", "town", "king", "heart", "walked", "saw"]
MEDICAL = [*GENERAL, "angina", "lymphoma", "stenosis", "carcinoma"]


def sentences(words: list[str], number: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=40)) for _ in range(number)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two sources, a Hugging Face tokenizer that knows only general words."""
    for name, words in (("web", GENERAL), ("med", MEDICAL)):
        rows = [{"uid": f"{name}{i}", "body": text} for i, text in enumerate(sentences(words, 40, len(words)))]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made["huggingface_file"](tmp_path / "base" / "tokenizer.json", sentences(GENERAL, 50, 1), 400)
    return tmp_path


def recipe(**options: Any) -> dict[str, Any]:
    columns = {"text": "body", "id": "uid"}
    stage = {"stage": "tokens", "tokenizer": "base", "general": {"sources": ["web"]}, **options}
    return {
        "name": "fit",
        "sources": [
            {"stage": "jsonl", "name": "web", "path": "web.jsonl", "columns": columns},
            {"stage": "jsonl", "name": "med", "path": "med.jsonl", "columns": columns, "domain": "medical"},
        ],
        "annotate": [stage],
        "filters": [{"reason": "too_many_tokens", "keep": "tokens__per_byte < 0.9"}],
        "tokenizer": {"train": {"sources": ["web"], "vocab_size": 300, "control_slots": 0}},
        "mixtures": {"all": {"sources": ["web", "med"], "budget_tokens": 500, "row_tokens": 64, "rows_per_step": 2}},
    }


def run_in(corpus: Path, content: dict[str, Any], workspace: str = "ws", **options: Any) -> dict[str, Any]:
    (corpus / "recipe.yaml").write_text(json.dumps(content))
    return run(corpus / "recipe.yaml", corpus / workspace, **options)


def states(result: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in result["steps"]}


def artifacts(workspace: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in workspace.glob("annotations/tokens/*/_corpus/*/*")
        if path.is_file() and path.name != "receipt.json"
    }


def test_stage_and_token_store_are_two_steps_of_a_plan_and_of_a_run(corpus: Path) -> None:
    plan = run_in(corpus, recipe(), dry_run=True)
    assert {"tokens", "token store"} <= {step["name"] for step in plan["steps"]}
    assert {"tokens", "token store"} <= {name for name, state in states(run_in(corpus, recipe())).items()}
    assert set(states(run_in(corpus, recipe())).values()) == {"fresh"}


def test_estimate_takes_the_seconds_of_the_step_of_the_same_name(corpus: Path) -> None:
    run_in(corpus, recipe())
    for folder, seconds in (("tokens/*", 1000.0), ("annotations/tokens/*/_corpus/*", 100.0)):
        (path,) = (corpus / "ws").glob(f"{folder}/receipt.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": seconds}))
    changed = recipe(max_words=7)
    del changed["mixtures"], changed["tokenizer"]
    assert 100 <= run_in(corpus, changed, dry_run=True)["estimate"]["seconds"] < 1000
    changed = recipe()
    changed["tokenizer"]["train"]["vocab_size"] = 290
    assert 1000 <= run_in(corpus, changed, dry_run=True)["estimate"]["seconds"] < 1100


def test_run_ends_with_views_and_a_page_that_name_the_words(corpus: Path) -> None:
    run_in(corpus, recipe())
    answer = sql("SELECT word FROM shattered_words ORDER BY extra_tokens DESC", corpus / "ws")
    assert {word for (word,) in answer["rows"]} == {"angina", "lymphoma", "stenosis", "carcinoma"}
    answer = sql("SELECT source, domain, ratio_per_word > 1 FROM tokenizer_fit ORDER BY ALL", corpus / "ws")
    assert answer["rows"] == [["med", "medical", True], ["web", None, False]]
    total = "SELECT sum(tokens__count) = (SELECT sum(tokens) FROM tokenizer_fit) FROM annotations"
    assert sql(total, corpus / "ws")["rows"] == [[True]]
    page = Path(report(corpus / "ws")["path"]).read_text()
    assert 'id="tokenizer"' in page


def test_settings_of_the_tables_do_not_encode_again(corpus: Path) -> None:
    run_in(corpus, recipe())
    parts = {path: path.stat().st_mtime_ns for path in (corpus / "ws").glob("annotations/tokens/*/*/*.parquet")}
    result = run_in(corpus, recipe(max_words=2, domain_column="source"))
    assert states(result)["tokens"] == "made"
    assert len(pl.read_parquet(next((corpus / "ws").glob("annotations/tokens/*/_corpus/*/shattered.parquet")))) in (
        2,
        4,
    )
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    assert len(list((corpus / "ws").glob("annotations/tokens/*"))) == 1


def test_the_same_tokenizer_elsewhere_is_the_same_and_another_one_is_not(corpus: Path) -> None:
    run_in(corpus, recipe())
    shutil.copytree(corpus / "base", corpus / "moved")
    assert states(run_in(corpus, recipe(tokenizer="moved"), dry_run=True))["tokens"] == "fresh"
    made["huggingface_file"](corpus / "moved" / "tokenizer.json", sentences(MEDICAL, 50, 2), 400)
    assert states(run_in(corpus, recipe(tokenizer="moved"), dry_run=True))["tokens"] == "stale"


def test_jobs_and_shards_change_no_byte(corpus: Path) -> None:
    run_in(corpus, recipe(), "one", jobs=1)
    run_in(corpus, recipe(), "two", jobs=3)
    assert set(artifacts(corpus / "one")) == {"fit.parquet", "shattered.parquet", "details.json"}
    assert artifacts(corpus / "one") == artifacts(corpus / "two")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": "bsae"}, r"tokens\.tokenizer: no file 'bsae'"),
        ({"general": {"sources": ["wbe"]}}, r"annotate\[0\]\.general\.sources: no source 'wbe'.*did you mean 'web'"),
        ({"general": {"source": ["web"]}}, r"general"),
        ({"domain_column": "domain__label"}, r"no column written before it 'domain__label'"),
        ({"min_rate_ratio": 0}, r"min_rate_ratio"),
    ],
)
def test_mistakes_are_found_when_the_recipe_is_read(corpus: Path, options: dict[str, Any], message: str) -> None:
    (corpus / "recipe.yaml").write_text(json.dumps(recipe(**options)))
    with pytest.raises(RecipeError, match=message):
        load_recipe(corpus / "recipe.yaml")
