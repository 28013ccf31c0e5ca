"""license, toxicity, scores and difficulty in one recipe, run from end to end."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from engine.base.errors import InputError, RecipeError
from engine.catalog.query import sql
from engine.recipe import load_recipe
from engine.run.pipeline import run

ROWS = {
    "a": ("blarg and more", "en", "MIT License", 0.9),
    "b": ("kind words", "en", None, 0.1),
    "c": ("kind words again", "fr", "cc by 4.0", 0.5),
    "d": (None, "en", None, None),
}


def write(folder: Path, **annotate: Any) -> Path:
    rows = [
        {"uid": name, "body": text, "language": language, "license": stated}
        for name, (text, language, stated, _) in ROWS.items()
    ]
    schema = dict.fromkeys(("uid", "body", "language", "license"), pl.String)
    for number in range(2):
        pl.DataFrame(rows[2 * number : 2 * number + 2], schema=schema).write_parquet(folder / f"web-{number}.parquet")
    (folder / "en.txt").write_text("blarg\n")
    grades = {"uid": [name for name in ROWS if name != "d"], "pass rate": [row[3] for row in ROWS.values() if row[3]]}
    pl.DataFrame(grades).write_csv(folder / "grades.csv")
    stages: dict[str, dict[str, Any]] = {
        "license": {"rules": [{"sources": ["web"], "stated": "^MIT", "license": "MIT-0"}]},
        "toxicity": {"lists": {"en": "en.txt"}},
        "scores": {"path": "grades.csv", "id": "uid", "source": "web", "columns": {"pass rate": "float"}},
        "difficulty": {"by": "scores__pass_rate", "hardest": "lowest"},
    }
    content = {
        "name": "small",
        "sources": [
            {"stage": "parquet", "name": "web", "path": "web-*.parquet", "columns": {"text": "body", "id": "uid"}}
        ],
        "annotate": [{"stage": name, **stages[name], **annotate.get(name, {})} for name in stages],
        "filters": [
            {"reason": "licence", "keep": "license__family IN ('permissive', 'public_domain')"},
            {"reason": "hard", "keep": "difficulty__bin <> 'hard'"},
        ],
        "guard": {"max_source_loss": 1.0},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return folder / "recipe.yaml"


def states(result: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in result["steps"]}


def test_columns_reach_the_filters_and_the_queries(tmp_path: Path) -> None:
    run(write(tmp_path), tmp_path / "ws", jobs=2)
    query = """SELECT uid, license__spdx, toxicity__rate, scores__pass_rate, difficulty__bin, reason
        FROM source_web JOIN annotations USING (doc_id) JOIN decisions USING (doc_id) ORDER BY uid"""
    assert sql(query, tmp_path / "ws")["rows"] == [
        ["a", "MIT-0", 333.3333, 0.9, "easy", None],
        ["b", "unknown", 0.0, 0.1, "hard", "licence"],
        ["c", "CC-BY-4.0", None, 0.5, "medium", None],
        ["d", "unknown", None, None, None, "no_text"],
    ]
    assert sql("@licenses", tmp_path / "ws")["rows"][0] == ["license", "web", *["unknown"] * 3, 2, 10, 0.5]
    rates = [333.3333] * 3
    assert sql("@toxicity", tmp_path / "ws")["rows"][0] == ["toxicity", "web", "en", 2, 1, 1, 0.5, *rates]
    assert [row[1:4] for row in sql("@difficulty", tmp_path / "ws")["rows"][:3]] == [
        ["(all)", "easy", 1],
        ["(all)", "medium", 1],
        ["(all)", "hard", 1],
    ]


def test_what_is_in_a_file_makes_its_stage_stale_and_where_it_lies_does_not(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    run(recipe, tmp_path / "ws")
    (tmp_path / "en.txt").write_text("kind\n")
    made = states(run(recipe, tmp_path / "ws"))
    assert {name for name, state in made.items() if state == "made"} == {"toxicity"}
    (tmp_path / "en.txt").rename(tmp_path / "other.txt")
    moved = states(run(write_again(recipe, "en.txt", "other.txt"), tmp_path / "ws"))
    assert set(moved.values()) == {"fresh"}


def write_again(recipe: Path, old: str, new: str) -> Path:
    recipe.write_text(recipe.read_text().replace(old, new))
    return recipe


def test_mistakes_are_found_when_the_recipe_is_read(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "license": {"rules": [{"sources": ["wbe"], "license": "MIT"}]},
        "toxicity": {"lists": "nowhere", "language_column": "lang__top"},
        "scores": {"columns": {"pass rate": "number"}},
        "difficulty": {"by": "sylables"},
    }
    with pytest.raises(RecipeError) as error:
        load_recipe(write(tmp_path, **changes))
    for part in ("no source 'wbe'", "toxicity.lists: no file 'nowhere'", "'lang__top'", "pass rate", "'sylables'"):
        assert part in str(error.value)


def test_document_without_a_score_stops_the_run_before_the_text_is_read(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    (tmp_path / "grades.csv").write_text("uid,pass rate\na,0.5\n")
    with pytest.raises(InputError, match=r"no row for .* \(web\), .* \(web\)\. Needed: a row for every document"):
        run(recipe, tmp_path / "ws")
    assert not (tmp_path / "ws" / "annotations" / "toxicity").exists()
