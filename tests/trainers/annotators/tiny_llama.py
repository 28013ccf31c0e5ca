"""A tiny Llama with a byte-level tokenizer, as a Hugging Face folder."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM

POSITIONS = 96
BOS = "<bos>"
_TEXT = "the cat sat on the mat and the dog ran after the hat that the man had in his hand\n"


def write_tokenizer(folder: Path, with_bos: bool = False, vocab_size: int = 300) -> Tokenizer:
    """Write tokenizer.json: all bytes, merges of a few English words, a special token at the end."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([_TEXT] * 5, trainer)
    tokenizer.add_special_tokens([BOS])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    if with_bos:
        template = [(BOS, tokenizer.token_to_id(BOS))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=template)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def write_model(folder: Path, with_bos: bool = False, seed: int = 0, **config: Any) -> Path:
    """Write a model whose predictions depend strongly on what stands before, and its tokenizer."""
    options: dict[str, Any] = {
        "vocab_size": 304,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
    }
    torch.manual_seed(seed)
    LlamaForCausalLM(LlamaConfig(**options | config)).save_pretrained(folder)
    write_tokenizer(folder, with_bos)
    return folder
