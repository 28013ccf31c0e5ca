"""What a run leaves behind, loaded again by plain transformers or peft and asked the same as the trained model.

Weights under other names, a head that was tied and is not, an adapter that loads and does nothing: none of them is an
error of a library, and all of them are seen here, from a few logits.
"""

from pathlib import Path
from typing import Any

import torch

from engine.base.errors import AuditError, problem
from trainers.model import load_folder

MOST_TOKENS = 48
TOLERANCE = {torch.float32: 1e-4}
OF_OTHERS = 2e-2
"""Largest difference of two logits as a share of the largest logit, for weights or sums of two bytes."""
RELOADED = "reloaded"


@torch.no_grad()
def require_same_logits(saved: Any, folder: Path, ids: torch.Tensor) -> float:
    """Return the largest relative difference of logits between the trained model and what `folder` holds.

    saved: the model of transformers or the PeftModel that was saved; ids: int64[1, T], the first MOST_TOKENS are asked.
    An adapter is loaded a second time into the model it was trained in, so no second base is held in memory; a whole
    model is compared, and left, in fp32. Raises
    AuditError where the difference is more than rounding.
    """
    device = next(saved.parameters()).device
    ids = ids[:, :MOST_TOKENS].to(device)
    is_adapter = hasattr(saved, "peft_config")
    if not is_adapter:
        saved.float()  # what is frozen may still be bf16 beside masters in fp32, and no layer takes both
    saved.eval()
    trained = _logits(saved, ids)
    if is_adapter:
        # In fp32, as it is stored and trained, whatever the base is.
        saved.load_adapter(folder, adapter_name=RELOADED, torch_device=str(device), autocast_adapter_dtype=True)
        saved.set_adapter(RELOADED)
        again = _logits(saved.eval(), ids)
        saved.set_adapter("default")
        saved.delete_adapter(RELOADED)
    else:
        again = _logits(load_folder(folder).to(device).eval(), ids)
    largest = float(trained.abs().max())
    difference = float((trained - again).abs().max()) / max(largest, 1e-6)
    if not difference <= TOLERANCE.get(next(saved.parameters()).dtype, OF_OTHERS):
        found = f"loaded again it gives other logits: they differ by {difference:.3g} of the largest"
        fix = "keep the run's checkpoints and report this, with the architecture of the base"
        raise AuditError(problem(folder.name, found, "the model that was trained", fix))
    return difference


def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.float()
