"""The model of a run: from scratch, from a folder, or from an earlier run; always loaded as fp32, cast later.

Loading as fp32 is what lets masters be cloned before the cast to bf16 (trainers.optim).
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem
from engine.formats.base_model import digest_model
from engine.formats.tokenizer import Tokenizer
from trainers.adapters import open_adapter
from trainers.lineage import ADAPTER_FILE, Base, weights_digest
from trainers.recipe import TinyConfig
from trainers.vocabulary import add_rows

BIG_PARAMETERS = 50_000_000
"""From here on bf16 pays: a Llama of 2.5 million parameters ran at 0.6 of its fp32 speed in bf16 on a CPU with AMX."""
NEEDED = "a causal language model of transformers"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def load_base(
    base: Base, tokenizer: Tokenizer, row_tokens: int, seed: int, load: Callable[[Path], Any] | None = None
) -> Any:
    """Return a transformers causal language model in fp32, on the CPU, in training mode, with a row for every token.

    `row_tokens`: positions of the longest row, learnt ones counted; `seed`: of a tiny base. `load` replaces
    `load_folder`, and may choose another type and device. Raises InputError where the folder is no such model, or not
    what it was, or the mixture has ids beyond its embeddings.
    """
    if base.tiny is not None:
        return tiny_llama(base.tiny, tokenizer, row_tokens, seed)
    assert base.folder is not None
    if (base.folder / ADAPTER_FILE).is_file():
        assert base.parent is not None
        before = base.adapter_tokenizer or tokenizer
        below = load_base(base.parent, before, row_tokens, base.parent.seed, load)
        model = open_adapter(below, base.folder).merge_and_unload()
    else:
        model = (load or load_folder)(base.folder)
    if base.kind == "model" and digest_model(base.folder) != base.digest:
        fix = f"add the model again: provender models add {base.folder}"
        raise InputError(problem(base.folder, f"model '{base.name}' changed since it was added", fix=fix))
    if base.kind == "run" and weights_digest(base.folder) != base.digest:
        fix = "restore them from a copy, or train the run again"
        raise InputError(problem(base.folder, "these are not the weights the run ended with", "its own weights", fix))
    add_rows(model, base.new_rows, tokenizer.meta.vocab_size)
    require_positions(model.config, base.folder, row_tokens)
    return model.train()


def require_positions(config: Any, folder: Path, row_tokens: int) -> None:
    """Raise InputError where the mixture's rows, learnt positions counted, are longer than the model's context."""
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and row_tokens > longest:
        found = f"the model knows {longest:,} positions, the mixture's rows need {row_tokens:,}"
        raise InputError(
            problem(
                folder,
                found,
                "rows that fit",
                f"make row_tokens of the mixture {row_tokens - longest:,} smaller, or more",
            )
        )


def tiny_llama(tiny: TinyConfig, tokenizer: Tokenizer, row_tokens: int, seed: int) -> Any:
    """Return a Llama of these sizes with weights from the seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=tokenizer.meta.vocab_size,
        hidden_size=tiny.hidden_size,
        num_hidden_layers=tiny.layers,
        num_attention_heads=tiny.heads,
        num_key_value_heads=tiny.heads,
        intermediate_size=tiny.intermediate_size,
        max_position_embeddings=row_tokens,
        tie_word_embeddings=True,
        # The usual 0.02 suits wide models. Measured at width 192 after 160 steps of 1,024 tokens: 6.10 against 6.43.
        initializer_range=tiny.hidden_size**-0.5,
        bos_token_id=tokenizer.meta.bos_id,
        eos_token_id=tokenizer.meta.eos_id,
        pad_token_id=None,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config).float().train()


def load_folder(folder: Path, dtype: torch.dtype = torch.float32, **how: Any) -> Any:
    """Return the causal language model of a Hugging Face folder, its weights as `dtype`.

    `how`: further arguments of from_pretrained. Raises InputError where it is none, or its weights are quantised.
    """
    from transformers import AutoModelForCausalLM

    hide_progress()
    if quantised := _quantisation(folder):
        kind = quantised.get("quant_method", "an unknown method") if isinstance(quantised, dict) else quantised
        fix = "use the model it was made from; method qlora quantises it while loading"
        raise InputError(problem(folder, f"its weights are quantised already ({kind})", "plain weights", fix))
    with told_why_not(folder):
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **how,
        )
    # transformers would draw them at random and only warn.
    if missing := sorted(found["missing_keys"]):
        raise InputError(problem(folder, f"{len(missing)} weights are missing, {missing[0]} among them", NEEDED))
    # Many bases call EOS their pad token, and torch gives the row of a padding index no gradient: nothing is padded by
    # id here, so there is none, or what ends the turns of a chat would never be learnt as an input.
    model.get_input_embeddings().padding_idx = None
    return model


@contextmanager
def told_why_not(folder: Path) -> Iterator[None]:
    """Raise InputError for what the libraries raise where they cannot read a model's folder."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(problem(folder, f"cannot be loaded ({reason})", NEEDED)) from error


def _quantisation(folder: Path) -> Any:
    try:
        return read_json(folder / "config.json").get("quantization_config")
    except (OSError, ValueError):  # what is wrong with the file, transformers says
        return None


def hide_progress() -> None:
    """Keep the bars of transformers off stderr: they know nothing of our display there."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def choose_device() -> torch.device:
    """Return the accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(precision: str, num_parameters: int, device: torch.device) -> torch.dtype:
    """Return the type of the working weights; auto, for big models: bf16 where it is fast, else fp16 on CUDA."""
    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if num_parameters < BIG_PARAMETERS:
        return torch.float32
    if _has_fast_bf16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else torch.float32


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # AMX, not AVX512_BF16: with that alone a step of SmolLM2-135M takes 1.5 times as long as in fp32.
    return bool(torch.cpu._is_amx_tile_supported())


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of giving it back to the system.

    Every step frees and asks again for the same buffers of megabytes; as fresh pages they cost a fifth of the time of
    a small model on a CPU (measured: 5,100 instead of 4,200 tokens a second). Nothing happens with another C library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    # Older ones take no more than 32 MiB; were neither set, the second setting alone would slow things down.
    if mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 1 << 25):
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
