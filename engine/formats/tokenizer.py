"""A tokenizer folder: the tokenizer's own file, and provender.json beside it says what it is.

tokenizers/<digest>/
    provender.json                         kind, digest, vocab_size, special ids, control tokens and free slots for them
    tokenizer.model | tokenizer.json       SentencePiece model, or Hugging Face tokenizers file

Text is encoded without adding anything and without ever turning text into special or control tokens, so nobody can
forge one by writing it; BOS, EOS and control tokens are inserted as ids. What is special: engine.formats.markers.
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
from engine.base.hashing import digest_file, digest_json, short
from engine.base.stage import StrictModel
from engine.formats.huggingface_tokenizer import open_for_text, special_pieces_of, unmarked_pieces_of
from engine.formats.sentencepiece_model import for_text

META = "provender.json"
FILES = {"sentencepiece": "tokenizer.model", "huggingface": "tokenizer.json"}
AGAIN = "run the recipe again, which makes it anew; that of a base model comes back with `provender models add`"


class TokenizerMeta(StrictModel):
    """What a tokenizer is; ids are positions in the vocabulary."""

    kind: str = Field(description="sentencepiece or huggingface")
    digest: str = Field(description="digest of the tokenizer's own file, its special ids and its control tokens")
    vocab_size: int = Field(description="number of ids")
    eos_id: int = Field(description="the id every document ends with")
    bos_id: int | None = Field(default=None, description="the id some models want in front; not inserted by default")
    control_slots: dict[str, int] = Field(default_factory=dict, description="reserved control tokens: piece -> id")
    parent: str | None = Field(
        default=None, description="digest of the tokenizer this is a copy of; ids of all other pieces are the same"
    )
    control_tokens: dict[str, int] = Field(default_factory=dict, description="tags of a recipe: piece -> id")
    slots: dict[str, str | None] = Field(
        default_factory=dict, description="tag -> the piece of the parent whose id it took; null: its id is new"
    )
    pieces: dict[str, list[int]] = Field(
        default_factory=dict,
        description="pieces behind the parent's vocabulary, in the order of ids: piece -> the ids of the parent it is",
    )
    beside: str | None = Field(
        default=None, description="digest of the files beside the parent that were copied too; null: there were none"
    )


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
    meta = TokenizerMeta(kind=kind, digest="", vocab_size=vocab_size, eos_id=eos_id, bos_id=bos_id, control_slots=slots)
    return write_meta(folder, meta)


def write_meta(folder: Path, meta: TokenizerMeta) -> TokenizerMeta:
    """Write provender.json with the digest the tokenizer has, and return it."""
    meta = meta.model_copy(update={"digest": meta_digest(digest_file(folder / FILES[meta.kind]), meta)})
    write_json(folder / META, meta.model_dump())
    return meta


def meta_digest(file_digest: str, meta: TokenizerMeta) -> str:
    """Return the digest of a tokenizer whose own file has this digest."""
    content: dict[str, Any] = {"file": file_digest, "eos": meta.eos_id, "bos": meta.bos_id, "slots": meta.control_slots}
    if meta.parent is not None:
        content |= {"parent": meta.parent, "control_tokens": meta.control_tokens, "taken": meta.slots}
    if meta.pieces:
        content["pieces"] = list(meta.pieces.values())
    if meta.beside is not None:
        content["beside"] = meta.beside
    return digest_json(content)


def control_tokens_told(meta: TokenizerMeta) -> list[dict[str, Any]]:
    """Return what --json says of each control token: token, id, slot (null: the id is new), in their order."""
    return [{"token": token, "id": number, "slot": meta.slots[token]} for token, number in meta.control_tokens.items()]


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load a tokenizer folder; raises InputError where it is not one, or its file changed since it was described."""
    if not (folder / META).is_file():
        raise InputError(problem(folder, f"no {META}", "a tokenizer folder", AGAIN))
    try:
        meta = TokenizerMeta.model_validate(read_json(folder / META))
    except ValidationError as error:
        fix = "name the model instead: tokenizer: {model: NAME}; provender models list shows them"
        raise InputError(problem(folder / META, "it describes no tokenizer", "a tokenizer folder", fix)) from error
    if meta.kind not in FILES:
        raise InputError(problem(folder, f"tokenizer kind '{meta.kind}'", " or ".join(FILES)))
    path = folder / FILES[meta.kind]
    if not path.is_file() or meta_digest(digest_file(path), meta) != meta.digest:
        fix = f"restore it from a copy; or, if it lies in a workspace, delete its folder and {AGAIN}"
        raise InputError(problem(path, "missing, or not the file that was described", fix=fix))
    return Tokenizer(meta, folder, file_encoder(meta.kind, path))


