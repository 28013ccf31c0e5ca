"""`show` decodes exactly what the trainer trains on, before and after a run, and says what the run measured."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.base.atomic import write_json
from engine.base.errors import InputError, RecipeError
from engine.explain.show_step import show_step
from engine.explain.step import show
from engine.formats.mixture import open_mixture
from engine.formats.parquet import write_parquet
from engine.formats.run import METRICS_SCHEMA
from engine.formats.token_parts import parts_of
from engine.formats.tokenizer import Tokenizer, decode
from engine.formats.training_rows import TrainingRows
from engine.formats.workspace import Workspace

LINE = {"loss": 3.25, "supervised_tokens": 200, "tokens": 256, "learning_rate": 0.003, "grad_norm": 1.5, "seconds": 0.1}
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def parts(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for row in result["rows"] for span in row["spans"] for part in span["parts"]]


def write_run(workspace: Workspace, max_steps: int | None = None, lines: int = 2) -> Path:
    """A run of `mixed` that made `lines` steps, the last line of which is half written."""
    folder = workspace.run("tiny")
    mixture = open_mixture(workspace, "mixed")
    named = {"reference": mixture.reference, "digest": mixture.manifest.digest}
    write_json(folder / "run.json", {"run": "tiny", "recipe": {"max_steps": max_steps}, "mixture": named})
    sources = {"code": LINE | {"loss": 3.0}, "docs (replay)": LINE | {"loss": 4.0}}
    text = "".join(json.dumps(LINE | {"step": step, "sources": sources}) + "\n" for step in range(1, lines + 1))
    (folder / "metrics.jsonl").write_text(text + '{"step": 9, "lo')
    return folder


@pytest.mark.parametrize("step", [0, 1, 5])
def test_labels_are_those_of_the_trainer_in_the_same_order(workspace: Workspace, rows: TrainingRows, step: int) -> None:
    gathered = rows.step(step)
    shown = parts(show("mixed@v1", step + 1, workspace.root))
    counts = [part["tokens"] for part in shown]
    assert np.repeat([part["supervised"] for part in shown], counts).tolist() == gathered.is_label.tolist()
    assert sum(counts) == len(gathered.ids)


def test_text_of_the_parts_is_the_text_of_the_ids(
    workspace: Workspace, rows: TrainingRows, tokenizer: Tokenizer
) -> None:
    result = show("mixed", 3, workspace.root)
    step = rows.step(2)
    texts = ["".join(part["text"] for part in span["parts"]) for row in result["rows"] for span in row["spans"]]
    ids = [step.ids[start:end].tolist() for start, end in pairwise(step.bounds.tolist())]
    assert texts == [decode(tokenizer, one) for one in ids]
    assert any(part["special"] and part["text"] == "</s>" and part["supervised"] for part in parts(result))


def test_character_cut_by_a_border_is_whole_again(tokenizer: Tokenizer) -> None:
    """Bytes of one character on both sides: the text stays the same, no replacement character is left."""
    (ids,) = tokenizer.encode(["ab \u6f22\u5b57 c"])
    for border in range(1, len(ids)):
        is_label = np.arange(len(ids)) >= border
        (shown,) = parts_of(tokenizer, [(ids.astype(np.int64), is_label)])
        assert "".join(part["text"] for part in shown) == "ab \u6f22\u5b57 c"
        assert [part["supervised"] for part in shown] == [False, True]


def test_spans_carry_their_documents_and_places(workspace: Workspace, rows: TrainingRows) -> None:
    result = show("mixed", 2, workspace.root)
    spans = [span | {"row": row["row"]} for row in result["rows"] for span in row["spans"]]
    there = rows.schedule.spans().filter(pl.col("step") == 1)
    for name in ("row", "start", "length", "document", "document_start", "repeat", "supervised_tokens"):
        assert [span[name] for span in spans] == there[name].to_list()
    assert {(span["source"], span["is_replay"]) for span in spans} == {("code", False), ("docs", True)}
    assert result["tokens"] == there["length"].sum()
    assert [(one["source"], one["loss"]) for one in result["sources"]] == [("code", None), ("docs", None)]
    json.dumps(result, allow_nan=False)


def test_run_shows_its_losses_of_the_step_counted_from_1(workspace: Workspace) -> None:
    write_run(workspace)
    result = show("tiny", 2, workspace.root)
    assert (result["run"], result["step"], result["schedule_step"], result["loss"]) == ("tiny", 2, 1, 3.25)
    assert [one["loss"] for one in result["sources"]] == [3.0, 4.0]
    shown = show_step(result, 100, False)
    assert shown.startswith(f"tiny, step 2 of {result['num_steps']}, mixture mixed@v1\n")
    assert "loss 3.2500, learning rate 0.003" in shown
    assert "docs (replay): " in shown


def test_run_that_shares_its_name_with_a_mixture_is_taken_and_says_so(workspace: Workspace) -> None:
    folder = write_run(workspace)
    assert not show("tiny", 1, workspace.root)["is_also_a_mixture"]
    folder.rename(workspace.run("mixed"))
    shown = show("mixed", 1, workspace.root)
    assert (shown["run"], shown["is_also_a_mixture"]) == ("mixed", True)
    assert "mixed is a run and a mixture: this is the run, mixed@latest the mixture" in show_step(shown, 200)
    assert show("mixed@latest", 1, workspace.root)["run"] is None


@pytest.mark.parametrize("damage", ["truncated", "missing"])
@pytest.mark.parametrize("file", ["schedule", "documents"])
def test_damaged_schedule_or_documents_are_an_error_that_names_the_file(
    workspace: Workspace, file: str, damage: str
) -> None:
    mixture = open_mixture(workspace, "mixed")
    folder = mixture.folder if file == "documents" else workspace.schedule(mixture.manifest.schedule)
    path = folder / f"{file}.parquet"
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[:-20])
    with pytest.raises(InputError, match=rf"{file}\.parquet: .*Fix: "):
        show("mixed", 1, workspace.root)


def test_finished_run_is_read_from_its_parquet_file(workspace: Workspace) -> None:
    folder = write_run(workspace, lines=0)
    rows = [LINE | {"step": 2, "source": None}, {"step": 2, "source": "code", "loss": 2.5}]
    write_parquet(folder / "metrics.parquet", pl.DataFrame(rows, schema=METRICS_SCHEMA))
    (folder / "receipt.json").touch()
    result = show("tiny", 2, workspace.root)
    assert (result["loss"], [one["loss"] for one in result["sources"]]) == (3.25, [2.5, None])


def test_step_without_metrics_says_so(workspace: Workspace) -> None:
    write_run(workspace)
    result = show("tiny", 4, workspace.root)
    assert result["loss"] is None
    assert "the run has no metrics of this step" in " ".join(show_step(result, 80, False).split())


@pytest.mark.parametrize("step", [0, -1, 6])
def test_step_out_of_range_names_the_range(workspace: Workspace, step: int) -> None:
    write_run(workspace, max_steps=5)
    with pytest.raises(
        RecipeError, match=rf"tiny: no step {step}\. Needed: a step from 1 to 5; steps are counted from"
    ):
        show("tiny", step, workspace.root)


def test_row_out_of_range_names_the_rows(workspace: Workspace) -> None:
    with pytest.raises(RecipeError, match=r"mixed, step 1: no row 4\. Needed: a row from 0 to 3"):
        show("mixed", 1, workspace.root, row=4)


def test_one_row_is_shown_whole(workspace: Workspace) -> None:
    result = show("mixed", 1, workspace.root, row=2)
    assert [row["row"] for row in result["rows"]] == [2]
    assert "more characters" not in show_step(result, 80, False)
    assert result["tokens"] > sum(row["tokens"] for row in result["rows"]), "figures are those of the step"


def test_unknown_name_lists_runs_and_mixtures(workspace: Workspace) -> None:
    write_run(workspace)
    with pytest.raises(
        InputError, match=r"no run and no mixture 'mixde' \(have runs: tiny; mixtures: general, mixed\)"
    ):
        show("mixde", 1, workspace.root)
    with pytest.raises(InputError, match="there is no such version"):
        show("mixed@v7", 1, workspace.root)


def test_run_of_another_version_than_it_was_trained_on_is_refused(
    workspace: Workspace, change_manifest: Callable[..., None]
) -> None:
    write_run(workspace)
    change_manifest("mixed", digest="f" * 32)
    with pytest.raises(InputError, match="mixed@v1 is not the version it was trained on"):
        show("tiny", 1, workspace.root)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_keep_to_the_width_with_and_without_colours(workspace: Workspace, width: int) -> None:
    result = show("mixed", 2, workspace.root)
    plain, coloured = (show_step(result, width, is_coloured) for is_coloured in (False, True))
    assert max(len(line) for line in plain.splitlines()) <= width
    assert max(len(ESCAPE.sub("", line)) for line in coloured.splitlines()) <= width
    assert "\x1b" not in plain
    assert "\x1b[32m" in coloured


def test_without_colours_brackets_hold_what_is_no_label(workspace: Workspace) -> None:
    result = show("mixed", 1, workspace.root, row=0)
    for span in result["rows"][0]["spans"]:
        span["parts"] = [
            {"text": "<|q|>", "supervised": False, "special": True, "tokens": 1},
            {"text": "asked\x1b[31m\nand", "supervised": False, "special": False, "tokens": 2},
            {"text": " said", "supervised": True, "special": False, "tokens": 1},
        ]
    assert "    \u27e6\u2039<|q|>\u203a\u27e7\u27e6asked [31m\n    and\u27e7 said" in show_step(result, 80, False)
