import pytest

from trainers.learning_rates import default_rate
from trainers.recipe import BaseConfig, TinyConfig, TrainRecipe, TuningConfig


@pytest.mark.parametrize(
    ("method", "objective", "parameters", "rate"),
    [
        ("lora", "dapt", 135_000_000, 1e-4),
        ("qlora", "sft", 7_000_000_000, 1e-4),
        ("full", "sft", 135_000_000, 1e-5),
        ("full", "dapt", 125_000_000, 6e-5),
        ("full", "dapt", 6_700_000_000, 1.2e-5),
        ("full", "dapt", 1_000_000, 6e-5),
        ("full", "dapt", 500_000_000_000, 0.6e-5),
        ("full", "dapt", None, 3e-3),
    ],
)
def test_rate_that_a_recipe_leaves_out_is_that_of_its_mode(
    method: str, objective: str, parameters: int | None, rate: float
) -> None:
    tuning = TuningConfig.model_validate({"method": method})
    recipe = TrainRecipe(name="t", mixture="m", base=BaseConfig(tiny=TinyConfig()), tuning=tuning)
    assert default_rate(recipe, objective, parameters) == pytest.approx(rate)


def test_rate_falls_between_two_known_sizes() -> None:
    recipe = TrainRecipe(name="t", mixture="m", base=BaseConfig(tiny=TinyConfig()))
    rates = [default_rate(recipe, "dapt", size) for size in (350e6, 500e6, 760e6)]  # type: ignore[arg-type]
    assert rates[0] > rates[1] > rates[2]
