"""The loop: replays the schedule step by step, measures, writes down, and leaves checkpoints.

The only position is the step number. Everything random in a step is drawn from (seed, step, micro-batch, rank), so a
run that was killed goes on from its newest checkpoint and ends with the same bits. Under torchrun every rank runs the
loop; the main one alone writes.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from engine.base.hashing import digest_parts
from engine.base.progress import progress
from engine.formats.manifest import role_label
from engine.formats.parquet import write_parquet
from engine.formats.training_rows import StepRows, TrainingRows
from trainers.checkpoint import prove_reload, save_checkpoint
from trainers.data import micro_batches
from trainers.forgetting import forgetting
from trainers.fsdp import keep_gathered
from trainers.language_model import LanguageModel
from trainers.learning_rates import learning_rate
from trainers.nonfinite import require_finite, stop
from trainers.optim import MasterOptimizer
from trainers.probes import ProbeDocument, measure
from trainers.recipe import TrainRecipe
from trainers.record import RunRecord
from trainers.replicas import require_same_weights, sum_gradients
from trainers.trackers import Tracker, probe_figures, step_figures
from trainers.vocabulary import NewRowsFirst
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
    identity: dict[str, Any] = field(default_factory=dict)
    """Whose checkpoints are written (trainers.job.Job.identity)."""
    new_rows_first: NewRowsFirst | None = None
    """What keeps everything else still in the first steps; None: nothing does."""


def train_steps(training: Training, first: int, trackers: Sequence[Tracker] = ()) -> None:
    """Make all optimizer steps after the first `first` ones, with their probes and checkpoints.

    Raises AuditError where the loss or the gradient is no number any more, or the optimizer's state does not survive
    being saved (tried after the first step); ResourceError where the disk is too small.
    """
    recipe, last, is_main = training.recipe, training.num_steps, training.world.is_main
    is_proven = not is_main
    with progress("training", total=last, unit="steps") as bar:
        bar.advance(first)
        _probe(training, first, trackers)
        for step in range(first, last):
            figures = train_step(training, step)
            is_proven = is_proven or prove_reload(training.record.folder, training.optimizer)
            if is_main:
                training.record.append_step(figures)
            for tracker in trackers:
                tracker.add(step + 1, step_figures(figures))
            made = step + 1
            bar.advance(1, f"loss {figures['loss']:.3f}")
            is_checkpoint = made == last or _is_due(made, recipe.checkpoints.every_steps)
            # A checkpoint comes after its probes, so a run that goes on from it has them already.
            if is_checkpoint or _is_due(made, recipe.probes.every_steps):
                _probe(training, made, trackers)
            if is_checkpoint:
                _checkpoint(training, made, trackers)


def _checkpoint(training: Training, made: int, trackers: Sequence[Tracker]) -> None:
    # What is tracked stands before the checkpoint does: points that are written twice are dropped, lost ones are lost.
    for tracker in trackers:
        tracker.flush()
    folder, keep, world = training.record.folder / "checkpoints", training.recipe.checkpoints.keep, training.world
    require_same_weights(training.optimizer.masters, world, f"after {made} steps")
    save_checkpoint(folder, made, training.optimizer, keep, training.identity, world)
    if world.is_main:
        training.record.write_metrics()


def train_step(training: Training, step: int) -> dict[str, Any]:
    """Make optimizer step `step` (from 0); return its line of metrics.jsonl."""
    started = time.perf_counter()
    world, optimizer = training.world, training.optimizer
    rows = training.rows.step(step, world.rank, world.size)
    optimizer.begin(step)
    found = _backward(training, rows, step)
    sums = _by_source(rows, found, len(training.rows.sources))
    summed = world.sum(torch.from_numpy(sums).to(world.device)).cpu().numpy()
    loss = float(summed[2].sum() / rows.step_labels)
    rate = learning_rate(step, training.num_steps, training.recipe.optimizer)
    can_skip = optimizer.loss_scale is not None and optimizer.loss_scale.value > 1
    with training.new_rows_first.at(step, optimizer) if training.new_rows_first else nullcontext():
        norm = optimizer.step(rate) if math.isfinite(loss) else math.nan
    is_skipped = math.isfinite(loss) and not math.isfinite(norm) and can_skip
    if not (math.isfinite(norm) or is_skipped):
        whole, nats = training.rows.step(step), _of_all_ranks(rows, found, world)
        stop(training.record, training.rows, whole, nats, {"step": step + 1, "loss": loss, "grad_norm": norm}, world)
    return {
        "step": step + 1,
        "loss": loss,
        "supervised_tokens": rows.step_labels,
        "tokens": int(summed[0].sum()),
        "learning_rate": rate,
        "grad_norm": None if is_skipped else norm,
        "seconds": time.perf_counter() - started,
        **({} if optimizer.loss_scale is None else {"skipped_steps": optimizer.loss_scale.skipped_steps}),
        "sources": _of_sources(training.rows, *summed),
    }


def _of_sources(rows: TrainingRows, tokens: np.ndarray, labels: np.ndarray, nats: np.ndarray) -> dict[str, Any]:
    return {
        role_label(source, is_replay): {
            "loss": float(nats[i] / labels[i]) if labels[i] else None,
            "supervised_tokens": int(labels[i]),
            "tokens": int(tokens[i]),
            "is_replay": is_replay,
        }
        for i, (source, is_replay) in enumerate(rows.sources)
        if tokens[i]
    }


def _backward(training: Training, rows: StepRows, step: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Add up the gradients of this rank's rows; return (source, nats) of their labels, by micro-batch."""
    found, pad_id, at_once = [], training.rows.store.meta.eos_id, training.recipe.micro_batch_rows
    batches = list(micro_batches(rows, pad_id, at_once, training.model.is_flat))
    for number, batch in enumerate(batches):
        torch.manual_seed(step_seed(training.recipe.seed, step, number, training.world.rank))
        keep_gathered(training.model, batch is not batches[-1])
        summed, nats = training.model(batch.to(training.world.device))
        torch.autograd.backward(training.optimizer.scaled(summed / rows.step_labels))
        training.optimizer.collect()
        found.append((batch.label_sources, nats.cpu().numpy().astype(np.float64)))
    sum_gradients(training.optimizer.masters, training.world)
    return found


