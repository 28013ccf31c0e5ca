"""Which parameters are trained: all, or low-rank adapters on every linear of attention and MLP (LoRA, by peft)."""

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from trainers.language_model import LanguageModel
from trainers.recipe import TuningConfig


def add_adapters(model: Any, tuning: TuningConfig, seed: int) -> LanguageModel:
    """Return the language model with what `tuning` trains: all of it, or adapters.

    The adapters are put into `model` in place, in fp32; its own weights are frozen. Deterministic in `seed`.
    """
    if tuning.method == "full":
        model.requires_grad_(True)
        return LanguageModel(model)
    peft = _peft()
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=tuning.r,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules="all-linear",  # every linear but the head
    )
    return LanguageModel(model, peft.get_peft_model(model, config, autocast_adapter_dtype=False))


def merge_adapter(model: Any, folder: Path) -> Any:
    """Return `model` with the adapter of a PEFT folder merged into its weights, in memory."""
    return _peft().PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False).merge_and_unload()


def _peft() -> Any:
    # What it and bitsandbytes behind it say on import is about kernels and names that are not used here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    return importlib.import_module("peft")
