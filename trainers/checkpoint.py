"""Checkpoints: everything a run needs to go on, whole or not there.

checkpoints/step-000020/
    weights.safetensors     masters of the trained parameters, fp32
    optimizer.safetensors   AdamW's moments and step counts
    state.json              step, digest of what is trained

The order of the data needs no state: the step number is the position in the schedule. Neither does the random state:
generators are seeded from (seed, step).
"""

import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from engine.base.atomic import atomic_folder, read_json, write_json
from trainers.optim import MasterOptimizer

WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"


def save_checkpoint(folder: Path, step: int, optimizer: MasterOptimizer, keep: int) -> None:
    """Write the state after `step` steps under `folder`, then remove all but the newest `keep`."""
    with atomic_folder(folder / f"step-{step:06d}") as temporary:
        save_file(_contiguous(optimizer.masters), temporary / WEIGHTS)
        save_file(_contiguous(optimizer.state()), temporary / OPTIMIZER)
        write_json(temporary / STATE, {"step": step})
    for _, path in checkpoints(folder)[:-keep]:
        shutil.rmtree(path)


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Return (step, folder) of the whole checkpoints, oldest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-[0-9]+", path.name)]
    return sorted((int(read_json(path / STATE)["step"]), path) for path in found if (path / STATE).is_file())


def latest_checkpoint(folder: Path) -> tuple[int, Path | None]:
    """Return step and folder of the newest checkpoint; (0, None) where there is none."""
    found = checkpoints(folder)
    return found[-1] if found else (0, None)


@torch.no_grad()
def load_checkpoint(path: Path, optimizer: MasterOptimizer) -> None:
    """Put masters, working weights and optimizer into the stored state, bit for bit."""
    weights = load_file(path / WEIGHTS)
    for name, master in optimizer.masters.items():
        master.copy_(weights[name])
    optimizer.publish()
    optimizer.load_state(load_file(path / OPTIMIZER))


def _contiguous(tensors: dict[str, torch.Tensor] | dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
