"""Negative log-likelihood of chosen tokens, without ever holding the logits of a whole batch.

The head is applied only where a label is, a chunk at a time. The gradient of the sum is made in the same pass as the
value, chunk by chunk, so nothing is computed twice: three matrix products with the head instead of the four of
checkpointed chunks (the way of Liger-Kernel's fused linear cross-entropy, in plain PyTorch). Sums are fp32.

Shapes: L labels, H width of the model, V vocabulary.
"""

from typing import Any

import torch

CHUNK_LOGITS = 1 << 23
"""Logits held at once (32 MiB in fp32). SmolLM2-135M on one core, 700 labels in fp32: 1.07 s; with half as many logits
1.33 s, with all at once 0.96 s."""
MIN_CHUNK_TOKENS = 64


def chunked_nats(
    states: torch.Tensor, weight: torch.Tensor, predictors: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of -log p(label) in fp32 and its L summands.

    `states` [N, H], `weight` [V, H] of the head, `predictors` int64[L] (positions in `states`, each at most once),
    `labels` int64[L]. Only the sum has a gradient.
    """
    if not torch.is_grad_enabled():
        # A Function is not told so: it would make the gradient of a head that is trained, and throw it away.
        states, weight = states.detach(), weight.detach()
    total, nats = _ChunkedNats.apply(states, weight, predictors, labels)  # type: ignore[no-untyped-call]
    return total, nats


class _ChunkedNats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, weight: torch.Tensor, predictors: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wants_states, wants_weight = ctx.needs_input_grad[:2]
        states_grad = torch.zeros_like(states) if wants_states else None
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        nats = torch.empty(len(labels), dtype=torch.float32, device=states.device)
        size = max(MIN_CHUNK_TOKENS, CHUNK_LOGITS // weight.shape[0])
        for start in range(0, len(labels), size):
            chunk, wanted = predictors[start : start + size], labels[start : start + size, None]
            inputs = states.index_select(0, chunk)
            logits = (inputs @ weight.t()).float()
            log_sum = logits.logsumexp(1, keepdim=True)
            nats[start : start + size] = (log_sum - logits.gather(1, wanted)).squeeze(1)
            if not (wants_states or wants_weight):
                continue
            # d(-log p)/d(logits) = softmax - one-hot, in place of the logits.
            grad = logits.sub_(log_sum).exp_()
            grad.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=grad.dtype))
            rounded = grad.to(weight.dtype)
            if states_grad is not None:
                states_grad.index_copy_(0, chunk, rounded @ weight)
            if weight_grad is not None and weight.dtype == torch.bfloat16:
                weight_grad += rounded.t() @ inputs
            elif weight_grad is not None:
                # In fp32 for fp16 too, which does not hold the sum over the labels of a chunk where states are large.
                weight_grad.addmm_(grad.t(), inputs.float())
        ctx.save_for_backward(states_grad, weight_grad)
        ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(nats)
        return nats.sum(), nats

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        states_grad, weight_grad = ctx.saved_tensors
        scale = grads[0]
        return (
            # Scaled in fp32: bf16 holds one over a number of labels to 0.4 % only, and fp16 no scale of 65,536.
            None if states_grad is None else (states_grad.float() * scale).to(states_grad.dtype),
            None if weight_grad is None else weight_grad.mul_(scale).to(ctx.weight_dtype),
            None,
            None,
        )
