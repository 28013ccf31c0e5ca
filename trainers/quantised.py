"""A base in 4 bits, for QLoRA: NF4 with double quantisation (Dettmers et al. 2023, arXiv:2305.14314), by bitsandbytes.

peft.prepare_model_for_kbit_training is not used: it casts embeddings and head to fp32, which for a vocabulary of 128
thousand and a width of 4,096 is a gigabyte for each, and switches reentrant checkpointing on. Here the matrices of the
blocks become NF4, everything else stays in the type the model computes in (norms compute in fp32 inside themselves),
nothing of the base is trained, and adapters are fp32 masters like every trained parameter.
"""

import logging
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.base.atomic import TEMPORARY_PREFIX, read_json
from engine.base.errors import InputError, problem
from engine.formats.tokenizer import Tokenizer
from trainers.lineage import ADAPTER_FILE, Base
from trainers.model import load_base, load_folder


def load_quantised(
    base: Base, tokenizer: Tokenizer, row_tokens: int, seed: int, dtype: torch.dtype, device: torch.device
) -> Any:
    """Return a base in NF4 on `device`, in training mode, nothing of it trained; everything but NF4 has type `dtype`.

    A base that no folder holds as it is (tiny, an adapter's result, one that needs new rows) is made in memory and goes
    through a temporary folder. Raises InputError as `load_base` does, and where the head or nothing would be quantised.
    """
    load = partial(_load_nf4, dtype=dtype, device=device)
    if is_whole(base, tokenizer):
        model = load_base(base, tokenizer, row_tokens, seed, load)
    else:
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as scratch:
            made = load_base(base, tokenizer, row_tokens, seed).to(dtype)
            made.should_save_on_this_rank = lambda _: True  # else transformers leaves the folders of other ranks empty
            made.save_pretrained(scratch)
            model = load(Path(scratch))
    require_plain_head(model, base.name)
    return model.train().requires_grad_(False)


def is_whole(base: Base, tokenizer: Tokenizer) -> bool:
    """Whether the base's folder holds its weights, with a row for every token."""
    folder = base.folder
    if folder is None or (folder / ADAPTER_FILE).is_file() or not (folder / "config.json").is_file():
        return False
    rows = read_json(folder / "config.json").get("vocab_size")
    return isinstance(rows, int) and rows >= tokenizer.meta.vocab_size


def _load_nf4(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    from transformers import BitsAndBytesConfig

    # What it says on import is about a kernel for inference that is not used here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    model = load_folder(folder, dtype, quantization_config=config, device_map={"": device})
    quantised = quantised_layers(model)
    if not quantised:
        fix = "use method lora, which needs no quantised base"
        raise InputError(problem(folder, "it has no linear layer that can be quantised", "linear layers", fix))
    for layer in quantised:
        # A pass in eval mode would repack the weights of a CPU with AVX512-BF16 for a kernel without a gradient, and
        # leave them so: training after the first probe would go on without gradients in front of the layer.
        layer.support_avx512bf16_for_cpu = False
    return model


def quantised_layers(model: torch.nn.Module) -> list[Any]:
    """Return the layers of a model that hold 4-bit weights."""
    from bitsandbytes.nn import Linear4bit

    return [module for module in model.modules() if isinstance(module, Linear4bit)]


def require_plain_head(model: Any, place: str) -> None:
    """Raise InputError where the output layer is quantised: the loss multiplies with its weight (trainers.losses)."""
    head = model.get_output_embeddings()
    if head is None or not head.weight.is_floating_point():
        found = "its output layer has no plain weight" if head is None else "its output layer would be quantised"
        raise InputError(problem(place, found, "an output layer in floating point", "use method lora on this base"))
