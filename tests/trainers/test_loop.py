from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from engine.formats.parquet import write_parquet
from engine.formats.schedule import SCHEMA, Schedule
from engine.formats.tokenizer import Tokenizer
from engine.formats.training_rows import TrainingRows
from trainers.adapters import add_adapters
from trainers.lineage import Base
from trainers.loop import Training, step_seed, train_step
from trainers.model import load_base
from trainers.optim import MasterOptimizer
from trainers.recipe import BaseConfig, TinyConfig, TrainRecipe, TuningConfig
from trainers.record import RunRecord
from trainers.world import World

GOLDEN = Path(__file__).parent / "golden" / "tiny_dapt_cpu.txt"
TINY = TinyConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64)


def prepare(rows: TrainingRows, tokenizer: Tokenizer, folder: Path, **changes: Any) -> Training:
    changes["optimizer"] = {"learning_rate": 3e-4, **changes.get("optimizer", {})}
    recipe = TrainRecipe(name="t", mixture="m", base=BaseConfig(tiny=TINY), **changes)
    causal = load_base(Base("tiny", "tiny", "", tiny=TINY), tokenizer, 64, recipe.seed)
    model = add_adapters(causal, recipe.tuning, recipe.seed)
    optimizer = MasterOptimizer(model, model.trained(), recipe.optimizer, torch.float32)
    return Training(recipe, rows, model, optimizer, RunRecord(folder), World(torch.device("cpu")), rows.num_steps)


def trajectory(training: Training, num_steps: int) -> np.ndarray:
    """fp64[steps, 2]: loss and norm of the gradient."""
    lines = [train_step(training, step) for step in range(num_steps)]
    return np.array([[line["loss"], line["grad_norm"]] for line in lines])


def assert_same_trajectory(found: np.ndarray, expected: np.ndarray, largest: float, mean: float) -> None:
    """Loss and norm within `largest` at every step, and within `mean` on average, where faults of one side add up."""
    assert np.abs(found / expected - 1).max() < largest
    assert np.abs((found / expected - 1).mean(axis=0)).max() < mean


def test_losses_and_norms_are_the_golden_ones(byte_rows: tuple[TrainingRows, Tokenizer], tmp_path: Path) -> None:
    training = prepare(*byte_rows, tmp_path, optimizer={"learning_rate": 1e-2})
    # Another CPU sums in another order.
    assert_same_trajectory(trajectory(training, 20), np.loadtxt(GOLDEN), largest=1e-3, mean=1e-4)


def test_eight_micro_batches_make_the_steps_of_one(byte_rows: tuple[TrainingRows, Tokenizer], tmp_path: Path) -> None:
    rows, tokenizer = byte_rows
    eight = replace(rows, schedule=of_eight_rows(rows.schedule, tmp_path / "eight"))
    found = [
        trajectory(prepare(eight, tokenizer, tmp_path, micro_batch_rows=size, optimizer={"learning_rate": 1e-2}), 10)
        for size in (None, 1)
    ]
    assert eight.step(3).row_number.max() == 7
    assert_same_trajectory(found[0], found[1], largest=1e-4, mean=1e-5)


def of_eight_rows(schedule: Schedule, folder: Path) -> Schedule:
    """The schedule with two steps of four rows made one."""
    second = pl.col("step") % 2
    spans = schedule.spans().with_columns(pl.col("row") + second * 4, pl.col("step") // 2)
    write_parquet(folder / "schedule.parquet", spans.cast(dict(SCHEMA)))
    return replace(schedule, folder=folder)


def test_losses_are_those_of_a_naive_loop(byte_rows: tuple[TrainingRows, Tokenizer], tmp_path: Path) -> None:
    rows, tokenizer = byte_rows
    training = prepare(rows, tokenizer, tmp_path, optimizer={"learning_rate": 1e-2, "decay": "constant"})
    found = [train_step(training, step)["loss"] for step in range(6)]
    assert found == pytest.approx(naive_losses(rows, tokenizer, 6), rel=1e-4)


def naive_losses(rows: TrainingRows, tokenizer: Tokenizer, num_steps: int) -> list[float]:
    """One document after the other through the model's own forward pass, plain AdamW, no packing."""
    model = load_base(Base("tiny", "tiny", "", tiny=TINY), tokenizer, 64, seed=1)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), foreach=False)
    warmup = round(0.05 * rows.num_steps)
    losses = []
    for step in range(num_steps):
        gathered = rows.step(step)
        edges = gathered.bounds.tolist()
        total = torch.zeros(())
        for start, stop in pairwise(edges):
            ids, is_label = torch.from_numpy(gathered.ids[start:stop]), gathered.is_label[start:stop]
            nats = -model(input_ids=ids[None], use_cache=False).logits[0].log_softmax(1)
            total = total + sum(nats[i - 1, ids[i]] for i in np.flatnonzero(is_label))
        loss = total / gathered.step_labels
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in adamw.param_groups:
            group["lr"] = 1e-2 * min(1.0, (step + 1) / warmup) if warmup else 1e-2
        adamw.step()
        adamw.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("rows_at_once", [1, 3])
