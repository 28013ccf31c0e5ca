"""What the backward pass of a micro-batch keeps, counted on a model without data.

The body runs once on the meta device, where tensors have shapes and no memory; what autograd saves is counted, each
storage once, the model's own tensors never. So adapters, frozen blocks and any architecture count as they are. Only
attention is stood in for: the kernels of CUDA have no such shapes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from trainers.attention import PLAIN_TOKENS
from trainers.blocks import blocks_of

COUNTED = "provender_counted"
"""What the stand-in is called among the attentions of transformers."""
NUMBERS_PER_TOKEN = 17
"""Kept per token and unit of width in a block where it cannot be counted: the 34 bytes in two-byte numbers of
Korthikanti et al. 2022 (arXiv:2205.05198, section 4.1), without what attention keeps of its scores."""


@dataclass
class Activations:
    """Bytes that the backward pass of one micro-batch needs."""

    outside: int = 0
    """Kept outside of the blocks."""
    blocks: list[int] = field(default_factory=list)
    """Kept by each block."""
    inputs: int = 0
    """The states between two blocks."""
    largest: int = 0
    """The largest tensor that is kept."""
    is_counted: bool = True
    """Whether a run without data counted them; else by NUMBERS_PER_TOKEN."""

    def kept(self, computes_twice: bool) -> int:
        """Return what is kept until the backward pass begins, and where blocks run twice, what one of them adds."""
        if not computes_twice:
            return self.outside + sum(self.blocks)
        return self.outside + len(self.blocks) * self.inputs + max(self.blocks, default=0)


class _Kept(torch.autograd.Function):
    """Attention that keeps what a flash kernel does: query, key, value and the states that come out."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, out)
        return out


def _keep(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = _Kept.apply(query, key, value)  # type: ignore[no-untyped-call]
    return out


def count_activations(causal: Any, edges: Sequence[int], dtype: torch.dtype, is_cuda: bool) -> Activations:
    """Return what a micro-batch of the documents between `edges` keeps; `causal` is on the meta device.

    dtype: of the working weights; `causal` is of that type afterwards. is_cuda: attention is that of CUDA.
    """
    found, number = Activations(), edges[-1]
    _, blocks = blocks_of(causal)
    width = int(causal.get_input_embeddings().weight.shape[1])
    found.inputs = number * width * dtype.itemsize
    for parameter in causal.parameters():
        parameter.data = parameter.data.to(dtype)
    try:
        _run(causal, blocks, list(edges), is_cuda, found)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError):  # what only runs with data
        found.is_counted, found.largest = False, 4 * found.inputs
        found.outside, found.blocks = found.inputs, [NUMBERS_PER_TOKEN * found.inputs] * len(blocks)
    return found


def _run(causal: Any, blocks: torch.nn.ModuleList, edges: list[int], is_cuda: bool, found: Activations) -> None:
    from transformers import AttentionInterface

    lengths = [stop - start for start, stop in pairwise(edges)]

    def attention(_module: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> tuple[torch.Tensor, None]:
        pieces = zip(*(torch.split(part, lengths, dim=2) for part in (query, key, value)), strict=True)
        done = [_keep(query, key, value)] if is_cuda else [_attend(*piece) for piece in pieces]
        return torch.cat(done, dim=2).transpose(1, 2).contiguous(), None

    AttentionInterface.register(COUNTED, attention)
    before = causal.config._attn_implementation
    causal.set_attn_implementation(COUNTED)
    ids = torch.zeros(1, edges[-1], dtype=torch.int64, device="meta")
    positions = torch.cat([torch.arange(length, device="meta") for length in lengths])[None]
    own = {tensor.untyped_storage()._cdata for tensor in [*causal.parameters(), *causal.buffers()]}
    seen: dict[int, torch.Tensor] = {}
    found.blocks = [0] * len(blocks)
    with _watched(blocks) as inside:

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own and storage._cdata not in seen:
                seen[storage._cdata] = tensor  # held, so that no other tensor gets its number
                size = storage.nbytes()
                found.largest = max(found.largest, size)
                if inside:
                    found.blocks[inside[-1]] += size
                else:
                    found.outside += size
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            causal.base_model(input_ids=ids, position_ids=positions, use_cache=False)
    causal.set_attn_implementation(before)


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Keep what trainers.attention does on a CPU: the scores of short documents, and of long ones the states."""
    _, heads, length, width = query.shape
    if length > PLAIN_TOKENS:
        return _keep(query, key, value)
    group = heads // key.shape[1]
    scores = torch.bmm(query.reshape(key.shape[1], group * length, width), key[0].transpose(1, 2))
    return torch.bmm(scores.softmax(-1), value[0]).view(1, heads, length, value.shape[-1])


@contextmanager
def _watched(blocks: torch.nn.ModuleList) -> Iterator[list[int]]:
    """Yield a list that holds the number of the block that runs, and nothing between blocks."""
    inside: list[int] = []
    handles = []
    for number, block in enumerate(blocks):
        handles.append(block.register_forward_pre_hook(lambda *_, n=number: inside.append(n)))
        handles.append(block.register_forward_hook(lambda *_: inside.clear()))
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()
