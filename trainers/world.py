"""The processes of a run: one, or those torchrun started, each with the same recipe, schedule and seed.

A step is divided by rows (engine.formats.schedule.rank_rows). The loss of every rank is divided by the labels of the
whole step, so gradients are summed over ranks, never averaged.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class World:
    """Who takes part, and who this process is."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum over all ranks, on every rank; `tensor` may be overwritten."""
        assert self.size == 1, "one process"
        return tensor