def _of_all_ranks(rows: StepRows, labels: list[tuple[np.ndarray, np.ndarray]], world: World) -> np.ndarray:
    """Return fp64[step_labels] nats of the whole step, in the order of its rows, which ranks have in their order."""
    mine = np.concatenate([np.zeros(0), *(nats for _, nats in labels)])
    counts = torch.zeros(world.size, dtype=torch.int64, device=world.device)
    counts[world.rank] = len(mine)
    first = int(world.sum(counts)[: world.rank].sum())
    nats = torch.zeros(rows.step_labels, dtype=torch.float64, device=world.device)
    nats[first : first + len(mine)] = torch.from_numpy(mine).to(world.device)
    return world.sum(nats).cpu().numpy()


def _by_source(rows: StepRows, labels: list[tuple[np.ndarray, np.ndarray]], number: int) -> np.ndarray:
    """Return fp64[3, sources]: tokens, labels and nats of this rank's rows."""
    sums = np.zeros((3, number))
    sums[0] = np.bincount(rows.source, weights=rows.length, minlength=number)
    for sources, nats in labels:
        sums[1] += np.bincount(sources, minlength=number)
        sums[2] += np.bincount(sources, weights=nats, minlength=number)
    return sums


def step_seed(seed: int, step: int, micro_batch: int = 0, rank: int = 0) -> int:
    """Return the seed of everything random in one micro-batch of a step, such as dropout; ranks draw their own."""
    numbers = [seed, step, micro_batch, rank] if rank else [seed, step, micro_batch]
    parts = (number.to_bytes(8, "little") for number in numbers)
    return int.from_bytes(digest_parts(tuple(parts))[:8], "little") >> 1


def _probe(training: Training, step: int, trackers: Sequence[Tracker] = ()) -> None:
    recipe, record, world = training.recipe, training.record, training.world
    if not training.probes:
        return
    is_new = bool(world.from_main(step not in record.probes().get_column("step")))
    if is_new:
        context = training.rows.schedule.meta.row_tokens
        measured = measure(training.model, training.probes, step, context, world.device, world)
        require_finite(measured, record)
        if world.is_main:
            record.append_probes(measured)
    if not world.is_main:
        return
    figures = forgetting(record.probes(), recipe.probes, recipe.budget.max_general_bpb_rise, recipe.seed)
    write_parquet(record.folder / "forgetting.parquet", figures)
    if is_new:
        for tracker in trackers:
            tracker.add(step, probe_figures(figures, step))
            tracker.flush()


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
