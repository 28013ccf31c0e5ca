"""Which tokenizer a recipe names, and how one is trained or taken over from a model.

A trained tokenizer is a SentencePiece model (Kudo & Richardson 2018) that loses nothing: no normalisation, every space
and line break kept, unknown characters as bytes, and no dummy space in front, so that `decode(encode(text)) == text`.
One character is the exception: U+2581, which SentencePiece uses inside for the space, comes back as a space. Training
runs in one thread; the same texts and the same configuration give the same bytes.

Special and control tokens are CONTROL pieces: no text, whatever it says, is ever encoded to them.
"""

import heapq
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from engine.base.atomic import atomic_file, read_json
from engine.base.errors import InputError, RecipeError, problem
from engine.base.hashing import digest_bytes, seeded_order
from engine.base.stage import StrictModel
from engine.formats.tokenizer import FILES, TokenizerMeta, describe
from engine.pack.extend_tokenizer import TokenizerExtension

UNK_ID, BOS_ID, EOS_ID, PAD_ID = range(4)
CONTROL_PIECE = "<|control:{}|>"
_CONTROL_PATTERN = re.compile(r"<\|control:[0-9]+\|>")
_CHARACTER_COVERAGE = 0.9995
_LONGEST_LINE_BYTES = 1 << 30
# SentencePiece skips a line that holds a tab or a null byte; both are single byte tokens anyway, like the line break.
_LINE_ENDS = re.compile("[\n\t\0]+")


class TokenizerTraining(StrictModel):
    """A tokenizer trained on kept documents of the recipe."""

    sources: list[str] = Field(min_length=1, description="sources whose kept documents it is trained on")
    vocab_size: int = Field(
        ge=264, le=1_000_000, description="number of ids, 256 bytes and the special tokens included"
    )
    control_slots: int = Field(
        default=16, ge=0, le=4096, description="reserved control tokens, <|control:0|> and so on"
    )
    model_type: Literal["bpe", "unigram"] = Field(default="bpe", description="kind of SentencePiece model")
    max_bytes: int = Field(
        default=20_000_000, ge=1, description="bytes of text to train on; more is sampled, whole texts"
    )
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of the sample")


class TokenizerConfig(StrictModel):
    """The tokenizer of a recipe: trained here, that of a model, or a folder; extended for a domain where asked."""

    train: TokenizerTraining | None = Field(default=None, description="train one on documents of this recipe")
    model: str | None = Field(default=None, description="name of an added model, whose tokenizer is used")
    path: str | None = Field(default=None, description="tokenizer folder, relative to the recipe")
    extend: TokenizerExtension | None = Field(
        default=None, description="pieces for a domain, added behind the vocabulary; BPE only"
    )

    @model_validator(mode="after")
    def _is_one_way(self) -> "TokenizerConfig":
        named = [key for key in ("train", "model", "path") if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(
                f"names {', '.join(named) or 'no tokenizer'}; exactly one of train, model and path is needed"
            )
        return self


def train_tokenizer(texts: Iterable[str], config: TokenizerTraining, folder: Path) -> TokenizerMeta:
    """Train on `texts`, write the tokenizer's files into `folder` and return what it is; the caller adds the receipt.

    Where the texts exceed `max_bytes`, a seeded sample of whole texts is used, which depends on their content and not
    on their order; the model itself sees them in the order given (that of doc_id). Raises RecipeError where the
    vocabulary does not suit the texts.
    """
    import sentencepiece

    model = io.BytesIO()
    sample = sample_texts(texts, config.max_bytes, config.seed)
    lines = (line for text in sample for line in _LINE_ENDS.split(text) if line)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines, model_writer=model, **_trainer_options(config)
        )
    except RuntimeError as error:
        raise RecipeError(_training_problem(str(error), config)) from error
    with atomic_file(folder / FILES["sentencepiece"]) as temporary:
        temporary.write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    slots = {piece: processor.piece_to_id(piece) for piece in map(CONTROL_PIECE.format, range(config.control_slots))}
    return describe(folder, "sentencepiece", processor.get_piece_size(), EOS_ID, BOS_ID, slots)


