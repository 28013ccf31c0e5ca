"""What stays as it is, and what moves later or less: a pure function of a parameter's depth and the step.

Depth 0 are the embeddings, 1 to N the blocks from the bottom, N + 1 all above them (last norm, untied head). Gradual
unfreezing and rates by layer are those of ULMFiT (Howard and Ruder 2018, arXiv:1801.06146, sections 3.2 and 3.3): the
last block first, then one more below it at a time, the embeddings last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from engine.base.errors import RecipeError, problem
from trainers.blocks import blocks_of
from trainers.recipe import FreezingConfig, TrainRecipe

EMBEDDINGS = 0


@dataclass(frozen=True)
class Freezing:
    """Which of the parameters move at a step, and how much."""

    config: FreezingConfig
    depths: Mapping[str, int]
    """Depth of each parameter, by its name in the transformers model."""
    num_blocks: int
    has_tied_head: bool
    """Whether the head is the embeddings: what happens to them happens to it."""

    def opens_at(self, depth: int) -> int | None:
        """Return the first step (from 0) at which parameters of a depth move; None: at none."""
        config, top = self.config, self.num_blocks
        if depth > top:
            return 0
        if config.embeddings if depth == EMBEDDINGS else depth <= config.blocks:
            return None
        turn = top - max(depth, config.blocks)
        return 0 if config.unfreeze_every is None else turn * config.unfreeze_every

    def multiplier(self, depth: int, step: int) -> float | None:
        """Return the share of the learning rate that a depth gets at a step (from 0); None: it is frozen."""
        opens = self.opens_at(depth)
        if opens is None or step < opens:
            return None
        return float(self.config.layer_decay ** max(0, self.num_blocks - depth))

    def is_trainable(self, name: str, step: int) -> bool:
        """Whether a parameter moves at a step."""
        return self.multiplier(self.depths[name], step) is not None

    def describe(self) -> dict[str, Any]:
        """Return what run.json says of it."""
        opening = {depth: self.opens_at(depth) for depth in range(self.num_blocks + 2)}
        return {
            "blocks": self.num_blocks,
            "tied_head": self.has_tied_head,
            "embeddings_and_tied_head" if self.has_tied_head else "embeddings": _when(opening[EMBEDDINGS]),
            "blocks_from_the_bottom": [_when(opening[depth]) for depth in range(1, self.num_blocks + 1)],
        }


def freezing_of(causal: Any, recipe: TrainRecipe) -> Freezing | None:
    """Return what the recipe's `freezing` means for a model of transformers; None where everything moves alike.

    Raises RecipeError where it cannot be followed, InputError where the model has no list of blocks.
    """
    config = recipe.freezing
    if config == FreezingConfig():
        return None
    prefix, blocks = blocks_of(causal)
    num_blocks = len(blocks)
    if config.blocks > num_blocks:
        found, needed = f"got {config.blocks}", f"at most {num_blocks}, the blocks of {type(causal).__name__}"
        raise RecipeError(problem(f"{recipe.name}: freezing.blocks", found, needed))
    below = {id(p) for m in causal.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    depths = {}
    for name, parameter in causal.named_parameters():
        if name.startswith(f"{prefix}."):
            depths[name] = 1 + int(name.removeprefix(f"{prefix}.").split(".")[0])
        else:
            depths[name] = EMBEDDINGS if id(parameter) in below else num_blocks + 1
    is_tied = causal.get_output_embeddings().weight is causal.get_input_embeddings().weight
    return Freezing(config, depths, num_blocks, is_tied)


def _when(step: int | None) -> str:
    return "never" if step is None else f"from step {step + 1}"
