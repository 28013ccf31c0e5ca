"""How the processes of torchrun meet at the start of a run, and how they part: together, with one message.

    torchrun --nproc-per-node 2 --no-python provender train train.yaml

torchrun says to each process who it is (RANK, LOCAL_RANK, WORLD_SIZE and where to meet) and ends all when one fails.
"""

import atexit
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from torch.distributed.rendezvous import rendezvous

from engine.base.errors import RecipeError, ResourceError, problem
from trainers.model import choose_device
from trainers.world import World

WANTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TIMEOUT = timedelta(minutes=30)
"""Longest wait for another rank: main saves the model of a run while the others wait."""
GRACE_SECONDS = 2.0
"""How long a failing rank lets the main one tell why, where that fails too."""
EXIT_BUG, EXIT_INTERRUPTED = 3, 130


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes torchrun started; a process that it did not start is a world of its own.

    Ranks other than the main one are silent: nothing of theirs reaches stdout from here on, nor stderr inside. Where
    the block fails on any rank it ends on all: one of them raises its error, the others SystemExit without a word.
    Raises RecipeError where a rank has no device.
    """
    if not all(name in os.environ for name in WANTED) or int(os.environ["WORLD_SIZE"]) == 1:
        yield World(choose_device())
        return
    world, store = _join()
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(sys.stderr if world.is_main else nowhere):  # noqa: PTH123
            yield world
    except BaseException as error:
        atexit.unregister(_leave)  # it would wait for those that failed
        if not _is_speaker(store, world):
            time.sleep(GRACE_SECONDS)  # torchrun ends all with the first: let that one finish its sentence
            raise SystemExit(_exit_code(error)) from None
        if _is_of_another(error):
            found = f"another process of the run ended ({str(error).splitlines()[0]})"
            fix = "see what it or the system said; the same command goes on from the last checkpoint"
            raise ResourceError(problem("torchrun", found, fix=fix)) from error
        raise
    if not world.is_main:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for the rest of the process


@cache
def _join() -> tuple[World, Any]:
    """Meet the others, once in the life of a process; return the world and the store that outlives the group."""
    rank, local, size = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            found = f"more processes than the {torch.cuda.device_count()} CUDA devices of this machine"
            raise RecipeError(problem("torchrun --nproc-per-node", found, "a device each"))
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    store = next(iter(rendezvous("env://", timeout=TIMEOUT)))[0]
    is_cuda = device.type == "cuda"
    torch.distributed.init_process_group(
        "nccl" if is_cuda else "gloo",
        timeout=TIMEOUT,
        store=store,
        rank=rank,
        world_size=size,
        device_id=device if is_cuda else None,
    )
    atexit.register(_leave)
    return World(device, rank, size), store


def _leave() -> None:
    torch.distributed.destroy_process_group()


def _is_speaker(store: Any, world: World) -> bool:
    """Whether this failing rank is the one that says why: the main one where it fails by itself, else the first."""
    try:
        until = time.monotonic() + (0.0 if world.is_main else GRACE_SECONDS)
        while time.monotonic() < until and not store.check(["speaker"]):
            time.sleep(0.05)
        return bool(store.add("speaker", 1) == 1)
    except (RuntimeError, KeyboardInterrupt):  # the store went with the process that held it
        return world.is_main


def _is_of_another(error: BaseException) -> bool:
    """Whether a collective failed because a rank is gone."""
    marks = ("gloo", "NCCL", "onnection closed", "onnection reset")
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in marks)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return int(getattr(error, "exit_code", EXIT_BUG))