def sample_texts(texts: Iterable[str], max_bytes: int, seed: int) -> list[str]:
    """Return the texts that come first in a seeded order of their contents, as many as fit into `max_bytes`.

    In the order given. A text longer than `max_bytes` is never taken. Never holds more than `max_bytes` and one text.
    """
    chosen: list[tuple[int, int, str, int]] = []  # a heap, the last of the seeded order on top
    total, cutoff = 0, 1 << 64
    for position, text in enumerate(texts):
        data = text.encode()
        order = seeded_order(seed, digest_bytes(data))
        if len(data) > max_bytes or order >= cutoff:
            continue
        heapq.heappush(chosen, (-order, position, text, len(data)))
        total += len(data)
        while total > max_bytes:
            negative_order, _, _, size = heapq.heappop(chosen)
            total, cutoff = total - size, -negative_order
    return [text for _, _, text, _ in sorted(chosen, key=lambda entry: entry[1])]


def import_huggingface(model_folder: Path, folder: Path) -> TokenizerMeta:
    """Take over the tokenizer of a Hugging Face model folder and return what it is; the caller adds the receipt.

    Truncation and padding are switched off, for both would change documents silently. The end-of-document id is that of
    tokenizer_config.json, else generation_config.json, else config.json (of several the first). Control slots are the
    special tokens named <|control:N|>. Raises InputError where there is no tokenizer.json or no end-of-document id.
    """
    import tokenizers

    path = model_folder / FILES["huggingface"]
    if not path.is_file():
        raise InputError(
            problem(model_folder, "no tokenizer.json", "a Hugging Face model folder with a fast tokenizer")
        )
    content = read_json(path) | {"truncation": None, "padding": None}
    with atomic_file(folder / FILES["huggingface"]) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    vocabulary = tokenizers.Tokenizer.from_file(str(folder / FILES["huggingface"])).get_vocab(with_added_tokens=True)
    eos_id = _special_id(model_folder, "eos", vocabulary)
    if eos_id is None:
        fix = "add eos_token to tokenizer_config.json"
        raise InputError(
            problem(model_folder, "no end-of-document token", "eos_token or eos_token_id in a config file", fix)
        )
    special = {token["content"] for token in content.get("added_tokens", ()) if token.get("special")}
    slots = {piece: i for piece, i in vocabulary.items() if piece in special and _CONTROL_PATTERN.fullmatch(piece)}
    slots = dict(sorted(slots.items(), key=lambda item: item[1]))
    bos_id = _special_id(model_folder, "bos", vocabulary)
    return describe(folder, "huggingface", max(vocabulary.values()) + 1, eos_id, bos_id, slots)


def _trainer_options(config: TokenizerTraining) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "model_type": config.model_type,
        "control_symbols": [CONTROL_PIECE.format(slot) for slot in range(config.control_slots)],
        "unk_id": UNK_ID,
        "bos_id": BOS_ID,
        "eos_id": EOS_ID,
        "pad_id": PAD_ID,
        "byte_fallback": True,
        "character_coverage": _CHARACTER_COVERAGE,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "allow_whitespace_only_pieces": True,
        "max_sentence_length": _LONGEST_LINE_BYTES,
        "num_threads": 1,
        "minloglevel": 2,
    }


def _training_problem(message: str, config: TokenizerTraining) -> str:
    place = "tokenizer.train"
    if match := re.search(r"too high \(\d+\).*<= (\d+)", message):
        needed = f"at most {match[1]}, which is all these texts give"
        return problem(f"{place}.vocab_size", str(config.vocab_size), needed, "lower it or name more sources")
    if match := re.search(r"required_chars\. \d+ vs (\d+)", message):
        needed = f"at least {match[1]}: the characters of these texts, 256 bytes and the special tokens"
        return problem(f"{place}.vocab_size", str(config.vocab_size), needed, "raise it")
    if "sentences_.empty()" in message:
        found = f"no text of at most {config.max_bytes} bytes in the sources {', '.join(config.sources)}"
        return problem(place, found, fix="name other sources or raise max_bytes")
    return problem(place, f"SentencePiece could not train on these texts ({message})")


def _special_id(model_folder: Path, which: str, vocabulary: dict[str, int]) -> int | None:
    token = _config(model_folder, "tokenizer_config.json").get(f"{which}_token")
    if isinstance(token, dict):
        token = token.get("content")
    if token in vocabulary:
        return vocabulary[token]
    for name in ("generation_config.json", "config.json"):
        found = _config(model_folder, name).get(f"{which}_token_id")
        for number in found if isinstance(found, list) else [found]:
            if isinstance(number, int):
                return number
    return None


def _config(model_folder: Path, name: str) -> dict[str, Any]:
    path = model_folder / name
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}
