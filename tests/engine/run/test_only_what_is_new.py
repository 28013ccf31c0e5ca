"""What a changed recipe works on: a new stage, a new source, a second instance of a stage, a moved or changed file."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fasttext
import pytest

from engine.run.pipeline import run

HEURISTICS = {"stage": "heuristics"}
EXACT = {"stage": "exact_dup"}


def prose(seed: int) -> str:
    return " ".join(random.Random(seed).choices(["one", "two", "three", "four", "five"], k=30))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name, seeds in (("one", range(20)), ("two", range(20, 40))):
        lines = (json.dumps({"text": prose(seed)}) + "\n" for seed in seeds)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    return tmp_path


def run_in(folder: Path, *stages: Mapping[str, Any], sources: tuple[str, ...] = ("one",)) -> dict[str, Any]:
    named = [{"stage": "jsonl", "name": name, "path": f"{name}.jsonl"} for name in sources]
    (folder / "recipe.yaml").write_text(json.dumps({"name": "grown", "sources": named, "annotate": list(stages)}))
    return run(folder / "recipe.yaml", folder / "ws")


def made(result: Mapping[str, Any]) -> set[str]:
    return {step["name"] for step in result["steps"] if step["state"] == "made"}


def parts(folder: Path) -> dict[str, int]:
    """Every part that lies there -> when it was written."""
    found = (folder / "ws" / "annotations").rglob("*.parquet")
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


def test_a_new_stage_alone_is_worked_on(corpus: Path) -> None:
    run_in(corpus, EXACT)
    before = parts(corpus)
    again = run_in(corpus, EXACT, HEURISTICS)
    assert made(again) == {"heuristics"} | (made(again) & {"selection"})
    assert before.items() <= parts(corpus).items()
    assert [set(wave["work_seconds"]) for wave in again["annotating"]] == [{"heuristics", "(reading)"}]


def test_a_second_instance_of_a_stage_leaves_the_first(corpus: Path) -> None:
    run_in(corpus, HEURISTICS)
    before = parts(corpus)
    again = run_in(corpus, HEURISTICS, {"stage": "heuristics", "as": "again"})
    assert "again" in made(again)
    assert "heuristics" not in made(again)
    assert before.items() <= parts(corpus).items()


def test_a_new_source_alone_is_read(corpus: Path) -> None:
    run_in(corpus, EXACT, HEURISTICS)
    before = parts(corpus)
    again = run_in(corpus, EXACT, HEURISTICS, sources=("one", "two"))
    assert before.items() <= parts(corpus).items()
    (wave,) = [wave for wave in again["annotating"] if "heuristics" in wave["work_seconds"]]
    assert wave["num_shards"] == 1
    assert wave["num_bytes"] == sum(len(prose(seed)) for seed in range(20, 40))


def test_nothing_is_worked_on_twice(corpus: Path) -> None:
    run_in(corpus, EXACT, HEURISTICS)
    again = run_in(corpus, EXACT, HEURISTICS)
    assert made(again) == set()
    assert again["annotating"] == []


def model(path: Path, *labels: str) -> Path:
    """A fastText model that knows two labels by one word each."""
    path.parent.mkdir(exist_ok=True)
    examples = path.with_suffix(".txt")
    lines = [
        f"__label__{label} {word}\n" for label, word in zip(labels, ("one", "two"), strict=True) for _ in range(50)
    ]
    examples.write_text("".join(lines))
    trained = fasttext.train_supervised(str(examples), dim=2, epoch=1, thread=1, seed=1, minCount=1, verbose=0)
    trained.save_model(str(path))
    return path


def test_a_model_counts_by_its_content_not_by_its_place(corpus: Path) -> None:
    first = model(corpus / "models" / "a.bin", "en", "de")
    run_in(corpus, {"stage": "language", "model": "models/a.bin"})
    before = parts(corpus)
    moved = first.rename(corpus / "b.bin")
    again = run_in(corpus, {"stage": "language", "model": str(moved)})
    assert made(again) == set()
    model(corpus / "b.bin", "fr", "it")
    changed = run_in(corpus, {"stage": "language", "model": "b.bin"})
    assert "language" in made(changed)
    assert before.items() <= parts(corpus).items()


def test_a_rule_of_domain_trains_no_other_model(corpus: Path) -> None:
    trained = {"stage": "domain", "sources": {"one": "numbers", "two": "figures"}}
    first = run_in(corpus, trained, sources=("one", "two"))
    assert "domain (model)" in made(first)
    ruled = run_in(corpus, trained | {"rules": [{"sources": ["one"], "domain": "ones"}]}, sources=("one", "two"))
    assert made(ruled) & {"domain", "domain (model)"} == {"domain"}
    other = run_in(corpus, trained | {"epochs": 2}, sources=("one", "two"))
    assert "domain (model)" in made(other)
