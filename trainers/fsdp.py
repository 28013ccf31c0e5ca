"""The model divided over the ranks (`parallel: fsdp`): FSDP2 of PyTorch, each block gathered while it is at work.

What is divided are the fp32 masters; a block is gathered in the type of the working weights, and gradients are summed
in fp32. FSDP2 averages over ranks unless told otherwise; a step's loss is divided by the labels of all ranks already
(pytorch/torchtitan#1803), so here it sums.

Outside of this module a divided parameter is a tensor like others, but for what is read or written whole: checkpoints
and final/, which are the same files for any number of ranks.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch

from trainers.blocks import blocks_of
from trainers.language_model import LanguageModel
from trainers.world import World

FORWARD = ("states", "library_logits")
"""What is called of a LanguageModel besides its forward pass."""


def shard(model: LanguageModel, world: World, dtype: torch.dtype) -> None:
    """Divide the parameters of `model` (fp32, the same on all ranks) over the ranks, in place, on their devices.

    `dtype`: what is computed in. The head, the embeddings and the last norm belong to no block: they are gathered once
    a step (`keep_gathered`).
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for block in blocks_of(model.causal)[1]:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    model.to(world.device)  # buffers
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # Else a factor of one is sent as a product before the sum, which gloo does not know.
            module.set_force_sum_reduction_for_comms(True)
    for method in FORWARD:
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


@torch.no_grad()
def unshard(model: LanguageModel, world: World) -> None:
    """Make a divided model an undivided one again, on the CPU of the main rank, to be saved; every rank calls it.

    On other ranks it is left without parameters, and cannot be run. Tied parameters stay tied. One that is not divided
    stays as it is.
    """
    let_go(model)
    made: dict[int, tuple[torch.Tensor, torch.nn.Parameter]] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is None or not is_sharded(parameter):
                continue
            if id(parameter) not in made:  # the divided one is kept, so its id stays its own
                full = whole(parameter).cpu() if world.is_main else whole(parameter).new_empty(0)
                made[id(parameter)] = parameter, torch.nn.Parameter(full, parameter.requires_grad)
            module._parameters[name] = made[id(parameter)][1]
    if made and world.is_main:
        _detach(model)
        model.cpu()  # buffers


def _detach(model: LanguageModel) -> None:
    """Take what FSDP hung on modules off again; torch has no function for it."""
    for method in FORWARD:
        model.__dict__.pop(method)
    for module in model.modules():
        if hasattr(module, "_get_fsdp_state"):
            divided = cast(Any, module)
            state, kind = divided._get_fsdp_state(), cast(Any, type(module))
            parameters = [one for group in state._fsdp_param_groups for one in group.fsdp_params]
            hooks = [state._pre_forward_hook_handle, state._post_forward_hook_handle]
            for hook in [*hooks, *(one._post_load_hook_handle for one in parameters)]:
                hook.remove()
            divided.__class__ = kind.__mro__[kind._orig_cls_mro_index]
