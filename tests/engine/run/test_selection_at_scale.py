"""The made-up corpus that the selection is measured with is one that a run can decide about."""

from pathlib import Path

import polars as pl
import pytest

from benchmarks import select as benchmark
from engine.run.selecting import select


def test_selection_of_the_benchmark_is_made_with_its_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "HOSTS", 50)
    monkeypatch.setattr(benchmark, "SHARD_ROWS", 1000)
    benchmark.make_rows(tmp_path, 8500)
    selection = select(*benchmark._recipe_over(tmp_path, 8500))
    came_in = selection.ledger().filter(pl.col("outcome") == "in")
    assert came_in["documents"].sum() == 8500
    assert {"kept", "dropped", "over_budget"} <= set(selection.ledger()["outcome"])
    assert selection.examples()["excerpt"].unique().to_list() == [benchmark.TEXT]
