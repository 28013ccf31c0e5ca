"""The learning rate: its highest value where the recipe names none, and its way over the steps."""

import math

import numpy as np

from trainers.recipe import OptimizerConfig, TrainRecipe

PEFT_RATES = {"lora": 1e-4, "qlora": 1e-4, "ia3": 3e-3, "prompt": 3e-3, "prefix": 1e-2}
"""LoRA and QLoRA: Dettmers et al. 2023 (arXiv:2305.14314), table of hyper-parameters; IA3: Liu et al. 2022
(arXiv:2205.05638), 3e-3; prompt and prefix: measured on SmolLM2-135M over 8 steps: a prompt overshoots at 1e-2 and
3e-2, a prefix falls faster at 1e-2 than at 1e-3."""
SFT_RATE = 1e-5
TINY_RATE = 3e-3
PRETRAINING_RATES = (
    (125e6, 6.0e-4),
    (350e6, 3.0e-4),
    (760e6, 2.5e-4),
    (1.3e9, 2.0e-4),
    (2.7e9, 1.6e-4),
    (6.7e9, 1.2e-4),
    (13e9, 1.0e-4),
    (175e9, 0.6e-4),
)
"""(parameters, rate): Brown et al. 2020 (arXiv:2005.14165), table 2.1."""


def default_rate(recipe: TrainRecipe, objective: str, num_parameters: int | None) -> float:
    """Return the rate for a recipe that names none, by what is trained from what.

    Adapters: PEFT_RATES. A tiny model (no number of parameters, for no file holds it): TINY_RATE. All weights, on
    answers: SFT_RATE; on whole documents: a tenth of what models of that size are pre-trained with, on a straight line
    between sizes in logarithms.
    """
    if recipe.tuning.method != "full":
        return PEFT_RATES[recipe.tuning.method]
    if num_parameters is None:
        return TINY_RATE
    return SFT_RATE if objective == "sft" else pretraining_rate(num_parameters) / 10


def pretraining_rate(num_parameters: int) -> float:
    """Return the rate models of that size are pre-trained with, on a straight line between sizes in logarithms."""
    sizes, rates = (np.log([pair[column] for pair in PRETRAINING_RATES]) for column in (0, 1))
    return float(np.exp(np.interp(math.log(num_parameters), sizes, rates)))


def learning_rate(step: int, num_steps: int, config: OptimizerConfig) -> float:
    """Return the rate of optimizer step `step` (from 0): linear warm-up, then down to `final_fraction` at the last."""
    assert config.learning_rate is not None, "filled in by default_rate"
    warmup = round(config.warmup_fraction * num_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - 1 - warmup)
    falling = {"cosine": (1 + math.cos(math.pi * progress)) / 2, "linear": 1 - progress, "constant": 1.0}[config.decay]
    return config.learning_rate * (config.final_fraction + (1 - config.final_fraction) * falling)
