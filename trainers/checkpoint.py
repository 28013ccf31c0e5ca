"""Checkpoints: everything a run needs to go on, whole or not there.

checkpoints/step-000020/
    weights.safetensors     masters of the trained parameters, fp32
    optimizer.safetensors   AdamW's moments and step counts
    state.json              step, whose checkpoint it is (recipe, mixture, base), loss scale of fp16

The order of the data needs no state: the step number is the position in the schedule. Neither does the random state:
generators are seeded from (seed, step, micro-batch).
"""

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from engine.base.atomic import TEMPORARY_PREFIX, atomic_folder, read_json, write_json
from engine.base.errors import AuditError, InputError, ResourceError, problem
from trainers.fsdp import divided_like, gathered, local_part
from trainers.optim import LossScale, MasterOptimizer
from trainers.record import differences
from trainers.world import World

WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
FRESH = "delete the folder to go on from the checkpoint before it, or train under another --name"


def save_checkpoint(
    folder: Path,
    step: int,
    optimizer: MasterOptimizer,
    keep: int,
    identity: Mapping[str, Any] | None = None,
    world: World | None = None,
) -> None:
    """Write the state after `step` steps under `folder`, then remove all but the newest `keep`; every rank calls it.

    What is divided over ranks is written whole, so any number of ranks goes on from it.
    identity: what the run is (trainers.job.Job.identity); no other run may go on from here. Raises ResourceError where
    the disk does not take it; the checkpoints before stand then.
    """
    world = world or World(torch.device("cpu"))
    weights, state = gathered(optimizer.masters, world), gathered(optimizer.state(), world)
    if not world.is_main:
        return
    scale = None if optimizer.loss_scale is None else asdict(optimizer.loss_scale)
    with atomic_folder(folder / f"step-{step:06d}") as temporary:
        _save(weights, temporary / WEIGHTS)
        _save(state, temporary / OPTIMIZER)
        write_json(temporary / STATE, {"step": step, "run": identity, "loss_scale": scale})
    for _, path in checkpoints(folder)[:-keep]:
        # Renamed first: what is half deleted must not look like a checkpoint.
        shutil.rmtree(path.rename(path.with_name(f"{TEMPORARY_PREFIX}{path.name}")))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left of checkpoints; nobody else may be at work on the run."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
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
def load_checkpoint(path: Path, optimizer: MasterOptimizer, identity: Mapping[str, Any] | None = None) -> None:
    """Put masters, working weights, optimizer and loss scale into the stored state, bit for bit.

    Raises InputError that says what differs where it is the checkpoint of another recipe, mixture or base, or of other
    parameters, and where a file is damaged.
    """
    state = read_json(path / STATE)
    if identity is not None and (unlike := differences(state["run"], dict(identity))):
        found = f"the checkpoint is that of another run: {'; '.join(unlike)}"
        raise InputError(problem(path, found, "the same recipe, mixture and base", FRESH))
    try:
        weights = load_file(path / WEIGHTS)
        moments = load_file(path / OPTIMIZER)
    except (OSError, SafetensorError) as error:
        raise InputError(problem(path, f"cannot be read ({error})", "a whole checkpoint", FRESH)) from error
    _require_same_shapes(path, {name: tensor.shape for name, tensor in weights.items()}, optimizer)
    for name, master in optimizer.masters.items():
        master.copy_(divided_like(weights[name], master))
    optimizer.publish()
    optimizer.load_state(moments)
    if state["loss_scale"] is not None:
        optimizer.loss_scale = LossScale(**state["loss_scale"])


def prove_reload(folder: Path, optimizer: MasterOptimizer) -> bool:
    """Write the optimizer's state to a file, read it back into fresh optimizers, and compare; False: there is none yet.

    A parameter at a time, so that it takes little memory; of what is divided over ranks, this rank's part. Raises
    AuditError where anything differs: a run whose state does not survive would go wrong, without a word, hours later.
    """
    state = {key: local_part(tensor) for key, tensor in optimizer.state().items()}
    if not state:
        return False
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder) as scratch:
        file = Path(scratch) / OPTIMIZER
        _save(state, file)
        with safe_open(file, framework="pt") as stored:
            for name in optimizer.masters:
                keys = [key for key in state if key.rpartition("/")[0] == name]
                fresh = optimizer.alone(name)
                fresh.load_state({key: stored.get_tensor(key) for key in keys})
                found = fresh.state()
                if broken := [key for key in keys if not _is_same(found.get(key), state[key])]:
                    wrong = f"{len(broken)} tensors of {optimizer.config.kind} differ after a reload, {broken[0]} first"
                    fix = "choose another optimizer.kind, or other versions of torch and bitsandbytes"
                    raise AuditError(problem(folder, wrong, "a state that can be saved", fix))
    return True


def _is_same(found: torch.Tensor | None, wanted: torch.Tensor) -> bool:
    return found is not None and found.dtype == wanted.dtype and torch.equal(found.to(wanted.device), wanted)


def _require_same_shapes(path: Path, stored: Mapping[str, torch.Size], optimizer: MasterOptimizer) -> None:
    wanted = {name: master.shape for name, master in optimizer.masters.items()}
    names = sorted(name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name))
    if names:
        there, here = (list(shapes[names[0]]) if names[0] in shapes else "none" for shapes in (stored, wanted))
        found = f"{len(names)} of its parameters are others, {names[0]} the first: {there} there, {here} here"
        raise InputError(problem(path, found, f"the {len(wanted)} that are trained here", FRESH))


def _save(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    except (OSError, SafetensorError) as error:
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        free = shutil.disk_usage(path.parent).free
        found = f"a file of {size / 1e6:,.1f} MB cannot be written ({error}); {free / 1e6:,.1f} MB are free"
        fix = "free some space, or lower checkpoints.keep, and start the run again: it goes on"
        raise ResourceError(
            problem(path.parent.parent, found, "disk for one checkpoint more than are kept", fix)
        ) from error
