"""Our side: the verb `train` itself, which waits before every step. Arguments: recipe, workspace."""

import sys
from typing import Any

import torch

import trainers.loop
from benchmarks.train_step.turns import THREADS, Turns
from trainers.train import train


def main(recipe: str, workspace: str) -> None:
    """Train, a step whenever told."""
    torch.set_num_threads(THREADS)
    turns, make = Turns(), trainers.loop.train_step

    def make_when_told(training: Any, step: int) -> dict[str, Any]:
        turns.wait()
        figures = make(training, step)
        turns.answer(figures["loss"])
        return figures

    trainers.loop.train_step = make_when_told
    train(recipe, workspace)


if __name__ == "__main__":
    main(*sys.argv[1:])