def test_gradient_of_a_step_does_not_depend_on_the_micro_batches(
    rows: TrainingRows, tokenizer: Tokenizer, tmp_path: Path, rows_at_once: int
) -> None:
    whole = prepare(rows, tokenizer, tmp_path)
    divided = prepare(rows, tokenizer, tmp_path, micro_batch_rows=rows_at_once)
    for step in range(3):
        one, other = train_step(whole, step), train_step(divided, step)
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)


def test_loss_of_a_step_is_the_mean_over_its_labels(rows: TrainingRows, tokenizer: Tokenizer, tmp_path: Path) -> None:
    training = prepare(rows, tokenizer, tmp_path)
    gathered = rows.step(2)
    total = 0.0
    edges = gathered.bounds.tolist()
    with torch.no_grad():
        for start, stop in pairwise(edges):
            span, is_label = gathered.ids[start:stop], gathered.is_label[start:stop]
            logits = training.model.causal(input_ids=torch.from_numpy(span)[None], use_cache=False).logits[0].double()
            nats = -logits.log_softmax(1)
            total += sum(float(nats[i - 1, span[i]]) for i in np.flatnonzero(is_label))
    assert train_step(training, 2)["loss"] == pytest.approx(total / gathered.step_labels, rel=1e-5)


def test_dropout_of_a_step_is_drawn_from_seed_and_step_alone(
    rows: TrainingRows, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tuning = TuningConfig(method="lora", r=4, dropout=0.5)
    one, other, none = (
        prepare(rows, tokenizer, tmp_path, tuning=tuning.model_copy(update={"dropout": rate}))
        for rate in (0.5, 0.5, 0.0)
    )
    for training in (one, other, none):  # an adapter that starts at zero hides its dropout
        for name, parameter in training.optimizer.masters.items():
            if "lora_B" in name:
                torch.nn.init.constant_(parameter, 0.1)
    torch.rand(100)
    first = train_step(one, 5)["loss"]
    torch.rand(7)
    assert train_step(other, 5)["loss"] == first
    assert train_step(none, 5)["loss"] != first
    assert step_seed(1, 5) != step_seed(2, 5)
    assert step_seed(1, 5) != step_seed(1, 6)
    assert step_seed(1, 5) >= 0
    assert 0 <= step_seed(2**62, 10**9) < 2**63


def test_dropout_of_a_micro_batch_does_not_depend_on_those_before(
    rows: TrainingRows, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    def dropped(drawn_elsewhere: int) -> list[torch.Tensor]:
        """Where the first dropout of both micro-batches has zeros, with numbers drawn behind it."""
        tuning = {"method": "lora", "r": 4, "dropout": 0.5}
        training = prepare(rows, tokenizer, tmp_path, tuning=tuning, micro_batch_rows=2)
        found = []

        def hook(_: torch.nn.Module, __: Any, output: torch.Tensor) -> None:
            found.append(output == 0)
            torch.rand(drawn_elsewhere)

        modules = training.model.causal.named_modules()
        next(module for name, module in modules if name.endswith("lora_dropout.default")).register_forward_hook(hook)
        train_step(training, 5)
        return found

    one, other = dropped(0), dropped(7)
    assert len(one) == 2
    assert all(torch.equal(first, second) for first, second in zip(one, other, strict=True))
    assert not torch.equal(one[0], one[1])
    assert step_seed(1, 5) == step_seed(1, 5, 0)
    assert len({step_seed(1, step, number) for step in range(3) for number in range(3)}) == 9


def test_learning_rate_and_norm_are_written_down(rows: TrainingRows, tokenizer: Tokenizer, tmp_path: Path) -> None:
    training = prepare(rows, tokenizer, tmp_path, optimizer={"learning_rate": 0.5, "warmup_fraction": 0.0})
    figures = train_step(training, 0)
    assert figures["learning_rate"] == 0.5
    assert figures["grad_norm"] > 0
    assert figures["tokens"] == 256
