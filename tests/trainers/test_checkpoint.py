import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.base.atomic import TEMPORARY_PREFIX
from engine.base.errors import AuditError, InputError, ResourceError
from trainers.checkpoint import (
    checkpoints,
    latest_checkpoint,
    load_checkpoint,
    prove_reload,
    remove_leftovers,
    save_checkpoint,
)
from trainers.optim import MasterOptimizer
from trainers.recipe import OptimizerConfig

IDENTITY = {"recipe": {"seed": 1, "clip": 1.0}, "mixture": {"digest": "a" * 32}, "base": {"name": "tiny"}}
KINDS = ("adamw", "adamw_8bit", "paged_adamw_8bit")


def optimizer(
    dtype: torch.dtype, seed: int = 0, kind: str = "adamw", width: int = 8
) -> tuple[torch.nn.Module, MasterOptimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Linear(width, 1024)  # from 4,096 elements on, 8 bits are 8 bits
    config = OptimizerConfig.model_validate({"kind": kind})
    return model, MasterOptimizer(model, dict(model.named_parameters()), config, dtype)


def make_step(model: torch.nn.Module, adam: MasterOptimizer, step: int) -> None:
    torch.manual_seed(step)
    loss = model(torch.randn(5, 8).to(model.weight.dtype)).square().sum()
    adam.scaled(loss).backward()
    adam.collect()
    adam.step(0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_ten_and_ten_steps_are_twenty(tmp_path: Path, dtype: torch.dtype, kind: str) -> None:
    straight_model, straight = optimizer(dtype, kind=kind)
    for step in range(20):
        make_step(straight_model, straight, step)
    model, adam = optimizer(dtype, kind=kind)
    for step in range(10):
        make_step(model, adam, step)
    save_checkpoint(tmp_path, 10, adam, keep=1)
    model, adam = optimizer(dtype, seed=9, kind=kind)
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
    assert adam.loss_scale == straight.loss_scale


@pytest.mark.parametrize("kind", KINDS[1:])
def test_state_in_8_bits_is_plain_tensors_and_that_of_small_ones_stays_in_32(kind: str) -> None:
    model, adam = optimizer(torch.float32, kind=kind)
    make_step(model, adam, 0)
    types = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in adam.state().items()}
    assert types == {
        "weight/step": (torch.int64, ()),
        "weight/state1": (torch.uint8, (1024, 8)),
        "weight/state2": (torch.uint8, (1024, 8)),
        "weight/qmap1": (torch.float32, (256,)),
        "weight/qmap2": (torch.float32, (256,)),
        "weight/absmax1": (torch.float32, (32,)),
        "weight/absmax2": (torch.float32, (32,)),
        "bias/step": (torch.int64, ()),
        "bias/state1": (torch.float32, (1024,)),
        "bias/state2": (torch.float32, (1024,)),
    }


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": {"seed": 2, "clip": 1.0}}, r"that of another run: recipe\.seed \(1 there, 2 here\)"),
        ({"mixture": {"digest": "b" * 32}}, r"mixture\.digest \(a{12} there, b{12} here\)"),
        ({"base": {"name": "other"}}, r"base\.name \(tiny there, other here\)"),
    ],
)
def test_checkpoint_of_another_run_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    _, adam = optimizer(torch.float32)
    save_checkpoint(tmp_path, 5, adam, 1, IDENTITY)
    before = adam.masters["weight"].detach().clone()
    with pytest.raises(InputError, match=message):
        load_checkpoint(tmp_path / "step-000005", adam, IDENTITY | change)
    load_checkpoint(tmp_path / "step-000005", adam, IDENTITY)
    assert torch.equal(adam.masters["weight"], before)


def test_checkpoint_of_other_parameters_is_refused_with_their_shapes(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 5, optimizer(torch.float32)[1], 1)
    _, adam = optimizer(torch.float32, width=9)
    with pytest.raises(InputError, match=r"1 of its parameters are others, .* \[1024, 8\] there, \[1024, 9\] here"):
        load_checkpoint(tmp_path / "step-000005", adam)
    renamed = torch.nn.ModuleDict({"inner": torch.nn.Linear(8, 1024)})
    adam = MasterOptimizer(renamed, dict(renamed.named_parameters()), OptimizerConfig(), torch.float32)
    with pytest.raises(InputError, match=r"4 of its parameters are others, bias the first: \[1024\] there, none here"):
        load_checkpoint(tmp_path / "step-000005", adam)


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    _, adam = optimizer(torch.float32)
    save_checkpoint(tmp_path, 5, adam, 1)
    file = tmp_path / "step-000005" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"step-000005: cannot be read .* delete the folder"):
        load_checkpoint(tmp_path / "step-000005", adam)


@pytest.mark.parametrize("kind", KINDS)
def test_state_of_every_kind_survives_a_reload_and_none_is_no_proof(tmp_path: Path, kind: str) -> None:
    model, adam = optimizer(torch.bfloat16, kind=kind)
    assert prove_reload(tmp_path, adam) is False
    make_step(model, adam, 0)
    assert prove_reload(tmp_path, adam) is True
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["weight/state1", "weight/absmax2", "bias/step"])
def test_state_that_does_not_come_back_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    model, adam = optimizer(torch.float32, kind="adamw_8bit")
    make_step(model, adam, 0)
    original = MasterOptimizer.load_state

    def lossy(self: MasterOptimizer, state: dict[str, torch.Tensor]) -> None:
        original(self, {key: value + 1 if key == broken else value for key, value in state.items()})

    monkeypatch.setattr(MasterOptimizer, "load_state", lossy)
    with pytest.raises(AuditError, match=f"1 tensors of adamw_8bit differ after a reload, {broken} first"):
        prove_reload(tmp_path, adam)


def in_a_process(work: Callable[[], None]) -> int:
    """Start `work` in a copy of this process; return its id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    return child


@pytest.mark.parametrize("moment", [0.0, 0.3, 0.6, 0.9])
def test_process_killed_while_it_saves_leaves_whole_checkpoints(tmp_path: Path, moment: float) -> None:
    _, adam = optimizer(torch.float32, width=1024)
    save_checkpoint(tmp_path, 1, adam, 2, IDENTITY)
    started = time.monotonic()
    save_checkpoint(tmp_path, 2, adam, 2, IDENTITY)
    duration = time.monotonic() - started

    def save_on_and_on() -> None:
        for step in range(3, 10_000):
            save_checkpoint(tmp_path, step, adam, 2, IDENTITY)

    child = in_a_process(save_on_and_on)
    while not any(path.name.startswith(TEMPORARY_PREFIX) for path in tmp_path.iterdir()):
        time.sleep(0.0005)
    time.sleep(moment * duration)
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    found = checkpoints(tmp_path)
    assert len(found) >= 2
    for _, folder in found:
        load_checkpoint(folder, adam, IDENTITY)
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(found)


def test_full_disk_is_told_and_the_checkpoint_before_stands(tmp_path: Path) -> None:
    _, adam = optimizer(torch.float32)
    save_checkpoint(tmp_path, 5, adam, 1, IDENTITY)

    def save_to_a_full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            save_checkpoint(tmp_path, 10, adam, 1, IDENTITY)
        except ResourceError as error:
            is_told = "cannot be written" in str(error) and "lower checkpoints.keep" in str(error)
            os._exit(0 if is_told else 2)

    assert os.waitpid(in_a_process(save_to_a_full_disk), 0)[1] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["step-000005"]
    load_checkpoint(tmp_path / "step-000005", adam, IDENTITY)
