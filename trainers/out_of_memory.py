"""Out of memory on the way: what would fit instead of a trace of the allocator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.base.errors import ResourceError, problem
from trainers.recipe import TrainRecipe

CPU_ALLOCATOR = "can't allocate memory"


@contextmanager
def told_what_would_fit(recipe: TrainRecipe, rows_per_step: int, is_checkpointing: bool) -> Iterator[None]:
    """Turn an allocation that fails into a ResourceError with the smaller settings there are; checkpoints stand."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
        found = f"out of memory ({(str(error).splitlines() or ['MemoryError'])[0]})"
        fix = "; or ".join(what_would_fit(recipe, rows_per_step, is_checkpointing))
        needed = "memory for the activations of one micro-batch beside weights, gradients and optimizer"
        raise ResourceError(problem(recipe.name, found, needed, f"{fix}; and train under another --name")) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory could not be had, on a GPU or on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or CPU_ALLOCATOR in str(error)


def what_would_fit(recipe: TrainRecipe, rows_per_step: int, is_checkpointing: bool) -> list[str]:
    """Return settings that need less memory, what costs least first."""
    rows = min(recipe.micro_batch_rows or rows_per_step, rows_per_step)
    ways = [f"set micro_batch_rows: {rows // 2} (it is {rows})"] if rows > 1 else []
    if not is_checkpointing:
        ways.append("set gradient_checkpointing: true")
    if recipe.tuning.method == "full" and recipe.optimizer.kind == "adamw":
        ways.append("set optimizer.kind: adamw_8bit")
    if recipe.tuning.method in ("full", "lora"):
        ways.append("set tuning.method: qlora")
    return ways or ["use a mixture of shorter rows, a smaller base or a larger machine"]
