"""Settings that need less memory, for a plan that does not fit and for a run that found none on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from engine.base.errors import ResourceError, problem
from trainers.recipe import TrainRecipe

CPU_ALLOCATOR = "can't allocate memory"


@contextmanager
def told_what_would_fit(recipe: TrainRecipe, rows: int, is_checkpointing: bool) -> Iterator[None]:
    """Turn an allocation that fails into a ResourceError with the smaller settings there are; checkpoints stand.

    rows: those of a step that this rank has.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
        found = f"out of memory ({(str(error).splitlines() or ['MemoryError'])[0]})"
        ways = [told(change) for change in smaller(recipe, rows, is_checkpointing) if changed(recipe, change)]
        fix = f"set {'; or '.join(ways)}" if ways else "use a mixture of shorter rows, a smaller base, a larger machine"
        needed = "memory for the activations of one micro-batch beside weights, gradients and optimizer"
        raise ResourceError(problem(recipe.name, found, needed, f"{fix}; and train under another --name")) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory could not be had, on a GPU or on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or CPU_ALLOCATOR in str(error)


def smaller(recipe: TrainRecipe, rows: int, is_checkpointing: bool) -> Iterator[dict[str, Any]]:
    """Yield changes of a recipe that need less memory, what changes least of the result first.

    Whether the recipe can be changed so is for `changed` to say. rows: those of a step that a rank has.
    """
    at_once = min(recipe.micro_batch_rows or rows, rows)
    if at_once > 3:
        yield {"micro_batch_rows": at_once // 2}
    if at_once > 1:
        yield {"micro_batch_rows": 1}
    if not is_checkpointing:
        yield {"gradient_checkpointing": True}
    if recipe.tuning.method == "full" and recipe.optimizer.kind == "adamw":
        yield {"optimizer": {"kind": "adamw_8bit"}}
    if recipe.tuning.method in ("full", "lora"):
        yield {"tuning": {"method": "qlora"}}


def changed(recipe: TrainRecipe, change: dict[str, Any]) -> TrainRecipe | None:
    """Return the recipe with a change, sections merged key by key; None where no recipe can be so."""
    content = recipe.model_dump()
    for key, value in change.items():
        content[key] = content[key] | value if isinstance(value, dict) else value
    try:
        return TrainRecipe.model_validate(content)
    except ValueError:
        return None


def told(change: dict[str, Any]) -> str:
    """Return a change as it is written in a recipe."""
    said = {key: f"{{{told(value)}}}" if isinstance(value, dict) else value for key, value in change.items()}
    return ", ".join(
        f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in said.items()
    )
