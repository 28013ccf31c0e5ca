"""The proof at the start of every run: documents that share a row cannot see each other, with this very model.

transformers keeps packed documents apart only if neither an attention mask nor a cache comes into play, and says
nothing where they do: training then goes on with a loss that is ruined (measured: 4.34 instead of 2.41). So nothing is
taken on trust. On real rows of the schedule:

1. every token of the first span is replaced; the logits of the later spans must not change (bit-equal on a CPU),
2. the loss of the packed row must be that of its spans, one by one, through the model's own forward pass; this also
   proves the head and its loss (trainers.losses) for models that do more after their last layer.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from engine.base.errors import AuditError, problem
from engine.formats.training_rows import TrainingRows
from trainers.data import MicroBatch, micro_batches
from trainers.language_model import LanguageModel

LOSS_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Largest relative difference between packed and unpacked loss; bf16 rounds to 3 digits and was seen at 5e-4."""
STEPS_SEARCHED = 64


@torch.no_grad()
def prove_isolation(model: LanguageModel, rows: TrainingRows, device: torch.device) -> dict[str, Any]:
    """Return what was compared; raises AuditError where a document can see another, or the loss is not the model's.

    The model stays in its mode: with dropout both passes draw the same numbers.
    """
    step, batch = _row_of_several(rows)
    batch = batch.to(device)
    starts = torch.nonzero(batch.positions[0] == 0).flatten().tolist()
    place = f"{rows.mixture.reference}, step {step}"
    if len(starts) > 1:
        _compare_perturbed(model, batch, starts[1], place)
    _compare_unpacked(model, batch, [*starts, batch.ids.shape[1]], place)
    return {"step": step, "spans": len(starts), "packed_equals_unpacked": True, "documents_isolated": len(starts) > 1}


def _row_of_several(rows: TrainingRows) -> tuple[int, MicroBatch]:
    """Return the first row with at least two spans, or the first row where none of the first steps has one."""
    pad_id = rows.store.meta.eos_id
    for step in range(min(rows.num_steps, STEPS_SEARCHED)):
        found = rows.step(step)
        counts = np.bincount(found.row_number)
        if (counts > 1).any():
            wanted = int(np.argmax(counts > 1))
            return step, next(b for i, b in enumerate(micro_batches(found, pad_id, 1)) if i == wanted)
    return 0, next(micro_batches(rows.step(0), pad_id, 1))


def _compare_perturbed(model: LanguageModel, batch: MicroBatch, second: int, place: str) -> None:
    weight = model.head
    changed = batch.ids.clone()
    changed[:, :second] = (changed[:, :second] + 1) % weight.shape[0]
    logits = [_seeded_states(model, ids, batch.positions)[:, second:] @ weight.t() for ids in (batch.ids, changed)]
    difference = float((logits[0].float() - logits[1].float()).abs().max())
    allowed = 0.0 if batch.ids.device.type == "cpu" else 1e-3
    if not difference <= allowed:
        found = f"changing the first document moves the logits of the next by {difference:.3g}"
        fix = "use an architecture that transformers packs with sdpa attention"
        raise AuditError(problem(place, found, "documents of one row that cannot see each other", fix))


def _compare_unpacked(model: LanguageModel, batch: MicroBatch, edges: list[int], place: str) -> None:
    was_training = model.training
    model.eval()
    packed, _ = model(batch)
    alone = 0.0
    for start, stop in pairwise(edges):
        inside = (batch.predictors >= start) & (batch.predictors < stop)
        if bool(inside.any()):
            logits = model.library_logits(batch.ids[:, start:stop])[0].float()
            chosen = logits[batch.predictors[inside] - start]
            alone += float(torch.nn.functional.cross_entropy(chosen, batch.labels[inside], reduction="sum"))
    model.train(was_training)
    tolerance = LOSS_TOLERANCE[model.head.dtype]
    if not abs(float(packed) - alone) <= tolerance * max(alone, 1.0):
        found = f"loss {float(packed):.4f} nats for the packed row, {alone:.4f} for its documents one by one"
        fix = "use an architecture whose logits are its last states times the head"
        raise AuditError(problem(place, found, f"the same within {tolerance:g}", fix))


def _seeded_states(model: LanguageModel, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    return model.states(ids, positions)
