"""The model of a run without its weights: on the meta device, where tensors have shapes and no memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.formats.tokenizer import Tokenizer
from trainers.adapters import add_adapters
from trainers.freezing import freezing_of
from trainers.lineage import Base
from trainers.model import require_positions, tiny_llama, told_why_not
from trainers.recipe import TrainRecipe
from trainers.recipe.tuning import VIRTUAL
from trainers.vocabulary import add_rows


@dataclass(frozen=True)
class EmptyModel:
    """A model without weights, with what the recipe trains."""

    causal: Any
    """The model of transformers, adapters inside."""
    base_parameters: int
    trained: tuple[int, ...]
    """Numbers in each tensor that is ever trained: for full the model's own, else new ones."""
    linears: int
    """Numbers in the linear layers that QLoRA keeps in 4 bits: all but the head."""


def empty_base(base: Base, tokenizer: Tokenizer, row_tokens: int) -> Any:
    """Return the base on the meta device, with a row for every id.

    Raises InputError for a folder of another kind, for ids it has no row for, for rows longer than it has positions.
    """
    rows = base.new_rows
    while base.parent is not None:  # an adapter is merged into it
        base = base.parent
        rows = (*base.new_rows, *rows)
    with torch.device("meta"):
        if base.tiny is not None:
            return tiny_llama(base.tiny, tokenizer, row_tokens, 0)
        assert base.folder is not None
        model = _of_folder(base.folder)
    add_rows(model, rows, tokenizer.meta.vocab_size)
    require_positions(model.config, base.folder, row_tokens)
    return model.train()


def empty_model(base: Base, recipe: TrainRecipe, tokenizer: Tokenizer, row_tokens: int) -> EmptyModel:
    """Return the base with the recipe's adapters and freezing; raises InputError or RecipeError as training would."""
    causal = empty_base(base, tokenizer, row_tokens)
    shapes = [parameter.numel() for parameter in causal.parameters()]
    head = causal.get_output_embeddings()
    linears = sum(m.weight.numel() for m in causal.modules() if isinstance(m, torch.nn.Linear) and m is not head)
    tuning = recipe.tuning
    if tuning.method in VIRTUAL:
        causal.requires_grad_(False)
        # What is learnt in front of the documents asks for the gradients of all states.
        causal.get_input_embeddings().register_forward_hook(lambda _module, _ids, out: out.requires_grad_())
        return EmptyModel(causal, sum(shapes), (_virtual(causal, tuning.method, tuning.virtual_tokens),), linears)
    freezing = freezing_of(causal, recipe)
    plain = tuning.model_copy(update={"method": "lora"}) if tuning.method == "qlora" else tuning
    with torch.device("meta"):
        trained = add_adapters(causal, plain, recipe.seed, base.new_rows).trained()
    for name in list(trained):
        if freezing is not None and freezing.opens_at(freezing.depths[name]) is None:
            trained.pop(name).requires_grad_(False)
    return EmptyModel(causal, sum(shapes), tuple(parameter.numel() for parameter in trained.values()), linears)


def _of_folder(folder: Path) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    with told_why_not(folder):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def _virtual(causal: Any, method: str, virtual_tokens: int) -> int:
    """Return the numbers in learnt embeddings [virtual_tokens, H], or keys and values of all layers."""
    config, width = causal.config, int(causal.get_input_embeddings().weight.shape[1])
    if method == "prompt":
        return virtual_tokens * width
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head_width = getattr(config, "head_dim", None) or width // heads
    return int(2 * config.num_hidden_layers * virtual_tokens * key_heads * head_width)
