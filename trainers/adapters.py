"""Which parameters are trained: all, or new ones inside or in front of the model, by peft.

lora    low-rank adapters on every linear of attention and MLP (Hu et al. 2021, arXiv:2106.09685)
qlora   the same; the base comes in NF4 (trainers.quantised)
ia3     learnt scales of keys, values and the MLP's inner width (Liu et al. 2022, arXiv:2205.05638)
prompt  learnt embeddings in front of every document (Lester et al. 2021, arXiv:2104.08691)
prefix  learnt keys and values in front of every document (Li and Liang 2021, arXiv:2101.00190)
"""

import importlib
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from engine.base.errors import InputError, RecipeError, problem
from trainers.language_model import LanguageModel
from trainers.new_rows import NewRow
from trainers.recipe import TuningConfig
from trainers.recipe.tuning import LOW_RANK
from trainers.virtual_tokens import start_from_activations
from trainers.vocabulary import trained_beside

LLAMA_IA3 = ("k_proj", "v_proj", "down_proj")
LLAMA_IA3_FEEDFORWARD = ("down_proj",)


def add_adapters(model: Any, tuning: TuningConfig, seed: int, rows: Sequence[NewRow] = ()) -> LanguageModel:
    """Return the language model with what `tuning` trains: all of it, or adapters.

    The adapters are put into `model` in place, in fp32; its own weights are frozen, but for the new `rows`, which train
    beside them. Deterministic in `seed`. Raises InputError or RecipeError where the model has no place for them.
    """
    if tuning.method == "full":
        model.requires_grad_(True)
        return LanguageModel(model)
    peft = _peft()
    model.requires_grad_(False)
    config = _low_rank(peft, model, tuning, rows) if tuning.method in LOW_RANK else _config(peft, model, tuning)
    torch.manual_seed(seed)
    try:
        adapted = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        found = f"peft has no place for it in a {type(model).__name__} ({error})"
        has_dropout = "dropout" in str(error)  # experts, which are no linear layers, take none
        fix = "set dropout: 0" if has_dropout else "use another method, or full"
        raise InputError(problem(f"tuning: {tuning.method}", found, fix=fix)) from error
    if tuning.method == "prefix":
        start_from_activations(adapted, seed)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return LanguageModel(model, adapted)


def open_adapter(model: Any, folder: Path) -> Any:
    """Return the PeftModel of `model` and the adapter of a PEFT folder, whose numbers stay fp32."""
    return _peft().PeftModel.from_pretrained(model, folder)


def _low_rank(peft: Any, model: Any, tuning: TuningConfig, rows: Sequence[NewRow]) -> Any:
    layers = _linear_layers(model)
    if not layers:
        found = f"a {type(model).__name__} has no linear layers besides its head"
        raise InputError(problem(f"tuning: {tuning.method}", found, "layers to adapt", "use method prompt or full"))
    name, smallest = min(layers.items(), key=lambda item: (item[1], item[0]))
    if tuning.r > smallest:
        found, fix = f"got {tuning.r}, and {name} has a rank of at most {smallest}", f"set r: {smallest}, or less"
        raise RecipeError(problem("tuning.r", found, f"at most {smallest}", fix))
    return peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=tuning.r,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules="all-linear",  # every linear but the head
        trainable_token_indices=trained_beside(model, rows),
    )


def _config(peft: Any, model: Any, tuning: TuningConfig) -> Any:
    if tuning.method == "ia3":
        names = {name.rpartition(".")[2] for name in _linear_layers(model)}
        # Other models: what peft knows for their type; a ValueError of it where it knows nothing.
        where = {"target_modules": list(LLAMA_IA3), "feedforward_modules": list(LLAMA_IA3_FEEDFORWARD)}
        return peft.IA3Config(task_type="CAUSAL_LM", **(where if names.issuperset(LLAMA_IA3) else {}))
    number = tuning.virtual_tokens
    if tuning.method == "prefix":
        return peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=number)
    # From the embeddings of tokens: N(0, 1), which is peft's other start, is far from any of them.
    start = "SAMPLE_VOCAB"
    return peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=number, prompt_tuning_init=start)


def _linear_layers(model: Any) -> dict[str, int]:
    """Return the highest rank of every linear layer's weight but the head's, by name."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    found = {}
    for name, module in model.named_modules():
        if module is head:
            continue
        if isinstance(module, torch.nn.Linear):  # in 4 bits its weight has another shape
            found[name] = min(module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            found[name] = min(module.weight.shape)
    return found


def _peft() -> Any:
    # What it and bitsandbytes behind it say on import is about kernels and names that are not used here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    return importlib.import_module("peft")
