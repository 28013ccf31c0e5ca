"""An annotator of another package, found by the entry-point group `provender.annotators`, works like one of ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from engine.base.errors import RecipeError
from engine.base.stage import ANNOTATOR_GROUP, stage_names
from engine.catalog.query import sql
from engine.recipe import load_recipe
from engine.run.pipeline import run

MODULE = "provender_shouting"
TEXTS = {"a": "READ THIS NOW", "b": "please read this", "c": "Read THAT", "d": "123", "e": None}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example package as an installer leaves it, on the path of this process and of those it starts."""
    site = tmp_path / "site-packages"
    metadata = site / f"{MODULE}-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "example_package" / f"{MODULE}.py", site)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{ANNOTATOR_GROUP}]\nshouting = {MODULE}\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *sys.path]))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return site


def recipe(folder: Path, **shouting: Any) -> Path:
    for number, names in enumerate(("ab", "cde")):
        rows = [{"uid": name, "body": TEXTS[name]} for name in names]
        pl.DataFrame(rows, schema={"uid": pl.String, "body": pl.String}).write_parquet(folder / f"web-{number}.parquet")
    content = {
        "name": "small",
        "sources": [
            {"stage": "parquet", "name": "web", "path": "web-*.parquet", "columns": {"text": "body", "id": "uid"}}
        ],
        "annotate": [{"stage": "exact_dup"}, {"stage": "shouting", "as": "loud", **shouting}],
        "filters": [{"reason": "no_letter", "keep": "loud__fraction IS NOT NULL"}],
        "guard": {"max_source_loss": 1.0},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return folder / "recipe.yaml"


def columns(workspace: Path) -> list[list[Any]]:
    query = "SELECT uid, loud__fraction, loud__is_loud, reason FROM source_web JOIN annotations USING (doc_id)"
    rows: list[list[Any]] = sql(f"{query} JOIN decisions USING (doc_id) ORDER BY uid", workspace)["rows"]
    return rows


def test_without_the_package_the_stage_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no annotate stage 'shouting'"):
        load_recipe(recipe(tmp_path))


def test_group_adds_to_our_own_stages(installed: Path) -> None:
    found = stage_names("engine.annotate", ANNOTATOR_GROUP)
    assert found["shouting"] == MODULE
    assert found["heuristics"] == "engine.annotate.heuristics"


def test_mistake_in_its_part_of_the_recipe_is_reported_like_any_other(installed: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.yaml: annotate\[1\].*at_most"):
        load_recipe(recipe(tmp_path, at_most=2))


@pytest.mark.parametrize("jobs", [1, 2])
def test_recipe_runs_from_end_to_end_in_threads_and_in_processes(installed: Path, tmp_path: Path, jobs: int) -> None:
    run(recipe(tmp_path), tmp_path / "ws", jobs=jobs)
    assert columns(tmp_path / "ws") == [
        ["a", 1.0, True, "loud_shouted"],
        ["b", 0.0, False, None],
        ["c", 0.625, True, "loud_shouted"],
        ["d", None, None, "no_letter"],
        ["e", None, None, "no_text"],
    ]


def test_its_own_config_makes_it_stale_and_nothing_else(installed: Path, tmp_path: Path) -> None:
    run(recipe(tmp_path), tmp_path / "ws")
    again = {step["name"]: step["state"] for step in run(recipe(tmp_path), tmp_path / "ws")["steps"]}
    assert set(again.values()) == {"fresh"}
    changed = {step["name"]: step["state"] for step in run(recipe(tmp_path, at_most=0.7), tmp_path / "ws")["steps"]}
    assert {name for name, state in changed.items() if state == "made"} == {"loud", "selection"}
    assert [row[2] for row in columns(tmp_path / "ws")] == [True, False, False, None, None]


def test_command_line_finds_it_too(installed: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "engine.cli",
        "run",
        str(recipe(tmp_path)),
        "--workspace",
        str(tmp_path / "ws"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "loud" in {step["name"] for step in json.loads(done.stdout)["steps"]}


def test_a_stage_called_like_one_of_ours_is_an_error(installed: Path, tmp_path: Path) -> None:
    points = installed / f"{MODULE}-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"[{ANNOTATOR_GROUP}]\nquality = {MODULE}\n")
    with pytest.raises(
        RecipeError, match=r"stage 'quality' of provender_shouting: engine\.annotate\.quality is called so"
    ):
        load_recipe(recipe(tmp_path))


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("import a_module_nobody_has", "cannot be imported (No module named 'a_module_nobody_has')"),
        ("SCOPE = 'shard'\nVERSION = 1\n", "has no Config and no READS and no ADDS and no annotate"),
    ],
)
def test_a_package_that_cannot_be_used_says_why(installed: Path, tmp_path: Path, code: str, finding: str) -> None:
    (installed / f"{MODULE}.py").write_text(code)
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe(tmp_path))
    assert f"{MODULE} {finding}" in str(caught.value)
