from pathlib import Path

import pytest
import torch

from engine.base.atomic import TEMPORARY_PREFIX
from trainers.checkpoint import checkpoints, latest_checkpoint, load_checkpoint, save_checkpoint
from trainers.optim import MasterOptimizer
from trainers.recipe import OptimizerConfig


def optimizer(dtype: torch.dtype, seed: int = 0) -> tuple[torch.nn.Module, MasterOptimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Linear(8, 4)
    return model, MasterOptimizer(model, dict(model.named_parameters()), OptimizerConfig(), dtype)


def make_step(model: torch.nn.Module, adam: MasterOptimizer, step: int) -> None:
    torch.manual_seed(step)
    model(torch.randn(5, 8).to(model.weight.dtype)).square().sum().backward()
    adam.collect()
    adam.step(0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_ten_and_ten_steps_are_twenty(tmp_path: Path, dtype: torch.dtype) -> None:
    straight_model, straight = optimizer(dtype)
    for step in range(20):
        make_step(straight_model, straight, step)
    model, adam = optimizer(dtype)
    for step in range(10):
        make_step(model, adam, step)
    save_checkpoint(tmp_path, 10, adam, keep=1)
    model, adam = optimizer(dtype, seed=9)
    step, folder = latest_checkpoint(tmp_path)
    assert folder is not None
    load_checkpoint(folder, adam)
    for number in range(step, 20):
        make_step(model, adam, number)
    assert all(torch.equal(adam.masters[name], master) for name, master in straight.masters.items())
    assert all(
        torch.equal(one, other) for one, other in zip(model.parameters(), straight_model.parameters(), strict=True)
    )
    assert all(torch.equal(adam.state()[name], value) for name, value in straight.state().items())


def test_newest_are_kept(tmp_path: Path) -> None:
    _, adam = optimizer(torch.float32)
    for step in (5, 10, 1_000_000):
        save_checkpoint(tmp_path, step, adam, keep=2)
    assert [step for step, _ in checkpoints(tmp_path)] == [10, 1_000_000]


def test_what_a_killed_write_leaves_is_no_checkpoint(tmp_path: Path) -> None:
    _, adam = optimizer(torch.float32)
    save_checkpoint(tmp_path, 5, adam, keep=2)
    for name in (f"{TEMPORARY_PREFIX}abc", "step-000010"):
        (tmp_path / name).mkdir()
    assert latest_checkpoint(tmp_path) == (5, tmp_path / "step-000005")


def test_folder_without_checkpoints_starts_at_zero(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "nowhere") == (0, None)
