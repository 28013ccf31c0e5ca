"""Verified pairs are found once: another threshold, score or priority of near_dup only decides over them again."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.annotate.near_dup import bands, pairs
from engine.run.pipeline import run

COLUMNS = {"text": "body", "id": "uid"}
Recipe = dict[str, Any]


def documents() -> list[dict[str, Any]]:
    """Groups of five texts that differ in a few words, no two of them equal."""
    draw = random.Random(5)
    rows = []
    for group in range(12):
        words = [f"g{group}w{number}" for number in range(60)]
        for copy in range(5):
            edited = [word if draw.random() > 0.015 * copy else f"x{draw.randrange(99)}" for word in words]
            rows.append({"uid": f"d{group}-{copy}", "body": " ".join([*edited, f"end{copy}"])})
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with two files of documents."""
    rows = documents()
    write(tmp_path / "one.jsonl", rows[::2])
    write(tmp_path / "two.jsonl", rows[1::2])
    return tmp_path


def recipe(policies: Mapping[str, Mapping[str, Any]] | None = None, **near_dup: Any) -> Recipe:
    sources = [
        {"stage": "jsonl", "name": name, "path": f"{name}.jsonl", "columns": COLUMNS, **(policies or {}).get(name, {})}
        for name in ("one", "two")
    ]
    options = {"floor": 0.3, "ngram_words": 2, **near_dup}
    return {
        "name": "pairs",
        "sources": sources,
        "annotate": [{"stage": "exact_dup"}, {"stage": "heuristics"}, {"stage": "near_dup", **options}],
        "guard": {"max_source_loss": 1.0},
    }


def run_in(corpus: Path, workspace: str, content: Recipe, **options: Any) -> dict[str, Any]:
    (corpus / "recipe.yaml").write_text(json.dumps(content))
    return run(corpus / "recipe.yaml", corpus / workspace, **options)


