from typing import Any

import pytest
import torch

import trainers.losses
from trainers.losses import chunked_nats


@pytest.mark.parametrize("chunk_tokens", [1, 7, 1000])
@pytest.mark.parametrize("freeze", ["nothing", "head", "states"])
def test_value_and_gradients_are_those_of_torch(
    monkeypatch: pytest.MonkeyPatch, chunk_tokens: int, freeze: str
) -> None:
    monkeypatch.setattr(trainers.losses, "CHUNK_LOGITS", 1)
    monkeypatch.setattr(trainers.losses, "MIN_CHUNK_TOKENS", chunk_tokens)
    torch.manual_seed(0)
    states = torch.randn(30, 8, dtype=torch.float32, requires_grad=freeze != "states")
    weight = torch.randn(50, 8, requires_grad=freeze != "head")
    predictors = torch.arange(0, 30, 2)
    labels = torch.randint(0, 50, (15,))

    expected = torch.nn.functional.cross_entropy(states[predictors] @ weight.t(), labels, reduction="none")
    wanted = [tensor for tensor in (states, weight) if tensor.requires_grad]
    expected_grads = torch.autograd.grad(3 * expected.sum(), wanted)
    total, nats = chunked_nats(states, weight, predictors, labels)
    grads = torch.autograd.grad(3 * total, wanted)

    torch.testing.assert_close(nats, expected)
    torch.testing.assert_close(total, expected.sum())
    for found, grad in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(found, grad)


def test_logits_of_the_whole_batch_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, original = [], torch.Tensor.logsumexp

    def logsumexp(logits: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        sizes.append(logits.numel())
        return original(logits, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "logsumexp", logsumexp)
    monkeypatch.setattr(trainers.losses, "CHUNK_LOGITS", 100 * 500)
    states = torch.randn(1000, 4, requires_grad=True)
    chunked_nats(states, torch.randn(500, 4), torch.arange(1000), torch.zeros(1000, dtype=torch.int64))
    assert sizes == [100 * 500] * 10


def test_sum_is_fp32_where_the_weights_are_bf16() -> None:
    states, weight = torch.randn(4000, 8).bfloat16(), torch.randn(50, 8).bfloat16()
    labels = torch.randint(0, 50, (4000,))
    total, nats = chunked_nats(states, weight, torch.arange(4000), labels)
    expected = torch.nn.functional.cross_entropy((states @ weight.t()).double(), labels, reduction="sum")
    assert nats.dtype == torch.float32
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def test_batch_without_labels_counts_nothing_and_has_no_gradient() -> None:
    states = torch.randn(5, 4, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    total, nats = chunked_nats(states, torch.randn(9, 4), none, none)
    total.backward()
    assert (total.item(), len(nats)) == (0.0, 0)
    assert states.grad is not None
    assert not states.grad.any()


def test_value_without_a_gradient_makes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    states, weight = torch.randn(5, 4), torch.randn(9, 4, requires_grad=True)
    labels = torch.zeros(5, dtype=torch.int64)
    expected, _ = chunked_nats(states, weight, torch.arange(5), labels)
    monkeypatch.setattr(torch.Tensor, "addmm_", None)  # the sum of the head's gradient
    with torch.no_grad():
        assert chunked_nats(states, weight, torch.arange(5), labels)[0] == expected


@pytest.mark.parametrize(("dtype", "scale"), [(torch.bfloat16, 1 / 1020), (torch.float16, 65536.0)], ids=str)
def test_gradient_is_scaled_with_all_digits_of_the_scale(dtype: torch.dtype, scale: float) -> None:
    # The one is 0.4 % from the next number of bf16, the other more than fp16 holds.
    torch.manual_seed(0)
    states, weight = torch.randn(100, 8).to(dtype).requires_grad_(), (0.01 * torch.randn(50, 8)).to(dtype)
    total, _ = chunked_nats(states, weight, torch.arange(100), torch.randint(0, 50, (100,)))
    plain, scaled = (torch.autograd.grad(value, [states], retain_graph=True)[0] for value in (total, total * scale))
    assert torch.equal(scaled, (plain.double() * scale).to(dtype))


def test_gradient_of_the_head_in_fp16_is_summed_and_scaled_in_fp32() -> None:
    labels = torch.zeros(4000, dtype=torch.int64)
    states, weight = torch.full((4000, 8), 30.0).half(), torch.zeros(50, 8).half().requires_grad_()
    total, _ = chunked_nats(states, weight, torch.arange(4000), labels)
    (grad,) = torch.autograd.grad(total / 4000, [weight])
    # Before the division it is -4000 * 30 * 49/50, of one chunk, which fp16 does not hold.
    torch.testing.assert_close(grad[0], torch.full((8,), -30 * 49 / 50).half(), rtol=2e-3, atol=0)
    assert bool(grad.isfinite().all())
