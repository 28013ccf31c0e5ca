"""A tokenizer folder: the tokenizer's own file, and provender.json beside it says what it is.

tokenizers/<digest>/
    provender.json                         kind, digest, vocab_size, special ids, reserved control slots
    tokenizer.model | tokenizer.json       SentencePiece model, or Hugging Face tokenizers file

Text is encoded without adding anything and without ever turning text into special or control tokens, so nobody can
forge one by writing it; BOS, EOS and control tokens are inserted as ids.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import Field, ValidationError

from engine.base.atomic import read_json, write_json
from engine.base.errors import InputError, problem
from engine.base.hashing import digest_file, digest_json
from engine.base.stage import StrictModel

META = "provender.json"
FILES = {"sentencepiece": "tokenizer.model", "huggingface": "tokenizer.json"}


class TokenizerMeta(StrictModel):
    """What a tokenizer is; ids are positions in the vocabulary."""

    kind: str = Field(description="sentencepiece or huggingface")
    digest: str = Field(description="digest of the tokenizer's own file and its special ids")
    vocab_size: int = Field(description="number of ids")
    eos_id: int = Field(description="the id every document ends with")
    bos_id: int | None = Field(default=None, description="the id some models want in front; not inserted by default")
    control_slots: dict[str, int] = Field(default_factory=dict, description="reserved control tokens: piece -> id")


class Encoder(Protocol):
    """Encodes texts; implementations release the GIL."""

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return one int32 array of ids per text."""


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer that can encode."""

    meta: TokenizerMeta
    folder: Path
    encode: Encoder

    @property
    def id_dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every id."""
        return np.dtype(np.uint16 if self.meta.vocab_size <= 1 << 16 else np.uint32)


def describe(
    folder: Path, kind: str, vocab_size: int, eos_id: int, bos_id: int | None, slots: dict[str, int]
) -> TokenizerMeta:
    """Write provender.json for the tokenizer file in `folder` and return it."""
    meta = TokenizerMeta(
        kind=kind,
        digest=_digest(folder / FILES[kind], eos_id, bos_id, slots),
        vocab_size=vocab_size,
        eos_id=eos_id,
        bos_id=bos_id,
        control_slots=slots,
    )
    write_json(folder / META, meta.model_dump())
    return meta


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load a tokenizer folder; raises InputError where it is not one, or its file changed since it was described."""
    if not (folder / META).is_file():
        raise InputError(problem(folder, f"no {META}", "a tokenizer folder", "train or add the tokenizer again"))
    try:
        meta = TokenizerMeta.model_validate(read_json(folder / META))
    except ValidationError as error:
        fix = "name the model instead: tokenizer: {model: NAME}; provender models list shows them"
        raise InputError(problem(folder / META, "it describes no tokenizer", "a tokenizer folder", fix)) from error
    if meta.kind not in FILES:
        raise InputError(problem(folder, f"tokenizer kind '{meta.kind}'", " or ".join(FILES)))
    path = folder / FILES[meta.kind]
    if not path.is_file() or _digest(path, meta.eos_id, meta.bos_id, meta.control_slots) != meta.digest:
        raise InputError(
            problem(path, "missing, or not the file that was described", fix="train or add the tokenizer again")
        )
    return Tokenizer(meta, folder, file_encoder(meta.kind, path))


def file_encoder(kind: str, path: Path) -> Encoder:
    """Return the encoder of a tokenizer's own file; `kind` is a key of FILES. Errors are those of its library."""
    return _sentencepiece(path) if kind == "sentencepiece" else _huggingface(path)


def decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Return the text of `ids`; special tokens are shown."""
    return decode_batch(tokenizer, [[int(i) for i in ids]])[0]


def decode_batch(tokenizer: Tokenizer, sequences: Sequence[list[int]]) -> list[str]:
    """Return the text of each sequence of ids; special tokens are shown."""
    return _decoder(tokenizer.meta.kind, tokenizer.folder / FILES[tokenizer.meta.kind])(list(sequences))


@lru_cache(maxsize=2)
def _decoder(kind: str, path: Path) -> Callable[[list[list[int]]], list[str]]:
    if kind == "sentencepiece":
        import sentencepiece

        decode_all: Callable[[list[list[int]]], list[str]] = sentencepiece.SentencePieceProcessor(
            model_file=str(path)
        ).decode
        return decode_all
    import tokenizers

    return partial(tokenizers.Tokenizer.from_file(str(path)).decode_batch, skip_special_tokens=False)


def _digest(path: Path, eos_id: int, bos_id: int | None, slots: dict[str, int]) -> str:
    return digest_json({"file": digest_file(path), "eos": eos_id, "bos": bos_id, "slots": slots})


def _sentencepiece(path: Path) -> Encoder:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def encode(texts: Sequence[str]) -> list[np.ndarray]:
        return [np.asarray(ids, dtype=np.int32) for ids in processor.encode(list(texts), num_threads=1)]

    return encode


def _huggingface(path: Path) -> Encoder:
    import tokenizers

    model = tokenizers.Tokenizer.from_file(str(path))
    # Special tokens written in a text stay text: they are split like any other characters.
    model.encode_special_tokens = True
    # A file may ask for texts to be cut short, filled up, or split at random.
    model.no_truncation()
    model.no_padding()
    if getattr(model.model, "dropout", None) is not None:
        model.model.dropout = None

    def encode(texts: Sequence[str]) -> list[np.ndarray]:
        # The fast one gives the same ids and leaves out where they stand in the text.
        encoded = model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(e.ids, dtype=np.int32) for e in encoded]

    return encode