def states(result: Mapping[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in result["steps"]}


def results(corpus: Path, workspace: str) -> dict[str, bytes]:
    """Every file of the near_dup columns of the last run, but the receipt, which holds seconds."""
    state = json.loads((corpus / workspace / "recipes" / "pairs.json").read_text())
    folder = corpus / workspace / state["artifacts"]["near_dup"]
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "receipt.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def no_verification(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after which no pair can be proposed or verified any more."""

    def forbid() -> None:
        def fail(*_arguments: Any) -> None:
            raise AssertionError("pairs were looked for again")

        monkeypatch.setattr(pairs, "verified_pairs", fail)
        monkeypatch.setattr(pairs, "_verify", fail)

    return forbid


@pytest.mark.parametrize(
    "changed",
    [
        recipe(threshold=0.5),
        recipe(threshold=0.9),
        recipe(score="heuristics__digit_fraction"),
        recipe(policies={"two": {"priority": 1}}),
        recipe(policies={"two": {"protected": True}}, threshold=0.4),
    ],
    ids=["lower threshold", "higher threshold", "score", "priority", "pinned source"],
)
def test_only_the_decision_runs_again_and_says_the_same_as_a_fresh_workspace(
    corpus: Path, changed: Recipe, no_verification: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_in(corpus, "used", recipe())
    assert states(first)["near_dup (pairs)"] == states(first)["near_dup"] == "made"
    before = results(corpus, "used")
    run_in(corpus, "fresh", changed)
    no_verification()
    capsys.readouterr()
    again = run_in(corpus, "used", changed)
    assert (states(again)["near_dup (pairs)"], states(again)["near_dup"]) == ("fresh", "made")
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said if line.startswith("near_dup")] == ["near_dup"]
    assert results(corpus, "used") == results(corpus, "fresh") != before


def test_plan_says_that_only_the_decision_is_stale(corpus: Path) -> None:
    run_in(corpus, "ws", recipe())
    plan = run_in(corpus, "ws", recipe(threshold=0.5), dry_run=True)
    assert {name: state for name, state in states(plan).items() if name.startswith("near_dup")} == {
        "near_dup (pairs)": "fresh",
        "near_dup": "stale",
    }
    floored = states(run_in(corpus, "ws", recipe(floor=0.4), dry_run=True))
    assert floored["near_dup (pairs)"] == floored["near_dup"] == "stale"


def test_a_workspace_may_lose_its_pairs(corpus: Path, no_verification: Callable[[], None]) -> None:
    import shutil

    run_in(corpus, "ws", recipe())
    (stored,) = (corpus / "ws" / "annotations" / "near_dup").glob("*/_pairs")
    shutil.rmtree(stored)
    no_verification()
    again = states(run_in(corpus, "ws", recipe()))
    assert again["near_dup"] == "fresh"
    assert "near_dup (pairs)" not in again


@pytest.mark.parametrize(
    "changed",
    [recipe(floor=0.4), recipe(recall=0.9), recipe(max_bucket_documents=4), recipe(ignore_frequent=0.5)],
    ids=["floor", "recall", "bound of buckets", "frequent shingles"],
)
def test_what_pairs_depend_on_makes_them_anew_from_the_same_signatures(corpus: Path, changed: Recipe) -> None:
    run_in(corpus, "used", recipe())
    again = run_in(corpus, "used", changed)
    assert states(again)["near_dup (pairs)"] == "made"
    assert len(list((corpus / "used" / "annotations" / "near_dup").iterdir())) == 1
    run_in(corpus, "fresh", changed)
    assert results(corpus, "used") == results(corpus, "fresh")


def test_without_a_floor_the_threshold_is_one(corpus: Path) -> None:
    run_in(corpus, "ws", recipe(floor=None, threshold=0.8))
    again = run_in(corpus, "ws", recipe(floor=None, threshold=0.9))
    assert states(again)["near_dup (pairs)"] == "made"


def test_pairs_of_hot_buckets_are_found_again_under_another_rank_only(
    corpus: Path, no_verification: Callable[[], None]
) -> None:
    hot = {"max_bucket_documents": 2}
    details = run_in(corpus, "used", recipe(**hot))["steps"]
    assert next(step["details"]["hot_buckets"] for step in details if step["name"] == "near_dup") > 0
    scored = recipe(score="heuristics__digit_fraction", **hot)
    assert states(run_in(corpus, "used", scored))["near_dup (pairs)"] == "made"
    run_in(corpus, "fresh", scored)
    assert results(corpus, "used") == results(corpus, "fresh")
    # Back under the first rank they are found again: what is stored now are those of the score.
    assert states(run_in(corpus, "used", recipe(threshold=0.7, **hot)))["near_dup (pairs)"] == "made"
    no_verification()
    assert states(run_in(corpus, "used", recipe(threshold=0.6, **hot)))["near_dup (pairs)"] == "fresh"


def test_other_choice_among_exact_duplicates_is_other_documents_to_compare(corpus: Path) -> None:
    rows = documents()
    write(corpus / "two.jsonl", [*rows[1::2], {**rows[0], "uid": "copy"}])
    run_in(corpus, "used", recipe(policies={"one": {"priority": 1}}))
    changed = recipe(policies={"two": {"priority": 1}})
    assert states(run_in(corpus, "used", changed))["near_dup (pairs)"] == "made"
    run_in(corpus, "fresh", changed)
    assert results(corpus, "used") == results(corpus, "fresh")


def test_new_documents_are_compared_and_old_signatures_stay(corpus: Path) -> None:
    run_in(corpus, "ws", recipe())
    part = next((corpus / "ws" / "annotations" / "near_dup").glob("*/one/*.parquet"))
    before = part.stat().st_mtime_ns
    write(corpus / "two.jsonl", [*documents()[1::2], {"uid": "new", "body": documents()[0]["body"] + " more"}])
    assert states(run_in(corpus, "ws", recipe()))["near_dup (pairs)"] == "made"
    assert part.stat().st_mtime_ns == before


def test_ceiling_of_the_run_bounds_the_table_of_bands(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = []

    class Seen(bands.BandTable):
        def __init__(self, num_documents: int, num_bands: int, folder: Path, max_bytes: int) -> None:
            bounds.append(max_bytes)
            super().__init__(num_documents, num_bands, folder, max_bytes)

    monkeypatch.setattr(bands, "BandTable", Seen)
    run_in(corpus, "small", recipe(), memory="8KB")
    run_in(corpus, "large", recipe(), memory="2GB")
    assert bounds == [(8 << 10) // bands.TABLE_SHARE, (2 << 30) // bands.TABLE_SHARE]
    assert results(corpus, "small") == results(corpus, "large")
