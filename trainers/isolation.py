"""The proof at the start of every run: documents that share a row cannot see each other, with this very model.

transformers keeps packed documents apart only if neither an attention mask nor a cache comes into play, and says
nothing where they do: training then goes on with a loss that is ruined (measured: 4.34 instead of 2.41). Layers that
carry a state along the row (linear attention, state-space models, convolutions) keep nothing apart. So nothing is taken
on trust. On a real row of the schedule, with padding behind it, on every rank:

1. every token of every other document is replaced, then of those between: no state of the documents left as they are
   may change (bit-equal on a CPU). What passes from one document to another passes to its neighbour, so two passes try
   all of them, and the padding;
2. the loss of the packed row must be that of its documents, one by one, through the model's own forward pass; this also
   proves the head and its loss (trainers.losses) for models that do more after their last layer.
"""

from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch

from engine.base.errors import AuditError, problem
from engine.formats.training_rows import TrainingRows
from trainers.attention import KINDS
from trainers.data import MicroBatch, micro_batches
from trainers.language_model import LanguageModel

LOSS_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""Largest relative difference between packed and unpacked loss; bf16 rounds to 3 digits and was seen at 5e-4."""
STATES_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}
"""Largest change of a state, as a share of the largest state, where products of other sizes round differently: on
CUDA, and among experts, whose share of tokens depends on all documents. A leak moves states by tenths."""
STEPS_SEARCHED = 64
PADDING = 4
"""Tokens of padding behind the row."""


@torch.no_grad()
def prove_isolation(model: LanguageModel, rows: TrainingRows, device: torch.device) -> dict[str, Any]:
    """Return what was compared; raises AuditError where a document can see another, or the loss is not the model's.

    The model stays in its mode: with dropout all passes draw the same numbers.
    """
    step, batch = _row_of_several(rows)
    place = f"{rows.mixture.reference}, step {step}"
    batch = batch.to(device)
    precision = _compare_perturbed(model, batch, place)
    _compare_unpacked(model, batch, place, precision)
    spans = len(batch.edges) - 1
    return {
        "step": step,
        "spans": spans,
        "packed_equals_unpacked": True,
        "documents_isolated": spans > 1,
        "precision": str(precision).removeprefix("torch."),
    }


def _row_of_several(rows: TrainingRows) -> tuple[int, MicroBatch]:
    """Return the row of most spans in the first step with a row of several; of step 0 where the first have none."""
    for step in [*range(min(rows.num_steps, STEPS_SEARCHED)), 0]:
        found = rows.step(step)
        counts = np.bincount(found.row_number)
        if counts.max() > 1:
            break
    singles = micro_batches(found, rows.store.meta.eos_id, 1)
    return step, next(islice(singles, int(np.argmax(counts)), None))


def _compare_perturbed(model: LanguageModel, batch: MicroBatch, place: str) -> torch.dtype:
    """Return the type the model computes in."""
    padding = torch.arange(PADDING, device=batch.ids.device)[None]
    ids = torch.cat([batch.ids, torch.zeros_like(padding)], 1)
    positions = torch.cat([batch.positions, padding], 1)
    documents = (positions == 0).cumsum(1) - 1
    before = _seeded_states(model, ids, positions)
    allowed = 0.0
    if before.device.type != "cpu" or any("expert" in key for key in vars(model.causal.config)):
        allowed = STATES_TOLERANCE[before.dtype] * float(before.abs().max())
    for parity in (0, 1):
        is_changed = documents % 2 == parity
        after = _seeded_states(model, torch.where(is_changed, (ids + 1) % model.head.shape[0], ids), positions)
        moved = (after.float() - before.float()).abs().amax(-1).masked_fill(is_changed, 0.0)
        difference = float(moved.max())
        if not difference <= allowed:
            seen = int(documents.flatten()[moved.argmax()])
            found = f"changing other documents of a row moves the states of its document {seen} by {difference:.3g}"
            raise AuditError(problem(place, found, _needed(model.causal.config), "set packed: false"))
    return before.dtype


def _needed(config: Any) -> str:
    kinds = {*(getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or [])}
    others = ", ".join(sorted(kinds - KINDS - {"attention"}))
    why = f"; {config.model_type} has layers that carry a state along the row ({others})" if others else ""
    return f"documents of one row that cannot see each other{why}"


def _compare_unpacked(model: LanguageModel, batch: MicroBatch, place: str, precision: torch.dtype) -> None:
    was_training = model.training
    model.eval()
    packed, _ = model(batch)
    alone, ids = 0.0, batch.ids.flatten()
    for start, stop in pairwise(batch.edges.tolist()):
        inside = (batch.predictors >= start) & (batch.predictors < stop)
        if bool(inside.any()):
            logits = model.library_logits(ids[None, start:stop])[0].float()
            chosen = logits[batch.predictors[inside] - start]
            alone += float(torch.nn.functional.cross_entropy(chosen, batch.labels[inside], reduction="sum"))
    model.train(was_training)
    tolerance = LOSS_TOLERANCE[precision]
    if not abs(float(packed) - alone) <= tolerance * max(alone, 1.0):
        found = f"loss {float(packed):.4f} nats for the packed row, {alone:.4f} for its documents one by one"
        fix = "use an architecture whose logits are its last states times the head"
        raise AuditError(problem(place, found, f"the same within {tolerance:g}", fix))


def _seeded_states(model: LanguageModel, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    return model.states(ids, positions)
