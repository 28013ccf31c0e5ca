"""The model divided over the ranks (`parallel: fsdp`): FSDP2 of PyTorch, each block gathered while it is at work.

What is divided are the fp32 masters; a block is gathered in the type of the working weights, and gradients are summed
in fp32. FSDP2 averages over ranks unless told otherwise; a step's loss is divided by the labels of all ranks already
(pytorch/torchtitan#1803), so here it sums.

Outside of this module a divided parameter is a tensor like others, but for what is read or written whole: checkpoints
and final/, which are the same files for any number of ranks.
"""

import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch

from trainers.blocks import blocks_of
from trainers.language_model import LanguageModel
from trainers.world import World


def divided_type(dtype: torch.dtype) -> torch.dtype:
    """Return what a divided model computes in where an undivided one takes `dtype`: fp16 would need scaled losses."""
    return torch.float32 if dtype == torch.float16 else dtype


def shard(model: LanguageModel, world: World, dtype: torch.dtype) -> None:
    """Divide the parameters of `model` (fp32, the same on all ranks) over the ranks, in place, on their devices.

    `dtype`: what is computed in (`divided_type`). The head, the embeddings and the last norm belong to no block: they
    are gathered once a step (`keep_gathered`).
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    # Of `states`, which nobody changes in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning)
    mesh = init_device_mesh(world.device.type, (world.size,))
    policy = MixedPrecisionPolicy(param_dtype=divided_type(dtype), reduce_dtype=torch.float32)
    for block in blocks_of(model.causal)[1]:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    model.to(world.device)  # buffers
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # Else a factor of one is sent as a product before the sum, which gloo does not know.
            module.set_force_sum_reduction_for_comms(True)
    for method in ("states", "library_logits"):  # what is called besides the forward pass
        register_fsdp_forward_method(model, method)


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether this rank holds only a part of the tensor (a DTensor)."""
    return hasattr(tensor, "placements")


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """Return what this rank holds of a tensor: all of it where it is not divided."""
    return cast(Any, tensor).to_local() if is_sharded(tensor) else tensor


def keep_gathered(model: torch.nn.Module, keep: bool) -> None:
    """Say before a backward pass whether head and embeddings stay gathered after it, for another micro-batch."""
    if hasattr(model, "set_reshard_after_backward"):
        cast(Any, model).set_reshard_after_backward(not keep, recurse=False)


def let_go(model: torch.nn.Module) -> None:
    """Give back what a forward pass without a backward pass left gathered: it would not follow the masters."""
    if hasattr(model, "reshard"):
        cast(Any, model).reshard()


@torch.no_grad()
def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor gathered from all ranks; every rank has to call it."""
    if not is_sharded(tensor):
        return tensor.detach()
    full: torch.Tensor = cast(Any, tensor.detach()).full_tensor()
    return full


def gathered(tensors: Mapping[str, torch.Tensor], world: World) -> dict[str, torch.Tensor]:
    """Return whole tensors, those that were divided on the CPU, on the main rank; nothing on the others.

    Every rank has to call it. One tensor after the other, so no device ever holds more than one of them.
    """
    found = {}
    for name, tensor in tensors.items():
        full = whole(tensor)
        if world.is_main:
            found[name] = full.cpu() if is_sharded(tensor) else full
    return found


def divided_like(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return this rank's part of a whole tensor where `like` is divided and of its shape; else the tensor itself."""
    value = value.to(like.device)
    if not is_sharded(like) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return distribute_tensor(value, mesh, placements, src_data_rank=None)
