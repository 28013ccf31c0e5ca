"""The model on every rank (`parallel: ddp`): gradients are summed after a step's last micro-batch, in few large pieces.

Every rank then makes the same update of the same weights, so they stay the same bit for bit; that is checked at the
start and at every checkpoint.
"""

from collections.abc import Iterator, Mapping

import torch

from engine.base.errors import AuditError, problem
from trainers.fsdp import is_sharded
from trainers.world import World

BUCKET_NUMBERS = 1 << 24
"""Numbers summed over ranks at once (64 MiB in fp32)."""
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def sum_gradients(parameters: Mapping[str, torch.nn.Parameter], world: World) -> None:
    """Replace each gradient by its sum over all ranks, in fp32; a rank without one takes part with zeros.

    A parameter without a gradient on every rank keeps none. Sharded parameters are left alone: FSDP sums their
    gradients as it divides them.
    """
    own = [parameter for parameter in parameters.values() if not is_sharded(parameter)]
    if world.size == 1 or not own:
        return
    has = torch.tensor([parameter.grad is not None for parameter in own], dtype=torch.int32, device=world.device)
    for bucket in _buckets([p for p, ranks in zip(own, world.sum(has).tolist(), strict=True) if ranks]):
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in bucket])
        parts = torch.split(world.sum(flat.float()), [p.numel() for p in bucket])
        for parameter, part in zip(bucket, parts, strict=True):
            parameter.grad = part.view_as(parameter)


def _buckets(parameters: list[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    bucket: list[torch.nn.Parameter] = []
    for parameter in parameters:
        if bucket and sum(p.numel() for p in bucket) + parameter.numel() > BUCKET_NUMBERS:
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


@torch.no_grad()
def require_same_weights(tensors: Mapping[str, torch.Tensor], world: World, when: str) -> None:
    """Raise AuditError, on every rank, where a tensor has not the same bits on all; sharded ones have no copies.

    Compared are sums of the bits read as integers: any single change shows, and nothing leaves the device but a
    number for each tensor.
    """
    whole = {name: tensor for name, tensor in tensors.items() if not is_sharded(tensor)}
    if world.size == 1 or not whole:
        return
    # A sum of integers does not depend on its order, and wraps around where it is too large.
    sums = [
        t.detach().contiguous().flatten().view(_INTEGERS[t.element_size()]).sum(dtype=torch.int64)
        for t in whole.values()
    ]
    differing = world.differing(torch.stack(sums))
    if differing:
        found = f"{len(differing)} of {len(whole)} tensors are not the same on all ranks, {list(whole)[differing[0]]}"
        fix = "go on from the last checkpoint; should it happen again, a device or a library is at fault"
        raise AuditError(problem(f"weights {when}", f"{found} the first", "the same bits", fix))
