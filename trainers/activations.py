"""What the backward pass of a micro-batch keeps, counted on a model without data.

The body runs once on the meta device, where tensors have shapes and no memory; what autograd saves is counted, each
storage once, the model's own tensors never. So adapters, frozen blocks and any architecture count as they are. Only
attention is stood in for: the kernels of CUDA have no such shapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from trainers import attention
from trainers.blocks import blocks_of

COUNTED = "provender_counted"
"""What the stand-in is called among the attentions of transformers."""


@dataclass(frozen=True)
class Activations:
    """Bytes that the backward pass of one micro-batch needs."""

    outside: int
    """Kept outside of the blocks."""
    blocks: list[int]
    """Kept by each block."""
    inputs: int
    """The states between two blocks."""
    largest: int
    """The largest tensor that is kept."""
    is_counted: bool = True
    """Whether they could be counted; else the numbers are zero, and all there is comes on top."""

    def kept(self, computes_twice: bool) -> int:
        """Return what is kept until the backward pass begins, and where blocks run twice, what one of them adds."""
        if not computes_twice:
            return self.outside + sum(self.blocks)
        return self.outside + len(self.blocks) * self.inputs + max(self.blocks, default=0)


def count_activations(causal: Any, edges: Sequence[int], dtype: torch.dtype, is_cuda: bool) -> Activations:
    """Return what a micro-batch of the documents between `edges` keeps.

    causal: on the meta device; afterwards it is of `dtype`, that of the working weights, and good for its shapes only.
    is_cuda: attention is that of CUDA.
    """
    blocks = blocks_of(causal)[1]
    inputs = edges[-1] * int(causal.get_input_embeddings().weight.shape[1]) * dtype.itemsize
    # Experts are products in groups, which have shapes without data in bf16 only: those of fp32 keep twice as much.
    for counted in dict.fromkeys([dtype, torch.bfloat16]):
        for parameter in causal.parameters():
            parameter.data = parameter.data.to(counted)
        try:
            sizes, largest = _run(causal, blocks, edges, is_cuda)
        except RuntimeError:  # it runs with data only
            continue
        share = dtype.itemsize // counted.itemsize
        outside, *kept = (share * size for size in sizes)
        return Activations(outside, kept, inputs, share * largest)
    return Activations(0, [0] * len(blocks), 0, 0, is_counted=False)


def _run(causal: Any, blocks: torch.nn.ModuleList, edges: Sequence[int], is_cuda: bool) -> tuple[list[int], int]:
    """Run the body; return what it keeps, outside of the blocks and by block, and the largest tensor of all."""
    from transformers import AttentionInterface

    sizes, inside, found = [0] * (1 + len(blocks)), [0], [0]
    lengths = [stop - start for start, stop in pairwise(edges)]

    def attend(_module: Any, *states: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
        if is_cuda:
            return _kernel(*states[:3]).transpose(1, 2), None
        pieces = zip(*(torch.split(part, lengths, dim=2) for part in states[:3]), strict=True)
        return torch.cat([_attend(*piece) for piece in pieces]).flatten(1, 2)[None], None

    AttentionInterface.register(COUNTED, attend)
    causal.set_attn_implementation(COUNTED)
    for number, block in enumerate(blocks, 1):
        block.register_forward_pre_hook(lambda *_, number=number: inside.append(number))
        block.register_forward_hook(lambda *_: inside.append(0))
    # Held, so that no other tensor gets the number of one of these.
    seen = {one.untyped_storage()._cdata: one for one in [*causal.parameters(), *causal.buffers()]}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen[storage._cdata] = tensor
            found.append(storage.nbytes())
            sizes[inside[-1]] += storage.nbytes()
        return tensor

    ids = torch.zeros(1, edges[-1], dtype=torch.int64, device="meta")
    positions = torch.cat([torch.arange(length, device="meta") for length in lengths])[None]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        causal.base_model(input_ids=ids, position_ids=positions, use_cache=False)
    return sizes, max(found)


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    if query.shape[2] <= attention.PLAIN_TOKENS:
        return attention.plain(query, key, value, None)
    return attention.by_key_head(_kernel(query, key, value), key)


class _Kernel(torch.autograd.Function):
    """Attention that keeps what a flash kernel does: query, key, value and the states that come out."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out = query.new_empty(1, query.shape[2], query.shape[1], value.shape[-1]).transpose(1, 2)
        ctx.save_for_backward(query, key, value, out)
        return out


def _kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = _Kernel.apply(query, key, value)  # type: ignore[no-untyped-call]
    return out
