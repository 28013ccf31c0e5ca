"""Training runs: metrics of finished, running and killed runs; mixture and replay of each."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from engine.base.atomic import read_json, write_json
from engine.base.errors import InputError
from engine.report import report
from engine.report.evidence import open_evidence
from engine.report.forgetting import forgetting, forgetting_charts
from engine.report.training import RunNumbers, loss_charts, runs_table, setting, source_loss_charts, training


def _run(workspace: Path, name: str) -> RunNumbers:
    (found,) = training(open_evidence(workspace, runs=[name]))
    return found


def test_run_knows_its_mixture_by_digest_and_its_replay(finished: Path) -> None:
    without, replayed = training(open_evidence(finished))
    assert without.mixture is not None
    assert replayed.mixture is not None
    assert (without.mixture.reference, replayed.mixture.reference) == ("demo_replay_0@v1", "demo_replay_10@v1")
    assert (without.label, replayed.label) == ("replay_0 (0 % replay)", "replay_10 (10 % replay)")


def test_speed_is_tokens_over_seconds_of_the_steps(finished: Path) -> None:
    found = _run(finished, "replay_0")
    assert (found.tokens, found.seconds, found.tokens_per_second) == (40 * 115, 20.0, 230.0)
    row = dict(zip(runs_table([found]).headings, runs_table([found]).rows[0], strict=True))
    assert (row["tokens"], row["supervised"], row["tokens/s"], row["wall time"]) == ("4,600", "4,000", "230", "20.0 s")


def test_lines_of_a_running_run_are_the_same_numbers(workspace: Path) -> None:
    finished = _run(workspace, "replay_10")
    folder = workspace / "runs" / "replay_10"
    (folder / "metrics.parquet").unlink()
    (folder / "receipt.json").unlink()
    running = _run(workspace, "replay_10")
    assert running.metrics.equals(finished.metrics)
    assert "Not finished: 'replay_10'" in " ".join(report(workspace)["findings"])


def test_half_a_line_of_a_killed_run_is_left_out(workspace: Path) -> None:
    folder = workspace / "runs" / "replay_10"
    (folder / "metrics.parquet").unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:7]) + lines[7][:30])
    assert _run(workspace, "replay_10").totals.get_column("step").to_list() == [1, 2, 3, 4, 5, 6, 7]


def test_damaged_line_is_named(workspace: Path) -> None:
    folder = workspace / "runs" / "replay_10"
    (folder / "metrics.parquet").unlink()
    (folder / "metrics.jsonl").write_text("{}}\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl: not a line of JSON"):
        report(workspace)


def test_run_that_made_no_step_yet_has_a_row(workspace: Path) -> None:
    folder = workspace / "runs" / "replay_0"
    for name in ("metrics.parquet", "metrics.jsonl", "receipt.json", "forgetting.parquet", "probes.parquet"):
        (folder / name).unlink()
    found = _run(workspace, "replay_0")
    assert runs_table([found]).rows[0][3] == "0"
    assert loss_charts([found]) == []
    assert "Nothing is known about forgetting in 'replay_0'" in " ".join(report(workspace)["findings"])


def test_long_run_is_drawn_as_means_weighted_by_tokens(workspace: Path) -> None:
    folder = workspace / "runs" / "replay_0"
    (folder / "metrics.parquet").unlink()
    steps = [
        {"step": i, "loss": float(i % 2), "supervised_tokens": 1 + 2 * (i % 2), "tokens": 4} for i in range(1, 301)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    (chart,) = loss_charts([_run(workspace, "replay_0")])
    # Two steps a point, losses 1 and 0 with 3 and 1 tokens: 0.75 everywhere.
    assert chart.count("<circle") == 2 * 150
    assert chart.count(": 0.7500</title>") == 2 * 150
    assert "mean of up to 2 steps" in chart


def test_loss_that_is_no_number_leaves_a_gap(workspace: Path) -> None:
    folder = workspace / "runs" / "replay_0"
    frame = pl.read_parquet(folder / "metrics.parquet")
    holes = pl.when(pl.col("step") == 20).then(float("nan")).otherwise("loss").alias("loss")
    frame.with_columns(holes).write_parquet(folder / "metrics.parquet")
    (chart,) = loss_charts([_run(workspace, "replay_0")])
    assert chart.count("<circle") == 2 * 39
    assert "nan" not in chart.replace("finance", "")


def test_run_on_an_older_version_of_a_mixture_is_shown_with_it(workspace: Path) -> None:
    shutil.copytree(workspace / "mixtures" / "demo_replay_10" / "v1", workspace / "mixtures" / "demo_replay_10" / "v2")
    manifest = workspace / "mixtures" / "demo_replay_10" / "v2" / "manifest.json"
    write_json(manifest, {**read_json(manifest), "version": 2, "digest": "f" * 32})
    state = read_json(workspace / "recipes" / "demo.json")
    write_json(workspace / "recipes" / "demo.json", {**state, "mixtures": {"demo_replay_10": "demo_replay_10@v2"}})
    run = workspace / "runs" / "replay_10" / "run.json"
    content = read_json(run)
    # The digest decides: a reference may be given to other content in another workspace.
    named = {"digest": content["mixture"]["digest"], "reference": "demo_replay_10@v2"}
    write_json(run, {**content, "mixture": named})
    found = _run(workspace, "replay_10").mixture
    assert found is not None
    assert found.reference == "demo_replay_10@v1"


def test_every_source_of_a_run_has_its_line(finished: Path) -> None:
    (chart,) = source_loss_charts(training(open_evidence(finished)))
    assert "Training loss per source: replay_10 (10 % replay)" in chart
    assert chart.count('class="line s0"') == chart.count('class="line s1"') == 3  # wide, narrow, legend


def test_more_runs_than_colours_stand_in_several_charts(workspace: Path, add_run: Callable[..., Path]) -> None:
    for number in range(8):
        add_run(workspace, f"seed_{number}", "demo_replay_10", rise=0.0001 * number)
    runs = training(open_evidence(workspace))
    assert len(loss_charts(runs)) == 2
    general, _, *more = forgetting_charts(forgetting(runs))
    assert len(more) == 2
    assert len(set(re.findall(r'class="line (s\d)"', general))) == 8


def test_setting_is_found_at_any_depth() -> None:
    content = {"a": None, "recipe": {"budget": {"max": 0.02}, "a": 1}, "b": [{"max": 3}]}
    assert (setting(content, "max"), setting(content, "a"), setting(content, "c")) == (0.02, None, None)
