"""The processes of a run: one, or those torchrun started, each with the same recipe, schedule and seed.

A step is divided by rows (engine.formats.schedule.rank_rows). The loss of every rank is divided by the labels of the
whole step, so gradients are summed over ranks, never averaged. How processes meet and part: trainers.torchrun.
"""

from dataclasses import dataclass

import torch

from engine.base.errors import InputError, problem


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
        if self.size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def from_main(self, value: int) -> int:
        """Return the main rank's `value` on every rank."""
        return int(self.sum(torch.tensor(int(value) if self.is_main else 0, device=self.device)))

    def wait(self) -> None:
        """Return when every rank has come here."""
        self.from_main(0)

    def differing(self, values: torch.Tensor) -> list[int]:
        """Return the positions at which int64[N] `values` are not the same on all ranks; on every rank the same."""
        if self.size == 1:
            return []
        # Of ~x the largest belongs to the smallest x: one reduction gives both ends.
        ends = torch.stack([values, ~values]).to(self.device)
        torch.distributed.all_reduce(ends, op=torch.distributed.ReduceOp.MAX)
        return torch.nonzero(ends[0] != ~ends[1]).flatten().tolist()

    def require_same(self, place: object, **digests: str) -> None:
        """Raise InputError, on every rank, where ranks found other things; `digests` in hex, by what they are of."""
        values = [int.from_bytes(bytes.fromhex(digest)[:8], "little", signed=True) for digest in digests.values()]
        names = [list(digests)[i] for i in self.differing(torch.tensor(values))]
        if names:
            fix = "give all machines the same workspace, files and versions of the packages"
            raise InputError(problem(place, f"{', '.join(names)} not the same on all ranks", "one run", fix))
