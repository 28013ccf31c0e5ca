"""Memory is foretold before anything is loaded, and is what is really allocated."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import trainers.dry_run
from engine.base.errors import AuditError, InputError
from engine.cli import main
from engine.formats.tokenizer import Tokenizer
from engine.formats.workspace import Workspace
from tests.trainers.conftest import TINY
from trainers.activations import count_activations
from trainers.dry_run import show_plan
from trainers.empty_model import empty_base
from trainers.job import Job, resolve_job
from trainers.memory import Memory, fullest_batch, memory_of, moments
from trainers.recipe import TrainRecipe
from trainers.train import show_train, train

CPU = torch.device("cpu")
LORA = {"tuning": {"method": "lora"}}
MIDDLE = {"hidden_size": 512, "layers": 4, "heads": 8, "intermediate_size": 1408}
"""13 million parameters."""
WAYS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": LORA,
    "bf16": {"precision": "bf16"},
    "lora in bf16": {**LORA, "precision": "bf16"},
    "activations twice": {"gradient_checkpointing": True},
    "a row at a time": {"micro_batch_rows": 1},
    "blocks frozen": {"freezing": {"blocks": 1, "embeddings": True}},
    "8 bits": {"optimizer": {"kind": "adamw_8bit", "learning_rate": 1e-3}},
}
Recipe = Callable[..., Path]


def job_of(recipe: Recipe, workspace: Workspace, **changes: Any) -> Job:
    return resolve_job(recipe(**changes), workspace, None)


def foretold(recipe: Recipe, workspace: Workspace, ranks: int = 1, **changes: Any) -> Memory:
    return memory_of(job_of(recipe, workspace, **changes), CPU, ranks)


def allocated(recipe: Path, workspace: Workspace) -> int:
    """Return the most bytes of tensors at once while the recipe is trained."""
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profiler:
        train(recipe, workspace.root)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize("way", WAYS)
def test_the_peak_is_that_of_the_tensors_really_allocated(way: str, workspace: Workspace, recipe: Recipe) -> None:
    changes = {**WAYS[way], "probes": None, "max_steps": 2}
    expected = foretold(recipe, workspace, **changes)
    assert expected.is_counted
    assert 0.9 < expected.peak / allocated(recipe(**changes), workspace) < 1.2


def test_so_it_is_of_13_million_parameters(workspace: Workspace, recipe: Recipe) -> None:
    changes = {"base": {"tiny": MIDDLE}, "probes": None, "max_steps": 1}
    expected = foretold(recipe, workspace, **changes)
    assert expected.total_parameters == 13_111_808
    assert 0.9 < expected.peak / allocated(recipe(**changes), workspace) < 1.2


def test_what_is_trained_is_foretold_to_the_number(workspace: Workspace, recipe: Recipe) -> None:
    for changes in ({}, LORA, {"freezing": {"blocks": 1}}):
        path = recipe(**changes, max_steps=1, probes=None, name=f"run{len(str(changes))}")
        planned = train(path, workspace.root, dry_run=True)
        train(path, workspace.root)
        content = Workspace(workspace.root).run(planned["run"]) / "run.json"
        assert f'"trained_parameters": {planned["trained_parameters"]},' in content.read_text()


def test_parts_of_full_training_follow_from_its_parameters(workspace: Workspace, recipe: Recipe) -> None:
    full, bf16 = foretold(recipe, workspace), foretold(recipe, workspace, precision="bf16")
    number = full.total_parameters
    assert (full.weights, full.masters, full.optimizer, full.gradients) == (4 * number, 0, 8 * number, 4 * number)
    assert (bf16.weights, bf16.masters, bf16.gradients) == (2 * number, 4 * number, 6 * number)
    assert full.adapters == bf16.adapters == 0


def test_settings_that_save_memory_save_it_in_their_part(workspace: Workspace, recipe: Recipe) -> None:
    full = foretold(recipe, workspace)
    assert foretold(recipe, workspace, gradient_checkpointing=True).activations < 0.7 * full.activations
    assert foretold(recipe, workspace, micro_batch_rows=1).activations < 0.3 * full.activations
    shards = foretold(recipe, workspace, ranks=4, parallel="fsdp")
    assert shards.optimizer == full.optimizer // 4
    assert shards.micro_batch_tokens <= 64
    assert foretold(recipe, workspace, ranks=4).optimizer == full.optimizer
    lora, qlora = (foretold(recipe, workspace, tuning={"method": method}) for method in ("lora", "qlora"))
    assert 0 < lora.adapters < lora.weights
    assert lora.optimizer < full.optimizer
    linears = 2 * (4 * 32 * 32 + 3 * 32 * 64)
    assert lora.weights - qlora.weights == pytest.approx(linears * (4 - 0.516), abs=8)
    frozen = foretold(recipe, workspace, freezing={"blocks": 1, "embeddings": True})
    assert frozen.activations < 0.6 * full.activations
    assert frozen.gradients < full.gradients / 2


@pytest.mark.parametrize(("method", "number"), [("prompt", 20 * 32), ("prefix", 2 * 2 * 20 * 32)])
def test_what_is_learnt_in_front_is_counted(method: str, number: int, workspace: Workspace, recipe: Recipe) -> None:
    found = foretold(recipe, workspace, tuning={"method": method})
    assert found.trained_parameters == number
    assert found.activations > 0
    plain, _ = fullest_batch(job_of(recipe, workspace).rows, job_of(recipe, workspace).recipe)
    assert found.micro_batch_tokens == plain[-1] + 20 * (len(plain) - 1)


def test_moments_in_8_bits_are_of_large_tensors_only() -> None:
    assert moments([4096, 100], "adamw") == 8 * 4196
    assert moments([4096, 100], "adamw_8bit") == 2 * 4096 + 8 * 16 + 8 * 100


def test_the_fullest_batch_is_that_of_a_naive_search(workspace: Workspace, recipe: Recipe) -> None:
    job = job_of(recipe, workspace, micro_batch_rows=2)
    sums = []
    for step in range(job.rows.num_steps):
        rows = job.rows.step(step)
        for first in range(0, 4, 2):
            chosen = rows.length[(rows.row >= first) & (rows.row < first + 2)]
            sums.append((int(chosen.sum()), int((chosen**2).sum())))
    edges, batches = fullest_batch(job.rows, job.recipe)
    lengths = [stop - start for start, stop in itertools.pairwise(edges)]
    assert (sum(lengths), sum(length**2 for length in lengths)) == max(sums)
    assert batches == 2


def test_documents_that_attend_by_themselves_keep_fewer_scores(workspace: Workspace, recipe: Recipe) -> None:
    job = job_of(recipe, workspace)
    one, many = (
        count_activations(empty_base(job.base, job.tokenizer, 64), edges, torch.float32, False)
        for edges in ([0, 64], [0, 16, 32, 48, 64])
    )
    scores = 2 * 64 * 64 * 4  # of one block: heads, queries, keys, bytes
    assert one.blocks[1] - many.blocks[1] == scores * 3 // 4


def test_a_model_that_only_runs_with_data_is_estimated(workspace: Workspace, recipe: Recipe) -> None:
    job = job_of(recipe, workspace)
    causal = empty_base(job.base, job.tokenizer, 64)
    causal.base_model.norm.register_forward_hook(lambda _module, _args, out: float(out.detach().sum()))
    found = count_activations(causal, [0, 64], torch.float32, False)
    assert not found.is_counted
    assert found.kept(computes_twice=False) == 64 * 32 * 4 * (1 + 2 * 17)


def test_a_dry_run_says_what_the_run_would_be_and_writes_nothing(workspace: Workspace, recipe: Recipe) -> None:
    path = recipe(optimizer=None)
    before = sorted(workspace.root.rglob("*"))
    plan = train(path, workspace.root, dry_run=True)
    assert sorted(workspace.root.rglob("*")) == before
    spans = job_of(recipe, workspace).rows
    assert plan["tokens"] == sum(int(spans.step(step).length.sum()) for step in range(20))
    assert plan["supervised_tokens"] == sum(spans.step(step).step_labels for step in range(20))
    assert (plan["tuning"], plan["steps"], plan["learning_rate"], plan["fits"]) == ("full", 20, 3e-3, True)
    assert plan["learning_rate_from"] == "learning rate 0.003: the default, for a model from scratch"
    assert plan["seconds"] is None
    text = show_train(plan)
    assert "37,024 parameters are trained, 100 % of 37,024" in text
    assert "it fits" in text
    assert "time: unknown" in text


@pytest.mark.parametrize("verb", [["train", "--dry-run"], ["advise"]])
def test_the_command_prints_one_object(
    verb: list[str], workspace: Workspace, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb[0], str(recipe()), "--workspace", str(workspace.root), "--json", *verb[1:]]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.get("plan", printed)["trained_parameters"] == 37_024


def test_time_is_that_of_a_finished_run_of_the_same_kind(workspace: Workspace, recipe: Recipe) -> None:
    made = train(recipe(name="first", max_steps=2, probes=None), workspace.root)
    plan = train(recipe(), workspace.root, dry_run=True)
    assert plan["seconds"] == round(plan["tokens"] / made["tokens_per_second"])
    assert plan["seconds_from"].startswith("from run first:")
    assert train(recipe(**LORA), workspace.root, dry_run=True)["seconds"] is None


def test_what_does_not_fit_comes_with_what_would(
    workspace: Workspace, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = foretold(recipe, workspace, micro_batch_rows=1).needed
    monkeypatch.setattr(trainers.dry_run, "free_bytes", lambda _device: free)
    plan = train(recipe(), workspace.root, dry_run=True)
    assert not plan["fits"]
    assert plan["free_memory"] == free
    changes = {change["change"]: change for change in plan["changes"]}
    assert changes["micro_batch_rows: 1"]["fits"]
    assert not changes["optimizer: {kind: adamw_8bit}"]["fits"]
    assert {"gradient_checkpointing: true", "tuning: {method: qlora}", "parallel: fsdp on 2 devices"} <= changes.keys()
    assert "it does NOT fit" in show_plan(plan)
    assert "micro_batch_rows: 1: 1.4 MB, fits" in show_plan(plan)
    train(recipe(max_steps=1, probes=None), workspace.root)
    said = capsys.readouterr().err
    assert "37,024 parameters are trained" in said
    assert "it may not fit; would need less: micro_batch_rows" in said


def test_rows_longer_than_the_context_are_told_before_loading(
    workspace: Workspace, recipe: Recipe, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folder = tmp_path / "short"
    sizes = {"vocab_size": 512, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=32)
    LlamaForCausalLM(config).save_pretrained(folder)
    shutil.copy(tokenizer.folder / "tokenizer.model", folder)
    with pytest.raises(InputError, match="knows 32 positions, the mixture's rows need 64"):
        train(recipe(base={"path": str(folder)}), workspace.root, dry_run=True)


def test_a_gate_stops_a_dry_run_too(workspace: Workspace, recipe: Recipe) -> None:
    with pytest.raises(AuditError, match="held-out set"):
        train(recipe(probes={"general": ["unknown"]}), workspace.root, dry_run=True)


def test_the_plan_reads_no_weight(workspace: Workspace, recipe: Recipe) -> None:
    job = job_of(recipe, workspace, base={"tiny": TINY | {"hidden_size": 8192, "layers": 30, "heads": 64}})
    found = memory_of(job, CPU, recipe=TrainRecipe.model_validate(job.recipe.model_dump() | {"precision": "bf16"}))
    assert found.total_parameters > 8e9
    assert found.gradient_checkpointing
