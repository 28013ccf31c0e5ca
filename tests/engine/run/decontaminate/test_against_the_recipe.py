"""The verb and the recipe it prints decide alike."""

from pathlib import Path

import polars as pl
import pytest

from engine.base.atomic import write_json
from engine.run.pipeline import run as run_recipe

from .corpora import CAPITAL, CLIPS, FILLER, ORCHARD, QUIZ, SHORT, benchmark, run, write


@pytest.mark.parametrize("action", ["drop", "tag"])
def test_recipe_that_is_printed_finds_the_same_hits(tmp_path: Path, action: str) -> None:
    texts = [None, f"{CLIPS} {ORCHARD.upper()}", *FILLER, f"{ORCHARD.replace('in summer', 'in autumn')} 364", " "]
    texts += [f"{SHORT} It is garlic and bright daylight."] + [f"{CAPITAL} {number}" for number in range(12)]
    path = write(tmp_path / "in.parquet", texts, rows_per_group=3)
    benchmarks = [benchmark(tmp_path / "gsm.jsonl"), f"quiz={benchmark(tmp_path / 'q.jsonl', QUIZ)}"]
    report = run([path], benchmarks, tmp_path / "out", id_column="uid", action=action)
    write_json(tmp_path / "recipe.yaml", report["recipe"])  # JSON is YAML
    run_recipe(tmp_path / "recipe.yaml", workspace=tmp_path / "workspace")
    (stored,) = (tmp_path / "workspace" / "annotations").rglob("hits.parquet")
    columns = ["benchmark", "item", "kind", "score", "evidence"]
    of_recipe = pl.read_parquet(stored).select(columns).sort(columns)
    assert of_recipe.height > 3
    assert of_recipe.equals(pl.read_parquet(tmp_path / "out" / "hits.parquet").select(columns).sort(columns))
