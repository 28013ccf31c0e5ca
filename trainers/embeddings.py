"""Embeddings whose gradient is summed in fp32 where they are of two bytes.

On a CPU torch adds the gradients of a token's places one by one in the type of the weights: in bf16 the sum of 3,000
ones is 256, so rows of frequent tokens move too little, without a word. On CUDA torch sums in fp32 itself.
"""

from functools import partial
from typing import Any

import torch


def sum_in_fp32(causal: torch.nn.Module) -> None:
    """Let all plain embeddings of a model sum so, in place; those that do more than look up stay as they are."""
    for module in causal.modules():
        if type(module) is torch.nn.Embedding:
            module.forward = partial(_look_up, module)  # type: ignore[method-assign]


def _look_up(module: torch.nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
    weight = module.weight
    if weight.device.type != "cpu" or weight.dtype.itemsize > 2:
        return torch.nn.functional.embedding(ids, weight)
    rows: torch.Tensor = _LookUp.apply(weight, ids)  # type: ignore[no-untyped-call]
    return rows


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(ids)
        ctx.like = weight.new_empty(0), weight.shape
        return torch.nn.functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (ids,), (like, shape), grad = ctx.saved_tensors, ctx.like, grads[0].flatten(0, -2)
        seen, places = ids.flatten().unique(return_inverse=True)
        sums = torch.zeros(len(seen), grad.shape[1]).index_add_(0, places, grad.float())
        return like.new_zeros(shape).index_copy_(0, seen, sums.to(like.dtype)), None
