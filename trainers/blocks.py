"""How the blocks of a model run: their activations computed twice instead of kept, and compiled."""

from typing import Any

import torch

from engine.base.errors import InputError, ResourceError, problem
from trainers.attention import DOCUMENTS

BIG = 7e9
"""Parameters above which activations are computed twice unless the recipe says otherwise."""


def blocks_of(causal: Any) -> tuple[str, torch.nn.ModuleList]:
    """Return name and list of the blocks of a model of transformers: the outermost with as many modules as layers.

    Raises InputError where it has none.
    """
    wanted, body = getattr(causal.config, "num_hidden_layers", None), set(causal.base_model.modules())
    found = [
        (name, module)
        for name, module in causal.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == wanted and module in body
    ]
    if not found:
        message = f"{type(causal).__name__} has no list of {wanted} blocks"
        raise InputError(problem("base", message, "a model of transformers with a ModuleList of its blocks"))
    return min(found, key=lambda pair: pair[0].count("."))


def wants_checkpointing(given: bool | None, num_parameters: int | None) -> bool:
    """Return whether activations are computed twice; `given` by the recipe, None: for big models."""
    return (num_parameters or 0) > BIG if given is None else given


def checkpoint_blocks(causal: Any) -> None:
    """Let every block keep its input only and run again in the backward pass, with the same dropout.

    Raises InputError where the model cannot.
    """
    if not causal.supports_gradient_checkpointing:
        found = f"{type(causal).__name__} cannot compute activations twice"
        raise InputError(problem("gradient_checkpointing", found, fix="set gradient_checkpointing: false"))
    # transformers renamed it within version 5.
    enable = getattr(causal, "activation_checkpointing_enable", None) or causal.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    # For reentrant checkpoints it lets the embeddings' output have a gradient, even where nothing below is trained.
    causal.disable_input_require_grads()


def is_checkpointing(causal: Any) -> bool:
    """Whether activations of a model are computed twice."""
    return any(getattr(module, "gradient_checkpointing", False) for module in causal.modules())


def compile_blocks(causal: Any) -> None:
    """Compile each block in place (names of parameters stay); equal blocks share the compiled code.

    Attention by documents stays outside: code with it holds for one number of documents, and after eight of them torch
    gives up. Raises ResourceError where no C++ compiler works.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from transformers import AttentionInterface

    try:
        get_cpp_compiler()
    except RuntimeError as error:
        fix = "install g++ (or name a compiler in CXX), or set compile: false"
        raise ResourceError(problem("compile", "torch.compile finds no C++ compiler that works", fix=fix)) from error
    if causal.config._attn_implementation == DOCUMENTS:
        AttentionInterface.register(DOCUMENTS, torch.compiler.disable(AttentionInterface()[DOCUMENTS]))  # type: ignore[no-untyped-call]
    for block in blocks_of(causal)[1]:
        block.compile()
