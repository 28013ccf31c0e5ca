"""TensorBoard and Weights & Biases: the figures of metrics.jsonl and the probes once more, where people look at curves.

A run that goes on continues the axis of steps, and no step stands there twice: TensorBoard drops what follows the
checkpoint (`purge_step`); Weights & Biases gets its points only when a checkpoint is about to be written.
"""

import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.errors import ResourceError, problem
from engine.base.hashing import digest_bytes
from trainers.recipe import TrackConfig, TrainRecipe

OF_STEP = ("loss", "learning_rate", "grad_norm", "skipped_steps")
OF_SOURCE = ("loss", "supervised_tokens", "tokens")
OF_PROBE = ("bits_per_byte", "relative_rise")


class TensorBoard:
    """Event files in runs/<name>/tensorboard/."""

    def __init__(self, folder: Path, first: int) -> None:
        """Go on after `first` steps: what is there of later ones no longer counts."""
        summary_writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = summary_writer(str(folder / "tensorboard"), purge_step=first + 1 if first else None)

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Write a scalar per figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Write the events to disk."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of a W&B project, under runs/<name>/wandb/ until `wandb sync` where WANDB_MODE says nothing."""

    def __init__(self, project: str, recipe: TrainRecipe, folder: Path) -> None:
        """Open the run; its id comes from the run's folder, so sessions of one run are one run there."""
        self._points: list[tuple[int, dict[str, float]]] = []
        wandb = importlib.import_module("wandb")
        try:
            self._run = wandb.init(
                project=project,
                name=recipe.name,
                id=digest_bytes(str(folder.resolve()).encode()).hex()[:16],
                config=recipe.resolved(),
                dir=str(folder),
                resume="allow",
                mode=os.environ.get("WANDB_MODE", "offline"),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.Error as error:
            found = f"wandb cannot begin the run ({(str(error).splitlines() or [type(error).__name__])[0]})"
            fix = "unset WANDB_MODE to keep the run here, and send it later (wandb sync); or wandb login"
            raise ResourceError(problem("track.wandb", found, fix=fix)) from error

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Keep the figures until `flush`."""
        self._points.append((step, dict(figures)))

    def flush(self) -> None:
        """Log what was kept."""
        for step, figures in self._points:
            self._run.log(figures, step=step)
        self._points = []

    def close(self) -> None:
        """End the session; what no checkpoint followed is dropped."""
        self._run.finish()


Tracker = TensorBoard | WeightsAndBiases
"""Where figures go besides the run's own files: `add`, `flush` at a checkpoint, `close`."""


def require_trackers(config: TrackConfig) -> None:
    """Raise ResourceError where a package that the recipe asks for is not installed."""
    wanted = {"tensorboard": config.tensorboard, "wandb": config.wandb is not None}
    missing = [name for name, is_wanted in wanted.items() if is_wanted and importlib.util.find_spec(name) is None]
    if missing:
        found = f"the package {' and '.join(missing)} is not installed"
        raise ResourceError(problem(f"track.{missing[0]}", found, fix=f"pip install {' '.join(missing)}"))


@contextmanager
def tracking(recipe: TrainRecipe, folder: Path, first: int) -> Iterator[list[Tracker]]:
    """Yield the trackers of a run that goes on after `first` steps, and close them."""
    with ExitStack() as stack:
        trackers: list[Tracker] = []
        if recipe.track.tensorboard:
            trackers.append(stack.enter_context(closing(TensorBoard(folder, first))))
        if recipe.track.wandb is not None:
            trackers.append(stack.enter_context(closing(WeightsAndBiases(recipe.track.wandb, recipe, folder))))
        yield trackers


def step_figures(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the scalars of a line of metrics.jsonl: of the step, and `loss/<source>` and its tokens."""
    figures = {f"train/{name}": line.get(name) for name in OF_STEP}
    figures["train/tokens_per_second"] = line["tokens"] / line["seconds"]
    for source, of_source in line["sources"].items():
        figures |= {f"{name}/{source}": of_source[name] for name in OF_SOURCE}
    return {name: value for name, value in figures.items() if value is not None}


def probe_figures(forgetting: pl.DataFrame, step: int) -> dict[str, float]:
    """Return the scalars `bits_per_byte/<probe>` and `relative_rise/<probe>` of one step of FORGETTING_SCHEMA."""
    rows = forgetting.filter(pl.col("step") == step).to_dicts()
    return {f"{name}/{row['probe']}": row[name] for row in rows for name in OF_PROBE if row[name] is not None}
