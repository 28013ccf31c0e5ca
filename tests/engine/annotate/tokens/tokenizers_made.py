"""Small tokenizers of every kind, made for the tests.

Tests take these functions by path, because files of tests are not importable:

    made = runpy.run_path(str(PATH / "tokenizers_made.py"))
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

SPECIAL = "<|endoftext|>"


def sentencepiece_file(path: Path, texts: Iterable[str], vocab_size: int, **options: Any) -> Path:
    """Train a SentencePiece model with the library's own defaults and write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as model:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=model, vocab_size=vocab_size, minloglevel=2, num_threads=1,
            **{"model_type": "bpe", "byte_fallback": True, "hard_vocab_limit": False} | options,
        )  # fmt: skip
    return path


def huggingface_file(path: Path, texts: Iterable[str], vocab_size: int) -> Path:
    """Train a byte-level BPE with one special token and write its tokenizer.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = tokenizers.Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[SPECIAL], initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator(texts, trainer)
    model.save(str(path))
    return path


def character_file(path: Path, whole_words: Iterable[str] = ()) -> Path:
    """Write a tokenizer.json that splits at white space and every other word into its characters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    characters = [chr(number) for number in range(33, 0x250)]
    merges, pieces = [], list(characters)
    for word in whole_words:
        for end in range(2, len(word) + 1):
            if word[:end] not in pieces:
                pieces.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    vocabulary = {piece: number for number, piece in enumerate(["[UNK]", *pieces])}
    model = tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token="[UNK]"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    model.save(str(path))
    return path
