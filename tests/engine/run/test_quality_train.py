"""`provender quality train`: from files to a folder that a recipe can name."""

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.base.errors import InputError, RecipeError
from engine.base.hashing import digest_path
from engine.cli import main
from engine.formats.mixture import open_mixture
from engine.formats.receipt import read_receipt
from engine.formats.workspace import Workspace
from engine.run.pipeline import run
from engine.run.quality_train.show import show_quality_train
from engine.verbs import quality_train
from tests.engine.annotate.test_quality import sentences

FIGURES = ("auc", "auc_interval_95", "calibration", "options", "texts_of_both_sides", "labels")


def texts(kind: str, count: int = 150) -> list[str]:
    return [sentences(kind, number) for number in range(count)]


def write(path: Path, rows: list[str], column: str = "text") -> Path:
    frame = pl.DataFrame({column: rows, "n": range(len(rows))})
    if path.suffix == ".parquet":
        frame.write_parquet(path, row_group_size=40)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        lines = "".join(json.dumps({column: row}) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


def write_texts(folder: Path, rows: list[str]) -> Path:
    folder.mkdir()
    for number, row in enumerate(rows):
        (folder / f"{number:03}.md").write_text(row)
    return folder


def trained(tmp_path: Path, **options: Any) -> dict[str, Any]:
    good, bad = write(tmp_path / "good.parquet", texts("good")), write(tmp_path / "bad.jsonl", texts("bad"))
    return quality_train([good], [bad], workspace=tmp_path / "ws", **options)


def test_the_folder_lies_in_the_workspace_and_holds_the_figures(tmp_path: Path) -> None:
    result = trained(tmp_path)
    folder = Path(result["folder"])
    assert folder.parent == tmp_path / "ws" / "models"
    assert sorted(path.name for path in folder.iterdir()) == [
        "details.json", "model.bin", "model.json", "receipt.json", "worst.json",
    ]  # fmt: skip
    assert result["auc"] == 1.0
    assert [side["documents"] + side["held_out_documents"] for side in result["classes"].values()] == [150, 150]
    stored = json.loads((folder / "model.json").read_text())
    assert {name: result[name] for name in FIGURES} == {name: stored[name] for name in FIGURES}
    assert result["worst"] == json.loads((folder / "worst.json").read_text())
    assert len(result["worst"]) == 10
    assert result["digest"] == digest_path(folder)
    receipt = read_receipt(folder)
    assert receipt is not None
    assert receipt.details["auc"] == 1.0


def test_the_same_texts_give_the_same_model_whatever_files_they_come_in(tmp_path: Path) -> None:
    one = Path(trained(tmp_path)["folder"])
    good, bad = texts("good"), texts("bad")
    random.Random(1).shuffle(good)
    positive = [write(tmp_path / "a.csv", good[:50]), write(tmp_path / "b.jsonl.gz", [*good[50:], good[60], " "])]
    (tmp_path / "tables").mkdir()
    write(tmp_path / "tables" / "c.parquet", bad[:70])
    (tmp_path / "tables" / "README.md").write_text("a folder of tables is read for its tables")
    negative = [tmp_path / "tables", write_texts(tmp_path / "notes", bad[70:])]
    other = Path(quality_train(positive, negative, out=tmp_path / "out" / "model")["folder"])
    assert (one / "model.bin").read_bytes() == (other / "model.bin").read_bytes()
    sheets = [json.loads((folder / "model.json").read_text()) for folder in (one, other)]
    assert sheets[0]["calibration"] == sheets[1]["calibration"]
    assert not list(tmp_path.glob("out/.tmp-*"))


def test_a_recipe_that_names_the_sources_trains_the_same_model_and_the_manifest_names_it(tmp_path: Path) -> None:
    folder = Path(trained(tmp_path)["folder"])
    content = {
        "name": "q",
        "sources": [
            {"stage": "parquet", "name": "good", "path": "good.parquet"},
            {"stage": "jsonl", "name": "bad", "path": "bad.jsonl"},
        ],
        "annotate": [
            {"stage": "quality", "positive": ["good"], "negative": ["bad"]},
            {"stage": "quality", "as": "given", "model": str(folder)},
            {"stage": "domain", "sources": {"good": "mathematics", "bad": "shopping"}},
        ],
        "filters": [{"reason": "poor", "keep": "quality__score > 0.5 AND given__score = quality__score"}],
        "guard": {"allow": {"bad": 1.0}},
        "tokenizer": {"train": {"sources": ["good"], "vocab_size": 300}},
        "mixtures": {"all": {"sources": ["good"], "row_tokens": 64, "rows_per_step": 4}},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(content))
    result = run(tmp_path / "recipe.yaml", tmp_path / "ws")
    kept = sum(row["documents"] for row in result["ledger"] if row["outcome"] == "kept")
    assert kept == 150
    models = open_mixture(Workspace(tmp_path / "ws"), "all").manifest.models
    assert set(models) == {"quality", "given", "domain"}
    assert models["given"] == digest_path(folder)
    steps = {step["name"]: step for step in result["steps"]}
    assert steps["quality (model)"]["details"]["auc"] == 1.0
    assert steps["domain (model)"]["details"]["accuracy"] == 1.0
    (own,) = [
        path.parent
        for path in (tmp_path / "ws" / "models").glob("*/model.json")
        if digest_path(path.parent) == models["quality"]
    ]
    assert (own / "model.bin").read_bytes() == (folder / "model.bin").read_bytes()
    again = run(tmp_path / "recipe.yaml", tmp_path / "ws")
    assert {step["state"] for step in again["steps"]} == {"fresh"}
    (tmp_path / "moved").mkdir()
    folder.rename(tmp_path / "moved" / "model")
    content["annotate"][1]["model"] = "moved/model"  # type: ignore[index]
    (tmp_path / "recipe.yaml").write_text(json.dumps(content))
    moved = run(tmp_path / "recipe.yaml", tmp_path / "ws")
    assert {step["state"] for step in moved["steps"]} == {"fresh"}
    # Another seed trains other models, and leaves the scores of the one that was brought along.
    (tmp_path / "recipe.yaml").write_text(json.dumps({**content, "seed": 2}))
    plan = {
        step["name"]: step["state"] for step in run(tmp_path / "recipe.yaml", tmp_path / "ws", dry_run=True)["steps"]
    }
    assert (plan["given"], plan["quality (model)"], plan["domain (model)"]) == ("fresh", "stale", "stale")


def test_training_again_finds_the_model_that_is_there(tmp_path: Path) -> None:
    first = trained(tmp_path)
    before = (Path(first["folder"]) / "receipt.json").read_bytes()
    assert trained(tmp_path) == first
    assert (Path(first["folder"]) / "receipt.json").read_bytes() == before
    other = trained(tmp_path, seed=2)
    assert other["folder"] != first["folder"]
    assert other["options"]["seed"] == 2


def test_the_same_files_on_both_sides_are_an_error(tmp_path: Path) -> None:
    good = write(tmp_path / "good.parquet", texts("good"))
    with pytest.raises(RecipeError, match=r"--negative: 0 different texts .* and 150 more that another class has too"):
        quality_train([good], [good], workspace=tmp_path / "ws")
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("side", ["positive", "negative"])
def test_ten_lines_or_nothing_on_one_side_are_an_error(tmp_path: Path, side: str) -> None:
    whole, few = write(tmp_path / "whole.jsonl", texts("good")), write(tmp_path / "few.jsonl", texts("bad", 10))
    other = "negative" if side == "positive" else "positive"
    with pytest.raises(RecipeError, match=f"--{side}: 10 different texts for the class '{side}'. Needed: at least 20"):
        quality_train(**{side: [few], other: [whole]}, workspace=tmp_path / "ws")
    with pytest.raises(RecipeError, match=f"--{side}: no file. Needed: files of both sides"):
        quality_train(**{side: [], other: [whole]}, workspace=tmp_path / "ws")


def test_files_that_cannot_be_read_are_errors_and_leave_nothing(tmp_path: Path) -> None:
    good = write(tmp_path / "good.jsonl", texts("good"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "image.png").write_bytes(b"")
    cases = {
        "missing.jsonl": "there is no such file",
        "empty": "it holds no file that can be read. Needed: Parquet, JSONL, CSV or text files",
        "latin.txt": r"byte 4 of the file is not utf-8\.$",
        "cut.parquet": "cannot be read",
        "image.png": "files ending with '.png' are not read",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            quality_train([good], [tmp_path / name], out=tmp_path / "new" / "out")
    with pytest.raises(InputError, match="no column 'body'"):
        quality_train([good], [good], out=tmp_path / "new" / "out", text_column="body")
    with pytest.raises(RecipeError, match="quality train: epochs"):
        quality_train([good], [good], out=tmp_path / "new" / "out", epochs=0)
    assert not (tmp_path / "new").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with pytest.raises(RecipeError, match="it is not empty"):
        quality_train([good], [good], out=tmp_path / "full")


def test_command_line_prints_the_figures_and_json_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = trained(tmp_path)
    arguments = ["quality", "train", "--positive", str(tmp_path / "good.parquet"), "--negative"]
    arguments += [str(tmp_path / "bad.jsonl"), "--workspace", str(tmp_path / "ws")]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for part in ("AUC 1.0000", "share positive", "bad.jsonl#", f"model: {result['folder']}", result["digest"][:12]):
        assert part in shown
    failed = subprocess.run(
        [sys.executable, "-m", "engine.cli", *arguments[:4]], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "--negative" in failed.stderr


def test_narrow_terminals_are_kept_to_and_control_characters_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = trained(tmp_path)
    result["worst"][0]["excerpt"] = "\x1b[31mred\n" + "word " * 30
    monkeypatch.setenv("COLUMNS", "50")
    shown = show_quality_train(result)
    assert "\x1b" not in shown
    # The folder and the line for the recipe are there to be copied, so they are not broken.
    long = [line for line in shown.splitlines() if len(line) > 50 and result["folder"] not in line]
    assert long == []


def test_without_held_out_documents_of_one_side_there_is_no_auc(tmp_path: Path) -> None:
    result = trained(tmp_path) | {"auc": None, "auc_interval_95": None}
    assert show_quality_train(result).startswith("no AUC: of ")
