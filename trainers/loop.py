"""The loop: replays the schedule step by step, measures, writes down, and leaves checkpoints.

The only position is the step number. Everything random in a step is drawn from (seed, step), so a run that was killed
goes on from its newest checkpoint and ends with the same bits.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from engine.base.errors import AuditError, problem
from engine.base.hashing import digest_parts
from engine.base.progress import progress
from engine.formats.manifest import role_label
from engine.formats.parquet import write_parquet
from engine.formats.training_rows import StepRows, TrainingRows
from trainers.checkpoint import save_checkpoint
from trainers.data import micro_batches
from trainers.forgetting import forgetting
from trainers.language_model import LanguageModel
from trainers.learning_rates import learning_rate
from trainers.optim import MasterOptimizer
from trainers.probes import ProbeDocument, measure
from trainers.recipe import TrainRecipe
from trainers.record import RunRecord
from trainers.world import World


@dataclass(frozen=True)
class Training:
    """Everything the loop works with."""

    recipe: TrainRecipe
    rows: TrainingRows
    model: LanguageModel
    optimizer: MasterOptimizer
    record: RunRecord
    world: World
    num_steps: int
    probes: list[ProbeDocument] = field(default_factory=list)


def train_steps(training: Training, first: int) -> None:
    """Make all optimizer steps after the first `first` ones, with their probes and checkpoints.

    Raises AuditError where the loss or the gradient is no number any more.
    """
    recipe, last = training.recipe, training.num_steps
    with progress("training", total=last, unit="steps") as bar:
        bar.advance(first)
        _probe(training, first)
        for step in range(first, last):
            figures = train_step(training, step)
            training.record.append_step(figures)
            made = step + 1
            bar.advance(1, f"loss {figures['loss']:.3f}")
            is_checkpoint = made == last or _is_due(made, recipe.checkpoints.every_steps)
            # A checkpoint comes after its probes, so a run that goes on from it has them already.
            if is_checkpoint or _is_due(made, recipe.probes.every_steps):
                _probe(training, made)
            if is_checkpoint:
                folder = training.record.folder / "checkpoints"
                save_checkpoint(folder, made, training.optimizer, recipe.checkpoints.keep)


def train_step(training: Training, step: int) -> dict[str, Any]:
    """Make optimizer step `step` (from 0); return its line of metrics.jsonl."""
    started = time.perf_counter()
    recipe, world = training.recipe, training.world
    torch.manual_seed(step_seed(recipe.seed, step))
    rows = training.rows.step(step, world.rank, world.size)
    sums = _by_source(rows, _backward(training, rows), len(training.rows.sources))
    tokens, labels, nats = world.sum(torch.from_numpy(sums).to(world.device)).cpu().numpy()
    loss = float(nats.sum() / rows.step_labels)
    rate = learning_rate(step, training.num_steps, recipe.optimizer)
    norm = training.optimizer.step(rate) if math.isfinite(loss) else math.nan
    if not math.isfinite(norm):
        found = f"step {step + 1}: loss {loss:.4g}, gradient norm {norm:.4g}"
        fix = "lower optimizer.learning_rate and train under another --name"
        raise AuditError(problem(training.record.folder, found, "finite numbers", fix))
    return {
        "step": step + 1,
        "loss": loss,
        "supervised_tokens": rows.step_labels,
        "tokens": int(tokens.sum()),
        "learning_rate": rate,
        "grad_norm": norm,
        "seconds": time.perf_counter() - started,
        "sources": {
            role_label(source, is_replay): {
                "loss": float(nats[i] / labels[i]) if labels[i] else None,
                "supervised_tokens": int(labels[i]),
                "tokens": int(tokens[i]),
                "is_replay": is_replay,
            }
            for i, (source, is_replay) in enumerate(training.rows.sources)
            if tokens[i]
        },
    }


def _backward(training: Training, rows: StepRows) -> list[tuple[np.ndarray, np.ndarray]]:
    """Add up the gradients of this rank's rows; return (source, nats) of their labels, by micro-batch."""
    found, pad_id, at_once = [], training.rows.store.meta.eos_id, training.recipe.micro_batch_rows
    for batch in micro_batches(rows, pad_id, at_once, training.model.is_flat):
        summed, nats = training.model(batch.to(training.world.device))
        (summed / rows.step_labels).backward()
        training.optimizer.collect()
        found.append((batch.label_sources, nats.cpu().numpy().astype(np.float64)))
    return found


def _by_source(rows: StepRows, labels: list[tuple[np.ndarray, np.ndarray]], number: int) -> np.ndarray:
    """Return fp64[3, sources]: tokens, labels and nats of this rank's rows."""
    sums = np.zeros((3, number))
    sums[0] = np.bincount(rows.source, weights=rows.length, minlength=number)
    for sources, nats in labels:
        sums[1] += np.bincount(sources, minlength=number)
        sums[2] += np.bincount(sources, weights=nats, minlength=number)
    return sums


def step_seed(seed: int, step: int) -> int:
    """Return the seed of everything random in one step, such as dropout."""
    return int.from_bytes(digest_parts((seed.to_bytes(8, "little"), step.to_bytes(8, "little")))[:8], "little") >> 1


def _probe(training: Training, step: int) -> None:
    recipe, record = training.recipe, training.record
    if not training.probes:
        return
    if step not in record.probes().get_column("step"):
        context = training.rows.schedule.meta.row_tokens
        record.append_probes(measure(training.model, training.probes, step, context, training.world.device))
    figures = forgetting(record.probes(), recipe.probes, recipe.budget.max_general_bpb_rise, recipe.seed)
    write_parquet(record.folder / "forgetting.parquet", figures)


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
