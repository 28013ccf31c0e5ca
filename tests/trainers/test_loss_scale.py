import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trainers.optim
from trainers.optim import LossScale, MasterOptimizer
from trainers.recipe import OptimizerConfig


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([True, True, True, False]), max_size=40))
def test_scale_is_that_of_torch(finite: list[bool]) -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    adam = torch.optim.SGD([parameter], lr=0.0)
    oracle = torch.amp.GradScaler("cpu", growth_interval=3)
    before, trainers.optim.GROWTH_INTERVAL = trainers.optim.GROWTH_INTERVAL, 3
    scale = LossScale()
    try:
        for is_finite in finite:
            oracle.scale(torch.ones(1))
            parameter.grad = torch.full((1,), 1.0 if is_finite else float("inf"))
            oracle.step(adam)
            oracle.update()
            scale.update(is_finite)
            assert scale.value == oracle.get_scale()
    finally:
        trainers.optim.GROWTH_INTERVAL = before
    assert scale.skipped_steps == finite.count(False)


def optimizer() -> tuple[torch.nn.Linear, MasterOptimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 4, bias=False)
    config = OptimizerConfig(weight_decay=0.0, clip=None)
    return model, MasterOptimizer(model, dict(model.named_parameters()), config, torch.float16)


def test_gradients_too_small_for_fp16_reach_the_master() -> None:
    model, adam = optimizer()
    inputs = torch.ones(1, 4, dtype=torch.float16)
    adam.scaled(model(inputs).float().sum() * 1e-8).backward()  # 1e-8 is zero in fp16
    adam.collect()
    assert adam.step(0.0) == pytest.approx(1e-8 * 4, rel=1e-3)


def test_step_whose_gradient_overflows_changes_nothing_but_the_scale() -> None:
    model, adam = optimizer()
    before = adam.masters["weight"].detach().clone()
    adam.scaled(model(torch.ones(1, 4, dtype=torch.float16)).float().sum() * 10).backward()
    adam.collect()
    assert adam.step(0.1) == float("inf")
    assert torch.equal(adam.masters["weight"], before)
    assert adam.loss_scale == LossScale(32768.0, 0, 1)
    assert adam.state() == {}
