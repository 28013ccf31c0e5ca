"""The verb, end to end, on a tiny model in fp32 on the CPU."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from transformers import MambaConfig, MambaForCausalLM

import trainers.final
import trainers.loop
import trainers.optim
import trainers.prepare
from engine.base.errors import AuditError, InputError, RecipeError, ResourceError
from engine.formats.mixture import open_mixture
from engine.formats.parquet import read_parquet
from engine.formats.run import FORGETTING_SCHEMA, METRICS_SCHEMA, open_run
from engine.formats.tokenizer import Tokenizer
from engine.formats.workspace import Workspace
from trainers.language_model import LanguageModel
from trainers.optim import LossScale, MasterOptimizer
from trainers.record import RunRecord
from trainers.train import show_train, train

FULL: dict[str, Any] = {"method": "full"}
LORA: dict[str, Any] = {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.2}
WIDE: dict[str, Any] = {
    "base": {"tiny": {"hidden_size": 64, "layers": 2, "heads": 2, "intermediate_size": 128}},
    "tuning": {"method": "lora", "r": 64, "alpha": 128, "dropout": 0.2},
}
"""Adapters of 4,096 elements and more, whose moments are in 8 bits where that is asked for."""
Recipe = Callable[..., Path]


class Killed(BaseException):
    """The end of the process, as far as the code can see."""


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the seconds."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next((folder / "final").glob("*.safetensors")))


def assert_same_run(one: Path, other: Path) -> None:
    assert lines_of(one) == lines_of(other)
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name in ("probes.parquet", "forgetting.parquet"):
        assert read_parquet(one / name).equals(read_parquet(other / name))


@pytest.fixture(scope="module")
def straight(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Path]:
    """A function that returns the folder of an undisturbed run of 20 steps with the given tuning."""
    folders: dict[str, Path] = {}

    def folder(tuning: dict[str, Any], write: Recipe) -> Path:
        if tuning["method"] not in folders:
            root = shutil.copytree(built, tmp_path_factory.mktemp(tuning["method"]) / "workspace")
            folders[tuning["method"]] = Path(train(write(tuning=tuning), root)["folder"])
        return folders[tuning["method"]]

    return folder  # type: ignore[return-value]


def die_at(monkeypatch: pytest.MonkeyPatch, where: str, call: int) -> None:
    """Let the process end at the given call (from 1) of a step of the loop."""
    owner: Any = {"measure": trainers.loop, "save_checkpoint": trainers.loop, "train_step": trainers.loop}.get(where)
    owner = owner or {"save_final": trainers.final}.get(where, RunRecord)
    original, calls = getattr(owner, where), []

    def dying(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(*arguments, **options)

    monkeypatch.setattr(owner, where, dying)


@pytest.mark.parametrize(
    ("tuning", "where", "call"),
    [  # steps count from 1; the adapters draw a dropout
        (FULL, "train_step", 1),
        (FULL, "append_step", 4),
        (LORA, "save_checkpoint", 1),
        (FULL, "train_step", 11),
        (LORA, "append_step", 17),
        (LORA, "measure", 3),
    ],
)
def test_killed_run_goes_on_and_ends_with_the_same_bits(
    straight: Any,
    workspace: Workspace,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    tuning: dict[str, Any],
    where: str,
    call: int,
) -> None:
    path = recipe(tuning=tuning)
    with monkeypatch.context() as patched:
        die_at(patched, where, call)
        with pytest.raises(Killed):
            train(path, workspace.root)
    result = train(path, workspace.root)
    assert_same_run(Path(result["folder"]), straight(tuning, recipe))


@pytest.mark.parametrize("where", ["append_probes", "save_final"])
def test_run_killed_again_and_again_ends_with_the_same_bits(
    straight: Any, workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = recipe()
    for _ in range(2):
        with monkeypatch.context() as patched:
            die_at(patched, where, 1)
            with pytest.raises(Killed):
                train(path, workspace.root)
    assert_same_run(Path(train(path, workspace.root)["folder"]), straight(FULL, recipe))


def test_half_a_line_of_a_killed_run_is_dropped(
    straight: Any, workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = recipe(), workspace.run("tiny")
    with monkeypatch.context() as patched:
        die_at(patched, "train_step", 14)
        with pytest.raises(Killed):
            train(path, workspace.root)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 14, "lo')
    train(path, workspace.root)
    assert_same_run(folder, straight(FULL, recipe))


def test_interrupted_run_says_so_and_goes_on_from_its_checkpoint(
    workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = trainers.loop.train_step

    def interrupted(training: Any, step: int) -> Any:
        if step == 12:
            raise KeyboardInterrupt
        return original(training, step)

    with monkeypatch.context() as patched:
        patched.setattr(trainers.loop, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(), workspace.root)
    train(recipe(), workspace.root)
    sessions = json.loads((workspace.run("tiny") / "run.json").read_text())["sessions"]
    assert [session["from_step"] for session in sessions] == [0, 10]


def test_run_that_goes_on_in_another_precision_says_so(
    workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        die_at(patched, "train_step", 4)
        with pytest.raises(Killed):
            train(recipe(max_steps=4, probes=None, checkpoints={"every_steps": 2}), workspace.root)
    path = workspace.run("tiny") / "run.json"
    path.write_text(path.read_text().replace('"precision": "float32"', '"precision": "bfloat16"'))
    train(recipe(max_steps=4, probes=None, checkpoints={"every_steps": 2}), workspace.root)
    assert "goes on with another precision (bfloat16 there, float32 here)" in capsys.readouterr().err


def test_two_runs_make_the_same_numbers(straight: Any, workspace: Workspace, recipe: Recipe) -> None:
    assert_same_run(Path(train(recipe(), workspace.root, name="again")["folder"]), straight(FULL, recipe))


def test_micro_batches_change_nothing_but_rounding(straight: Any, workspace: Workspace, recipe: Recipe) -> None:
    whole = straight(FULL, recipe)
    divided = Path(train(recipe(micro_batch_rows=1), workspace.root)["folder"])
    for one, other in zip(lines_of(whole), lines_of(divided), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["supervised_tokens"] == other["supervised_tokens"]
        for source, figures in one["sources"].items():
            assert figures == pytest.approx(other["sources"][source], rel=1e-5)


def test_step_is_the_sum_of_its_sources_and_replay_is_marked(straight: Any, recipe: Recipe) -> None:
    seen = set()
    for line in lines_of(straight(FULL, recipe)):
        parts = line["sources"].values()
        assert line["tokens"] == sum(part["tokens"] for part in parts)
        assert line["supervised_tokens"] == sum(part["supervised_tokens"] for part in parts)
        nats = sum(part["loss"] * part["supervised_tokens"] for part in parts if part["supervised_tokens"])
        assert line["loss"] == pytest.approx(nats / line["supervised_tokens"])
        seen |= {(name, part["is_replay"]) for name, part in line["sources"].items()}
    assert seen == {("code", False), ("docs (replay)", True)}


def test_files_of_a_finished_run_have_the_columns_of_the_formats(straight: Any, recipe: Recipe) -> None:
    folder = straight(FULL, recipe)
    metrics = read_parquet(folder / "metrics.parquet")
    assert metrics.schema == pl.Schema(METRICS_SCHEMA)
    assert metrics.filter(pl.col("source").is_null()).get_column("step").to_list() == list(range(1, 21))
    forgetting = read_parquet(folder / "forgetting.parquet")
    assert forgetting.schema == pl.Schema(FORGETTING_SCHEMA)
    assert forgetting.get_column("step").to_list() == [0, 0, 10, 10, 20, 20]
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-000010", "step-000020"]


def test_finished_run_answers_at_once(workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(recipe(), workspace.root)
    monkeypatch.setattr(trainers.prepare, "load_base", None)
    assert train(recipe(), workspace.root) == first
    assert first["steps"] == 20
    assert first["within_budget"] is True


def test_name_of_a_run_with_another_recipe_is_refused(workspace: Workspace, recipe: Recipe) -> None:
    train(recipe(max_steps=2), workspace.root)
    with pytest.raises(RecipeError) as error:
        train(recipe(max_steps=3, optimizer={"learning_rate": 1.0}), workspace.root)
    assert "optimizer.learning_rate (0.003 there, 1.0 here); recipe.max_steps (2 there, 3 here)" in str(error.value)
    assert "--name" in str(error.value)


def test_name_of_a_run_on_another_mixture_version_is_refused(
    workspace: Workspace, recipe: Recipe, change_manifest: Callable[..., None]
) -> None:
    train(recipe(max_steps=2), workspace.root)
    change_manifest("mixed", digest="f" * 32)
    with pytest.raises(RecipeError, match=r"another mixture.digest \([0-9a-f]{12} there, f{12} here\)"):
        train(recipe(max_steps=2), workspace.root)


def test_second_process_on_the_same_run_is_refused(workspace: Workspace, recipe: Recipe) -> None:
    with (
        RunRecord(workspace.run("tiny")).exclusive(),
        pytest.raises(ResourceError, match="another process is training this run"),
    ):
        train(recipe(), workspace.root)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mixture": "mixt"}, InputError, "did you mean 'mixed'?"),
        ({"base": {"run": "nobody"}}, InputError, "no run 'nobody'"),
        ({"base": {"model": "smollm2"}}, InputError, "no base model 'smollm2'"),
        ({"base": {"path": "nowhere"}}, InputError, "a Hugging Face model folder"),
        ({"max_steps": 10_000}, RecipeError, "max_steps: got 10000. Needed: at most"),
        ({"probes": {"general": ["generel"]}}, AuditError, "did you mean 'general'?"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_made(
    workspace: Workspace, recipe: Recipe, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        train(recipe(**changes), workspace.root)
    assert message in str(raised.value)
    assert not workspace.run("tiny").exists()


def test_nothing_is_trained_on_documents_that_were_taken_down(workspace: Workspace, recipe: Recipe) -> None:
    doc_id = open_mixture(workspace, "mixed").documents()["doc_id"][0].hex()
    gone = {"doc_id": doc_id, "source": "x", "why": "asked", "of": doc_id, "similarity": 1.0}
    (workspace.root / "takedowns.jsonl").write_text(json.dumps({"when": "2026-01-01", "documents": [gone]}) + "\n")
    with pytest.raises(InputError, match="mixed@v1: 1 of its documents were taken down"):
        train(recipe(max_steps=2), workspace.root)
    assert not workspace.run("tiny").exists()


def test_model_that_fails_the_proof_leaves_no_run(
    workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking(model: LanguageModel, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = model.causal.base_model(input_ids=ids, position_ids=positions).last_hidden_state
        return states

    monkeypatch.setattr(LanguageModel, "states", leaking)
    with pytest.raises(AuditError, match="documents of one row that cannot see each other"):
        train(recipe(), workspace.root)
    assert not workspace.run("tiny").exists()


def test_run_whose_loss_is_no_number_is_stopped(workspace: Workspace, recipe: Recipe) -> None:
    with pytest.raises(AuditError, match=r"lower optimizer.learning_rate"):
        train(recipe(optimizer={"learning_rate": 1e30, "clip": None, "warmup_fraction": 0.0}), workspace.root)


def test_bf16_masters_learn_as_fp32_does(straight: Any, workspace: Workspace, recipe: Recipe) -> None:
    result = train(recipe(precision="bf16"), workspace.root)
    folders = Path(result["folder"]), straight(FULL, recipe)
    losses = [[line["loss"] for line in lines_of(folder)] for folder in folders]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert {tensor.dtype for tensor in weights_of(Path(result["folder"])).values()} == {torch.float32}


def test_recurrent_base_is_trained_where_documents_do_not_share_rows(
    workspace: Workspace, recipe: Recipe, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sizes = {"vocab_size": 512, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2}
    MambaForCausalLM(MambaConfig(**sizes)).save_pretrained(tmp_path / "mamba")
    shutil.copy(tokenizer.folder / "tokenizer.model", tmp_path / "mamba")
    changes = {"base": {"path": str(tmp_path / "mamba")}, "max_steps": 2, "gradient_checkpointing": True}
    with pytest.raises(AuditError, match=r"cannot see each other.* Fix: set packed: false"):
        train(recipe(**changes), workspace.root)
    result = train(recipe(**changes, packed=False), workspace.root)
    assert result["steps"] == 2
    isolation = json.loads((workspace.run("tiny") / "run.json").read_text())["isolation"]
    assert (isolation["documents_isolated"], isolation["packed_equals_unpacked"]) == (True, True)


def test_run_without_probes_has_no_verdict(workspace: Workspace, recipe: Recipe) -> None:
    result = train(recipe(probes=None, max_steps=2, checkpoints={"every_steps": None, "keep": 1}), workspace.root)
    assert (result["probes"], result["within_budget"]) == ([], None)
    assert not (workspace.run("tiny") / "probes.parquet").exists()


def test_mixture_is_recorded_by_version_and_digest(workspace: Workspace, recipe: Recipe) -> None:
    train(recipe(max_steps=2), workspace.root)
    content = json.loads((workspace.run("tiny") / "run.json").read_text())
    manifest = open_mixture(workspace, "mixed").manifest
    assert content["mixture"] == {
        "digest": manifest.digest,
        "reference": "mixed@v1",
        "schedule": manifest.schedule,
        "row_tokens": manifest.row_tokens,
        "tokenizer": manifest.tokenizer,
        "split": manifest.split,
        "template": None,
    }
    assert content["lineage"] == {"runs": [], "pretraining": "none: initialised from the seed", "note": ""}


def test_ten_steps_and_ten_more_are_twenty_with_moments_in_8_bits(
    recipe: Recipe, same_run_when_killed: Callable[..., None]
) -> None:
    changes = {**WIDE, "optimizer": {"learning_rate": 3e-3, "kind": "adamw_8bit"}}
    same_run_when_killed(recipe, at_step=14, micro_batch_rows=3, **changes)


def test_run_in_fp16_goes_on_with_the_same_scale_and_counts_the_steps_it_skips(
    workspace: Workspace, recipe: Recipe, same_run_when_killed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Such a scale overflows until it has been halved often enough.
    monkeypatch.setattr(trainers.optim, "LossScale", lambda: LossScale(2.0**20))
    same_run_when_killed(recipe, precision="fp16", max_steps=6, checkpoints={"every_steps": 2})
    lines = lines_of(workspace.run("killed"))
    skipped = [line["skipped_steps"] for line in lines]
    assert 0 < skipped[-1] < 6
    assert [line["grad_norm"] is None for line in lines] == [b > a for a, b in pairwise([0, *skipped])]
    state = json.loads((workspace.run("killed") / "checkpoints" / "step-000006" / "state.json").read_text())
    good_steps = skipped.count(skipped[-1]) - 1
    assert state["loss_scale"] == {
        "value": 2.0 ** (20 - skipped[-1]),
        "good_steps": good_steps,
        "skipped_steps": skipped[-1],
    }


@pytest.mark.slow
def test_command_killed_by_the_system_goes_on_with_the_same_bits(workspace: Workspace, recipe: Recipe) -> None:
    changes = {**WIDE, "optimizer": {"learning_rate": 3e-3, "kind": "adamw_8bit"}}
    straight = Path(train(recipe(**changes, name="straight"), workspace.root)["folder"])
    verb = [sys.executable, "-m", "engine.cli", "train", str(recipe(**changes))]
    command = [*verb, "--workspace", str(workspace.root), "--json"]
    folder, one_thread = workspace.run("tiny"), os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=one_thread, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (folder / "checkpoints" / "step-000010").exists():
            time.sleep(0.002)
        process.kill()
    if (folder / "receipt.json").exists():
        pytest.skip("the run was done before it could be killed")
    subprocess.run(command, check=True, env=one_thread, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert_same_run(folder, straight)


def test_checkpoint_of_another_recipe_is_refused(workspace: Workspace, recipe: Recipe) -> None:
    for name, seed in (("tiny", 1), ("other", 2)):
        train(recipe(name=name, seed=seed, max_steps=3, probes=None), workspace.root)
    folders = [workspace.run(name) for name in ("tiny", "other")]
    for name in ("checkpoints", "receipt.json"):
        target = folders[0] / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    shutil.copytree(folders[1] / "checkpoints", folders[0] / "checkpoints")
    with pytest.raises(InputError, match=r"that of another run: recipe\.seed \(2 there, 1 here\)"):
        train(recipe(max_steps=3, probes=None), workspace.root)


def test_metrics_table_is_made_at_every_checkpoint_and_readers_see_the_steps_after_it(
    workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace.run("tiny")
    with monkeypatch.context() as patched:
        die_at(patched, "train_step", 14)
        with pytest.raises(Killed):
            train(recipe(), workspace.root)
    assert read_parquet(folder / "metrics.parquet").get_column("step").max() == 10
    assert open_run(workspace, "tiny").made_steps() == 13
    RunRecord(folder).go_back_to(8)
    assert read_parquet(folder / "metrics.parquet").get_column("step").max() == 8


def test_state_of_the_optimizer_is_proven_once_a_session(
    workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: MasterOptimizer, state: dict[str, torch.Tensor]) -> None:
        return None

    monkeypatch.setattr(MasterOptimizer, "load_state", broken)
    with pytest.raises(AuditError, match="differ after a reload"):
        train(recipe(probes=None), workspace.root)
    assert not (workspace.run("tiny") / "checkpoints").exists()


def test_run_out_of_memory_says_what_would_fit_and_keeps_its_checkpoint(
    workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = trainers.loop.learning_rate

    def starving(step: int, *arguments: Any) -> float:
        if step == 12:
            torch.empty(1 << 58, dtype=torch.uint8)
        return original(step, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(trainers.loop, "learning_rate", starving)
        with pytest.raises(ResourceError, match=r"tiny: out of memory .* set micro_batch_rows: 2; or "):
            train(recipe(probes=None), workspace.root)
    assert [path.name for path in (workspace.run("tiny") / "checkpoints").iterdir()] == ["step-000010"]


def test_run_says_what_moves_and_how(workspace: Workspace, recipe: Recipe) -> None:
    changes = {"optimizer": {"learning_rate": 3e-3, "kind": "paged_adamw_8bit"}, "gradient_checkpointing": True}
    train(recipe(max_steps=2, probes=None, freezing={"blocks": 1}, **changes), workspace.root)
    model = json.loads((workspace.run("tiny") / "run.json").read_text())["model"]
    assert (model["optimizer"], model["gradient_checkpointing"]) == ("paged_adamw_8bit", True)
    assert model["freezing"] == {
        "blocks": 2,
        "tied_head": True,
        "embeddings_and_tied_head": "from step 1",
        "blocks_from_the_bottom": ["never", "from step 1"],
    }
    assert model["trained_parameters"] < model["parameters"]


def test_outcome_is_told_in_a_few_lines(workspace: Workspace, recipe: Recipe) -> None:
    lines = show_train(train(recipe(max_steps=4, budget={"max_general_bpb_rise": 0.0}), workspace.root)).splitlines()
    assert lines[0].startswith("tiny: 4 steps on mixed@v1, loss 6.")
    assert [line.split(":")[0].strip() for line in lines[1:4]] == ["general (general)", "code (domain)", "forgetting"]
    assert lines[3].strip() in ("forgetting: within the budget of +0.00 %", "forgetting: OVER the budget of +0.00 %")
