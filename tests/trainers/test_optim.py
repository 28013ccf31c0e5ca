from typing import Literal

import pytest
import torch

from trainers.learning_rates import learning_rate
from trainers.optim import MasterOptimizer
from trainers.recipe import OptimizerConfig


@pytest.mark.parametrize(
    ("decay", "falling"),
    [
        ("cosine", [0.914058, 0.689058, 0.410942, 0.185942, 0.1]),
        ("linear", [0.82, 0.64, 0.46, 0.28, 0.1]),
        ("constant", [1.0] * 5),
    ],
)
def test_rate_rises_then_falls_to_the_final_fraction(
    decay: Literal["cosine", "linear", "constant"], falling: list[float]
) -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_fraction=0.25, final_fraction=0.1, decay=decay)
    rates = [learning_rate(step, 8, config) for step in range(8)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, *falling], abs=1e-6)


def test_run_of_one_step_has_the_full_rate() -> None:
    assert learning_rate(0, 1, OptimizerConfig(learning_rate=0.5)) == 0.5


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(16, 16)
        self.register_buffer("frequencies", torch.tensor([0.1234567]))


def optimizer(model: Small, dtype: torch.dtype = torch.bfloat16, **config: float) -> MasterOptimizer:
    settings = OptimizerConfig.model_validate({"weight_decay": 0.0, "clip": None} | config)
    return MasterOptimizer(model, dict(model.named_parameters()), settings, dtype)


def test_master_is_cloned_before_the_cast() -> None:
    model = Small()
    before = model.linear.weight.detach().clone()
    masters = optimizer(model).masters
    assert model.linear.weight.dtype == torch.bfloat16
    assert torch.equal(masters["linear.weight"], before)
    assert not torch.equal(masters["linear.weight"], model.linear.weight.float()), "a master on the bf16 grid"


def test_small_updates_add_up_in_the_master_until_the_weights_move() -> None:
    model = Small()
    before = model.linear.weight.detach().clone()
    adam = optimizer(model)
    start = model.linear.weight.detach().clone()
    for _ in range(200):
        model.linear.weight.grad = torch.ones_like(model.linear.weight)
        model.linear.bias.grad = torch.zeros_like(model.linear.bias)
        adam.collect()
        adam.step(1e-5)
    moved = before - adam.masters["linear.weight"].detach()
    torch.testing.assert_close(moved, torch.full_like(moved, 200 * 1e-5), rtol=1e-3, atol=1e-5)
    # One update of 1e-5 is far below half a step of the bf16 grid at 0.2 (4.9e-4): alone it would round away.
    assert bool((model.linear.weight != start).float().mean() > 0.9)


def test_buffers_keep_their_precision() -> None:
    model = Small()
    optimizer(model)
    assert model.frequencies.dtype == torch.float32


def test_gradients_of_micro_batches_are_added_in_fp32() -> None:
    model = Small()
    adam = optimizer(model)
    for value in (1.0, 2.0**-12):  # bf16 cannot hold their sum
        model.linear.weight.grad = torch.full_like(model.linear.weight, value)
        adam.collect()
    assert float(adam.masters["linear.weight"].grad[0, 0]) == 1.0 + 2.0**-12


def test_only_matrices_are_decayed() -> None:
    model = Small()
    bias = model.linear.bias.detach().clone()
    weight = model.linear.weight.detach().clone()
    adam = optimizer(model, torch.float32, weight_decay=0.5)
    model.linear.weight.grad, model.linear.bias.grad = torch.zeros(16, 16), torch.zeros(16)
    adam.step(0.1)
    assert torch.equal(model.linear.bias, bias)
    torch.testing.assert_close(model.linear.weight.detach(), weight * 0.95)


def test_norm_is_that_before_clipping_and_the_step_that_after() -> None:
    model = Small()
    adam = optimizer(model, torch.float32, clip=1.0)
    model.linear.weight.grad, model.linear.bias.grad = torch.full((16, 16), 2.0), torch.zeros(16)
    kept = model.linear.weight.grad
    assert adam.step(0.0) == pytest.approx(32.0)
    assert float(kept.norm()) == pytest.approx(1.0, rel=1e-4)


def test_restore_makes_the_masters_the_weights() -> None:
    model = Small()
    before = model.linear.weight.detach().clone()
    optimizer(model).restore()
    assert torch.equal(model.linear.weight, before)
