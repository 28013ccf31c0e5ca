"""The model on every rank (`parallel: ddp`): gradients are summed after a step's last micro-batch.

Every rank then makes the same update of the same weights, so they stay the same bit for bit; that is checked at the
start and at every checkpoint.
"""

from collections.abc import Mapping
from typing import Any

import torch

from engine.base.errors import AuditError, problem
from trainers.fsdp import is_sharded
from trainers.world import World

BUCKET_BYTES = 1 << 20
"""Small gradients are summed together up to here. Two processes with gloo, SmolLM2-135M, all weights and LoRA: 1.0 and
0.05 s; each by itself 1.0 and 0.4 s; together up to 64 MiB 1.4 and 0.05 s."""
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def sum_gradients(parameters: Mapping[str, torch.nn.Parameter], world: World) -> None:
    """Replace each gradient (fp32) by its sum over all ranks; a rank without one takes part with zeros.

    A parameter without a gradient on every rank keeps none. Sharded parameters are left alone: FSDP sums their
    gradients as it divides them.
    """
    own = [parameter for parameter in parameters.values() if not is_sharded(parameter)]
    if world.size == 1 or not own:
        return
    has = torch.tensor([parameter.grad is not None for parameter in own], dtype=torch.int32, device=world.device)
    gradients, under_way = [], []
    for parameter, ranks in zip(own, world.sum(has).tolist(), strict=True):
        if ranks:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    torch_utils: Any = torch._utils  # without types
    for bucket in torch_utils._take_tensors(gradients, BUCKET_BYTES):
        flat = torch_utils._flatten_dense_tensors(bucket)  # of one tensor it is the tensor
        under_way.append((bucket, flat, torch.distributed.all_reduce(flat, async_op=True)))
    for bucket, flat, work in under_way:
        work.wait()
        for gradient, summed in zip(bucket, torch_utils._unflatten_dense_tensors(flat, bucket), strict=True):
            gradient.copy_(summed)


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
