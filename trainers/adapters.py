"""Which parameters are trained: all, or low-rank adapters on every linear of attention and MLP (LoRA, by peft)."""

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from trainers.recipe import TuningConfig


def add_adapters(model: Any, tuning: TuningConfig, seed: int) -> Any:
    """Return what is trained and saved: the model itself (method full), or a PeftModel around it.

    The adapters are put into `model` in place, in fp32; its own weights are frozen. Deterministic in `seed`.
    """
    if tuning.method == "full":
        model.requires_grad_(True)
        return model
    peft = _peft()
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=tuning.r,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules="all-linear",  # every linear but the head
    )
    return peft.get_peft_model(model, config, autocast_adapter_dtype=False)


def merge_adapter(model: Any, folder: Path) -> Any:
    """Return `model` with the adapter of a PEFT folder merged into its weights, in memory."""
    return _peft().PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False).merge_and_unload()


def _peft() -> Any:
    # What it and bitsandbytes behind it say on import is about kernels and names that are not used here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    return importlib.import_module("peft")


def trained_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that training changes, by name; tied ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
