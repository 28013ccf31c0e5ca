"""Attention over packed documents: each document of a flattened batch attends to itself alone, by where it begins.

transformers' own sdpa path makes a dense mask over the whole row from position_ids, and only as long as neither a mask
nor a cache is given. Here no mask exists that could be lost: the attention of each document is computed by itself.

    CUDA, 2 bytes a number    torch.nn.attention.varlen (flash attention over cu_seqlens), all documents at once
    else, up to PLAIN_TOKENS  matrix products and a softmax, a document at a time
    else                      scaled_dot_product_attention, causal, a document at a time

Shapes: N tokens of all documents, Q query heads, K key heads, D width of a head.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import torch

DOCUMENTS = "provender_documents"
"""What the attention is called among those of transformers."""
PLAIN_TOKENS = 512
"""Attention of one layer of SmolLM2-135M in bf16, forward and backward, on a CPU with AMX: milliseconds of one core for
2,048 tokens, plain products against scaled_dot_product_attention, in documents of 64 tokens 36 and 107, of 292 88 and
140, of 512 141 and 198, of 1,024 264 and 245."""
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""Of the largest state, by its type: a base in 4 bits computes in bf16 where the hardware is fast at it."""
KINDS = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Documents:
    """Where the documents of a flattened batch are."""

    lengths: list[int]
    """Tokens of each, in their order."""
    starts: torch.Tensor | None
    """Where each begins and the last ends, int32, on a CUDA device; None elsewhere."""

    @classmethod
    def at(cls, edges: list[int], device: torch.device) -> "Documents":
        """Return the documents between `edges`: the start of each, and the end of the last."""
        starts = torch.tensor(edges, dtype=torch.int32, device=device) if device.type == "cuda" else None
        return cls([stop - start for start, stop in pairwise(edges)], starts)


def has_such_attention(config: Any, row_tokens: int) -> bool:
    """Whether a model's configuration speaks of no window or chunk shorter than a row, and of no other layers."""
    spans = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    is_short = any(span is not None and span < row_tokens for span in spans)
    return not is_short and set(getattr(config, "layer_types", None) or KINDS) <= KINDS


@torch.no_grad()
def attend_by_document(causal: Any, row_tokens: int) -> bool:
    """Let a transformers model attend document by document; return False where it cannot, and stays as it is.

    It cannot where rows are longer than a window or chunk of its attention, where its layers are of other kinds, or
    where two documents in one row do not get the states they have alone (largest difference TOLERANCE of the
    largest state): its attention does more than this one.
    """
    from transformers import AttentionInterface

    config = causal.config
    if not has_such_attention(config, row_tokens):
        return False
    AttentionInterface.register(DOCUMENTS, attend)
    before, was_training = config._attn_implementation, causal.training
    causal.eval()
    can = _gives_the_same(causal)
    causal.train(was_training)
    if not can:
        causal.set_attn_implementation(before)
    return can


def _gives_the_same(causal: Any) -> bool:
    """Set DOCUMENTS, and return whether two documents in one row have the states they have without it, each alone."""
    vocabulary = causal.get_input_embeddings().weight.shape[0]
    first, second = (torch.arange(*span, device=causal.device)[None] % vocabulary for span in ((0, 7), (11, 20)))
    alone = torch.cat([_states(causal, one) for one in (first, second)], dim=1)
    causal.set_attn_implementation(DOCUMENTS)
    if causal.config._attn_implementation != DOCUMENTS:
        return False
    try:
        packed = _states(causal, first, second)
    except (TypeError, NotImplementedError):  # a body that takes no further arguments, an attention that needs more
        return False
    return float((packed - alone).abs().max()) <= TOLERANCE[alone.dtype] * float(alone.abs().max())


def _states(causal: Any, *documents: torch.Tensor) -> torch.Tensor:
    ids, lengths = torch.cat(documents, dim=1), [one.shape[1] for one in documents]
    positions = torch.cat([torch.arange(length, device=ids.device) for length in lengths])[None]
    given = {"documents": Documents.at([0, *accumulate(lengths)], ids.device)} if len(documents) > 1 else {}
    states: torch.Tensor = causal.base_model(
        input_ids=ids, position_ids=positions, use_cache=False, **given
    ).last_hidden_state
    return states


def attend(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    documents: Documents | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Return ([1, N, Q, D], None) of query [1, Q, N, D], key and value [1, K, N, D]; what transformers calls."""
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if others.get(name) is not None]
    unknown += ["a mask"] * (attention_mask is not None) + ["a cache"] * (query.shape[2] != key.shape[2])
    if unknown:
        raise NotImplementedError(f"attention with {', '.join(unknown)}")
    if documents is None:  # whole rows: a caller that knows of no documents
        return _sdpa(query, key, value, dropout, scaling).transpose(1, 2).contiguous(), None
    if query.is_cuda and query.dtype in {torch.float16, torch.bfloat16} and not dropout:
        return _varlen(query, key, value, scaling, documents), None
    # Not slices: the gradient of each would be as large as the whole batch.
    pieces = (torch.split(part, documents.lengths, dim=2) for part in (query, key, value))
    is_plain = not query.is_cuda and not dropout
    attended = [
        plain(q, k, v, scaling)
        if is_plain and q.shape[2] <= PLAIN_TOKENS
        else by_key_head(_sdpa(q, k, v, dropout, scaling), k)
        for q, k, v in zip(*pieces, strict=True)
    ]
    return torch.cat(attended).flatten(1, 2)[None], None


def _sdpa(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float, scaling: float | None
) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        dropout_p=dropout,
        scale=scaling,
        is_causal=query.shape[2] > 1,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def by_key_head(attended: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return [N, K, Q / K, D] of [1, Q, N, D], a view."""
    return attended[0].transpose(0, 1).reshape(attended.shape[2], key.shape[1], -1, attended.shape[3])


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None) -> torch.Tensor:
    """Return [N, K, Q / K, D] of one document, by matrix products and a softmax."""
    key_heads, length, width = key.shape[1:]
    group = query.shape[1] // key_heads
    queries = query.view(key_heads, group, length, width).transpose(1, 2).reshape(key_heads, length * group, width)
    bias = _causal_bias(1 << (length - 1).bit_length(), group, query.dtype, query.device)[: length * group, :length]
    scores = torch.baddbmm(bias, queries, key[0].transpose(1, 2), alpha=scaling or width**-0.5)
    return torch.bmm(scores.softmax(-1), value[0]).view(key_heads, length, group, -1).transpose(0, 1)


@lru_cache(maxsize=32)  # lengths up to the next power of two: few, and together less than twice the largest
def _causal_bias(tokens: int, group: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return [tokens * group, tokens], of which the upper left is that of a shorter document."""
    later = torch.ones(tokens, tokens, dtype=torch.bool, device=device).triu(1).repeat_interleave(group, 0)
    return torch.zeros(later.shape, dtype=dtype, device=device).masked_fill_(later, float("-inf"))


def _varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, documents: Documents
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    assert documents.starts is not None
    queries, keys, values = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
    longest = max(documents.lengths)
    out = varlen_attn(
        queries,
        keys,
        values,
        documents.starts,
        documents.starts,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(out, torch.Tensor)
    return out[None]