def pointed_at(pointer: Path) -> Path | None:
    """Return the tokenizer folder that a small file beside it leads to; None where either is gone."""
    folder = pointer.parent / short(read_json(pointer)["tokenizer"]) if pointer.is_file() else None
    return folder if folder is not None and (folder / META).is_file() else None


def file_encoder(kind: str, path: Path) -> Encoder:
    """Return the encoder of a tokenizer's own file; `kind` is a key of FILES. Errors are those of its library."""
    return _sentencepiece(path) if kind == "sentencepiece" else _huggingface(path)


def special_pieces(tokenizer: Tokenizer) -> dict[int, str]:
    """Return id -> piece of everything that stands for structure and never comes out of a text, in the order of ids.

    Special and control tokens, and markers a file does not mark as such (engine.formats.markers). The token for unknown
    characters is text.
    """
    return dict(_decoder_of(tokenizer).special)


def markers_as_text(tokenizer: Tokenizer) -> list[str]:
    """Return the markers that are encoded as plain text here, but matched in texts by transformers, in order of ids.

    Those a tokenizer.json has as added tokens with `special: false`, such as `<think>`.
    """
    if tokenizer.meta.kind != "huggingface":
        return []
    import tokenizers

    return unmarked_pieces_of(tokenizers.Tokenizer.from_file(str(tokenizer.folder / FILES["huggingface"])))


def decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Return the text of `ids`; special tokens are shown as their pieces."""
    return decode_batch(tokenizer, [[int(i) for i in ids]])[0]


def decode_batch(tokenizer: Tokenizer, sequences: Sequence[list[int]], special: str | None = None) -> list[str]:
    """Return the text of each sequence of ids.

    special: what stands for special tokens; None: their pieces. What is between them is decoded on its own, as it was
    encoded, so that a space in front of a text is kept or left out as if nothing stood before it.
    """
    decoder = _decoder_of(tokenizer)
    runs = [_runs(ids, decoder.special) for ids in sequences]
    texts = iter(decoder.decode([run for of_one in runs for run in of_one if run[0] not in decoder.special]))

    def shown(run: list[int]) -> str:
        if run[0] not in decoder.special:
            return next(texts)
        return decoder.special[run[0]] if special is None else special

    return ["".join(shown(run) for run in of_one) for of_one in runs]


@dataclass(frozen=True)
class _Decoder:
    """What a tokenizer's own file decodes."""

    special: dict[int, str]
    decode: Callable[[list[list[int]]], list[str]]
    """Texts of sequences without special tokens."""


def _runs(ids: list[int], special: dict[int, str]) -> list[list[int]]:
    """Return the sequence in parts: each special token alone, and what is between them."""
    runs, start = [], 0
    for place in [place for place, number in enumerate(ids) if number in special]:
        runs += [ids[start:place], ids[place : place + 1]]
        start = place + 1
    return [run for run in [*runs, ids[start:]] if run]


def _decoder_of(tokenizer: Tokenizer) -> _Decoder:
    meta = tokenizer.meta
    return _decoder(meta.kind, tokenizer.folder / FILES[meta.kind], meta.digest)


@lru_cache(maxsize=4)
def _decoder(kind: str, path: Path, digest: str) -> _Decoder:  # noqa: ARG001 - a file that changed is read again
    if kind == "sentencepiece":
        import sentencepiece

        model = sentencepiece.SentencePieceProcessor(model_proto=for_text(path.read_bytes()))
        ids = range(model.get_piece_size())
        return _Decoder({i: model.id_to_piece(i) for i in ids if model.is_control(i)}, model.decode)
    import tokenizers

    plain = tokenizers.Tokenizer.from_file(str(path))
    return _Decoder(special_pieces_of(plain), partial(plain.decode_batch, skip_special_tokens=False))


def _sentencepiece(path: Path) -> Encoder:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=for_text(path.read_bytes()))

    def encode(texts: Sequence[str]) -> list[np.ndarray]:
        return [np.asarray(ids, dtype=np.int32) for ids in processor.encode(list(texts), num_threads=1)]

    return encode


def _huggingface(path: Path) -> Encoder:
    model = open_for_text(path)

    def encode(texts: Sequence[str]) -> list[np.ndarray]:
        # The fast one gives the same ids and leaves out where they stand in the text.
        encoded = model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(e.ids, dtype=np.int32) for e in encoded]

    return encode
