"""Benchmarks of a recipe: converted once, watched by what they ask, refused with one clear error."""

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.annotate import contamination
from engine.base.errors import InputError, RecipeError
from engine.cli import main
from engine.formats.items import benchmark_digest, read_items
from engine.run.pipeline import run
from tests.engine.run.searched import (
    EGGS,
    QUIZ,
    TRAIN,
    made,
    mixture_of,
    recipe,
    run_in,
    states,
    write_corpus,
    write_lines,
)

AFTER_A_CHANGE = {"benchmark quiz", "contamination (model)", "contamination", "selection", "audit", "mixture all"}
HELD_OUT = {"heldout": {"general": {"sources": ["web"], "max_bytes": 2000}}, "min_similarity": 0.5}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path)


@pytest.fixture
def searched_shards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts of each shard were searched, in the order of the searches."""
    seen: list[int] = []
    original = contamination.annotate

    def counted(shard: Any, config: Any, model: Any) -> Any:
        seen.append(len(shard.text))
        return original(shard, config, model)

    monkeypatch.setattr(contamination, "annotate", counted)
    return seen


def test_second_run_makes_nothing_and_reads_nothing(corpus: Path, searched_shards: list[int]) -> None:
    first = run_in(corpus, recipe())
    assert made(first) == set(states(first))
    assert states(first)["benchmark quiz"] == "made"
    assert sum(searched_shards) == 203
    assert set(states(run_in(corpus, recipe())).values()) == {"fresh"}
    assert sum(searched_shards) == 203


def test_dry_run_says_what_is_stale_before_and_after(corpus: Path) -> None:
    plan = run_in(corpus, recipe(), dry_run=True)
    assert set(states(plan).values()) == {"stale"}
    assert not (corpus / "ws").exists()
    run_in(corpus, recipe())
    assert set(states(run_in(corpus, recipe(), dry_run=True)).values()) == {"fresh"}


def test_changed_benchmark_runs_the_search_again_and_nothing_else(corpus: Path) -> None:
    run_in(corpus, recipe())
    write_lines(corpus / "quiz.jsonl", QUIZ[:1])
    plan = run_in(corpus, recipe(), dry_run=True)
    result = run_in(corpus, recipe())
    # Two more documents are kept, so the tokenizer is trained on them as well.
    assert made(result) == AFTER_A_CHANGE | {"tokenizer", "token store"}
    assert made(plan, "stale") == made(result)
    kept = {row["outcome"]: row["documents"] for row in result["ledger"]}
    assert kept == {"in": 203, "kept": 202, "dropped": 1}


def test_the_same_questions_in_another_file_are_the_same_benchmark(corpus: Path) -> None:
    run_in(corpus, recipe())
    (corpus / "quiz.jsonl").unlink()
    lines = [{"answer": row["answer"], "question": row["question"]} for row in QUIZ]
    write_lines(corpus / "moved.jsonl", lines)
    again = run_in(corpus, recipe(benchmarks=["quiz=moved.jsonl"]))
    assert made(again) == set()


def test_new_source_leaves_the_parts_of_the_others_unread(corpus: Path, searched_shards: list[int]) -> None:
    run_in(corpus, recipe())
    before = len(searched_shards)
    write_lines(corpus / "more.jsonl", [{"text": f"More of {EGGS}"}, {"text": "nothing"}])
    sources = [*recipe()["sources"], {"stage": "jsonl", "name": "more", "path": "more.jsonl"}]
    result = run_in(corpus, recipe(sources=sources, guard={"max_source_loss": 1.0}))
    assert searched_shards[before:] == [2]
    assert states(result)["contamination (model)"] == "fresh"
    assert states(result)["contamination"] == "made"
    assert {row["documents"] for row in result["ledger"] if row["reason"] == "contaminated"} == {3, 1}


def test_new_source_beside_a_split_leaves_the_parts_of_the_others_unread(
    corpus: Path, searched_shards: list[int]
) -> None:
    run_in(corpus, recipe(split=HELD_OUT))
    before = len(searched_shards)
    write_lines(corpus / "more.jsonl", [{"text": "nothing of any of it"}])
    sources = [*recipe()["sources"], {"stage": "jsonl", "name": "more", "path": "more.jsonl"}]
    run_in(corpus, recipe(sources=sources, split=HELD_OUT, guard={"max_source_loss": 1.0}))
    assert searched_shards[before:] == [1]


def test_weights_are_those_of_all_sources(corpus: Path) -> None:
    question = "Which river flows through both Vienna and Budapest?"
    write_lines(corpus / "quiz.jsonl", [{"question": question, "answer": "Danube"}])
    write_lines(corpus / "web.jsonl", [{"uid": n, "text": f"{question} I ask {n} times"} for n in range(6)])
    content = recipe(tokenizer=None, mixtures=None, guard={"max_source_loss": 1.0})
    found = Counter({row["outcome"]: row["documents"] for row in run_in(corpus, content)["ledger"]})
    assert found == {"in": 6, "dropped": 6}
    # Five more documents elsewhere make the question a common phrase, which alone is no hit, in the old source too.
    write_lines(corpus / "more.jsonl", [{"text": f"{question} You ask {n} times"} for n in range(5)])
    content["sources"].append({"stage": "jsonl", "name": "more", "path": "more.jsonl"})
    ledger = pl.DataFrame(run_in(corpus, content)["ledger"])
    assert ledger.filter(pl.col("outcome") == "kept").select("source", "documents").rows() == [("more", 5), ("web", 6)]


def test_items_lie_in_the_workspace_under_name_and_digest(corpus: Path) -> None:
    run_in(corpus, recipe(benchmarks=["maths=quiz.jsonl"]))
    (path,) = (corpus / "ws" / "benchmarks" / "maths").glob("*/items.parquet")
    (benchmark,) = mixture_of(corpus).manifest.benchmarks
    assert (benchmark.name, benchmark.digest) == ("maths", benchmark_digest(read_items(path)))
    assert read_items(path)["question"].to_list() == [EGGS, TRAIN]


def test_path_is_taken_from_the_recipes_folder_and_else_from_the_current_one(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / "a=b"
    here.mkdir()
    (corpus / "quiz.jsonl").rename(here / "c=d.jsonl")
    content = recipe(tokenizer=None, mixtures=None, benchmarks=["c=d.jsonl"])
    monkeypatch.chdir(here)
    assert "benchmark c_d" in states(run_in(corpus, content))
    monkeypatch.chdir("/")
    content["benchmarks"] = ["quiz=a=b/c=d.jsonl"]
    assert "benchmark quiz" in states(run_in(corpus, content))


@pytest.mark.parametrize("dry_run", [True, False])
def test_name_of_a_held_out_set_is_refused_before_any_stage_runs(corpus: Path, dry_run: bool) -> None:
    nothing = {"tokenizer": None, "mixtures": None, "filters": None, "benchmarks": None}
    run_in(corpus, recipe(annotate=[{"stage": "exact_dup"}], **nothing))
    message = r"recipe\.yaml: benchmarks: 'general' is a benchmark and a held-out set\. Needed: one name each\."
    with pytest.raises(RecipeError, match=message):
        run_in(corpus, recipe(split=HELD_OUT, benchmarks=["general=quiz.jsonl"]), dry_run=dry_run)
    assert not (corpus / "ws" / "annotations" / "near_dup").exists()


def spoilt(content: str) -> Any:
    return lambda folder: (folder / "quiz.jsonl").write_text(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoilt(""), "quiz.jsonl: an empty file"),
        (spoilt('{"a": 1}\n'), "quiz.jsonl"),
        (spoilt('{"question": "What\n'), "quiz.jsonl"),
        (lambda folder: (folder / "quiz.jsonl").unlink(), "quiz.jsonl: there is no such file or folder"),
    ],
    ids=["empty", "no field of questions", "broken", "absent"],
)
def test_bad_benchmark_file_is_one_clear_error(
    corpus: Path, spoil: Any, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in(corpus, recipe(), dry_run=True)
    spoil(corpus)
    monkeypatch.chdir(corpus)
    for more in ([], ["--dry-run"]):
        assert main(["run", "recipe.yaml", "--workspace", "ws", *more]) == 1
        said = capsys.readouterr()
        error = [line for line in said.err.splitlines() if "quiz.jsonl" in line]
        assert len(error) == 1
        assert message in error[0]
        assert "Traceback" not in said.err
    with pytest.raises(InputError):
        run("recipe.yaml", "ws")


def test_two_benchmarks_of_one_name_are_refused(corpus: Path) -> None:
    write_lines(corpus / "other.jsonl", QUIZ)
    with pytest.raises(InputError, match="quiz"):
        run_in(corpus, recipe(benchmarks=["quiz=quiz.jsonl", "quiz=other.jsonl"]))
