"""The tables of the documentation are those of the recorded results."""

import json
import multiprocessing
from pathlib import Path

import pytest

from benchmarks import harness, readme
from benchmarks.harness import FOLDER, Row, page, peak_memory_mb, record


def test_tables_are_those_of_the_results() -> None:
    """Where they are not: python -m benchmarks --tables."""
    text = readme.README.read_text(encoding="utf-8")
    assert readme.written(text) == text
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page()


def test_mixtures_are_a_row_each_with_what_only_some_have_left_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        Row("plan, 1 million documents", 0.5, "million documents/s", "all", "replay is 5 %", details={"seconds": 2.0}),
        Row("schedule, 1 million documents", 0.2, "million documents/s", "all", "bound kept",
            details={"seconds": 4.2, "peak MB": 410, "efficiency": 0.999, "filled": 0.99812, "deviation": 1.0}),
    ]  # fmt: skip
    record("mixture", "Five sources.", rows, tmp_path)
    assert json.loads((tmp_path / "mixture.json").read_text())["rows"][1]["details"]["peak MB"] == 410
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    before = "a\n<!-- benchmark: mixture -->\nold\n<!-- end of benchmark: mixture -->\nb\n"
    assert readme.written(before).split("\n")[2:-3] == [
        "Five sources.",
        "",
        "| | seconds | peak MB | efficiency | filled | deviation | |",
        "|---|---|---|---|---|---|---|",
        "| plan, 1 million documents | 2.0 |  |  |  |  | replay is 5 % |",
        "| schedule, 1 million documents | 4.2 | 410 | 0.9990 | 0.9981 | 1.0000 | bound kept |",
    ]


def test_peak_memory_is_that_of_the_process_and_not_of_the_one_that_started_it() -> None:
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert peak_memory_mb() > 300
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(harness.peak_memory_mb) < 200
