"""Ids for control tokens: a copy of a tokenizer in which free special slots, or new ids at the end, are the tags.

Tokenizers are published with spare special tokens that stand for nothing; a base model has rows for them. The copy
calls such a slot by the tag that took it, so it describes itself, and gives the same ids for all text.
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from engine.base.atomic import atomic_file, read_json, write_json
from engine.base.errors import InputError, RecipeError, problem
from engine.formats import huggingface_tokenizer, sentencepiece_model
from engine.formats.tokenizer import FILES, Tokenizer, TokenizerMeta, load_tokenizer, special_pieces, write_meta
from engine.pack.named_tokens import named_tokens, naming_digest

PLACE = "control_tokens"
FREE_SLOTS = {
    "<|control:N|>": "the tokenizers trained here (engine.pack.tokenizer)",
    "<|reserved_special_token_N|>": "Llama 3 (meta-llama/llama3, llama/tokenizer.py), SmolLM3",
    "<unusedN>": "Gemma (google/gemma_pytorch, tokenizer), KoGPT2",
    "[unusedN]": "ModernBERT (answerdotai/ModernBERT-base, added tokens); those of BERT are no added tokens",
    "[control_N]": "Mistral 7B v0.3 (mistralai/mistral-common, SentencePiece v2 and v3)",
    "<SPECIAL_N>": "Mistral NeMo and later (mistralai/mistral-common, tekken), Nemotron",
    "<|placeholderN|>": "Phi 3 (microsoft/Phi-3-mini-4k-instruct, added_tokens.json)",
    "<|extra_N|>": "Qwen 1 (QwenLM/Qwen, tokenization_note.md)",
    "<|extra_id_N|>": "OLMo 2 (allenai/dolma2-tokenizer)",
    "<|reserved_N|>": "gpt-oss (openai/harmony, o200k_harmony)",
    "<\uff5cplace\u2581holder\u2581no\u2581N\uff5c>": "DeepSeek V3 (deepseek-ai/DeepSeek-V3, tokenizer.json)",
}
"""How slots that stand for nothing are spelt (N: a number), and where. T5's `<extra_id_N>` are sentinels of its
training and InternLM2's `[UNUSED_TOKEN_N]` became markers of its chats, so neither is one."""
_SLOT = re.compile("|".join(re.escape(form).replace("N", "[0-9]+", 1) for form in FREE_SLOTS))


def free_slots(tokenizer: Tokenizer, beside: Path | None = None) -> dict[str, int]:
    """Return the special tokens of a tokenizer that stand for nothing: piece -> id, in the order of ids.

    beside: folder of the model's other files (default: the tokenizer's own). What they or the tokenizer's file name,
    as padding, an end, in a template, is not free.
    """
    text, ids = named_tokens(tokenizer, beside or tokenizer.folder)
    named = set(_SLOT.findall(text))
    slots = {piece: number for number, piece in special_pieces(tokenizer).items() if _SLOT.fullmatch(piece)}
    return {piece: number for piece, number in slots.items() if number not in ids and piece not in named}


def add_control_tokens(
    tokenizer: Tokenizer, tokens: Sequence[str], grow: bool, folder: Path, beside: Path | None = None
) -> TokenizerMeta:
    """Write a copy of `tokenizer` into `folder` in which each of `tokens` has an id of its own, and return what it is.

    A token that is in the vocabulary keeps its id; others take free slots in the order of ids, then new ids.
    beside: folder of what transformers reads beside it (default: the tokenizer's own); its files are copied too.
    Raises RecipeError where the slots are too few and it may not grow.
    """
    meta = tokenizer.meta
    there = _vocabulary(tokenizer)
    wanted = [token for token in tokens if token not in there]
    free = {piece: number for piece, number in free_slots(tokenizer, beside).items() if piece not in tokens}
    if not grow:
        require_slots(tokenizer, tokens, beside)
    renamed = dict(zip(free, wanted, strict=False))
    added = wanted[len(free) :]
    slot_of: dict[str, str | None] = {tag: slot for slot, tag in renamed.items()}
    numbers = {t: there[t] for t in tokens if t in there} | {tag: free[slot] for slot, tag in renamed.items()}
    numbers |= {tag: meta.vocab_size + position for position, tag in enumerate(added)}
    numbers = {token: numbers[token] for token in tokens}
    _write_copy(tokenizer, renamed, numbers, added, folder)
    _write_beside(beside or tokenizer.folder, renamed, numbers, folder)
    copy = TokenizerMeta(
        kind=meta.kind,
        digest="",
        vocab_size=meta.vocab_size + len(added),
        eos_id=meta.eos_id,
        bos_id=meta.bos_id,
        control_slots={piece: number for piece, number in meta.control_slots.items() if piece not in renamed},
        parent=meta.digest,
        control_tokens=numbers,
        slots={token: token if token in there else slot_of.get(token) for token in tokens},
        beside=naming_digest(beside or tokenizer.folder),
    )
    copy = write_meta(folder, copy)
    _require_ids(load_tokenizer(folder), tokenizer)
    return copy


def require_slots(tokenizer: Tokenizer, tokens: Sequence[str], beside: Path | None = None) -> None:
    """Raise RecipeError where a tokenizer that may not grow has too few free slots for `tokens`."""
    there = _vocabulary(tokenizer)
    wanted = sum(token not in there for token in tokens)
    free = len(free_slots(tokenizer, beside).keys() - set(tokens))
    if wanted > free:
        raise RecipeError(too_few_slots(PLACE, f"the tokenizer {tokenizer.meta.digest[:12]}", wanted, free))


def too_few_slots(place: str, name: str, wanted: int, free: int) -> str:
    """Return the message for a tokenizer that lacks free slots and may not grow."""
    found = f"{wanted} tokens and {free} free slots in {name}"
    fix = "write grow: true, which makes new ids, or tokenizer: {train: {control_slots: N}}, or name fewer labels"
    return problem(place, found, "a free slot for every token, because of grow: false", fix)


def _vocabulary(tokenizer: Tokenizer) -> dict[str, int]:
    path = tokenizer.folder / FILES[tokenizer.meta.kind]
    if tokenizer.meta.kind == "sentencepiece":
        pieces, _ = sentencepiece_model.read_pieces(path.read_bytes())
        return {piece.text: number for number, piece in enumerate(pieces)}
    import tokenizers

    vocabulary: dict[str, int] = tokenizers.Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
    return vocabulary


def _write_copy(
    tokenizer: Tokenizer, renamed: dict[str, str], numbers: dict[str, int], added: Sequence[str], folder: Path
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = FILES[tokenizer.meta.kind]
    path = tokenizer.folder / name
    if tokenizer.meta.kind == "sentencepiece":
        marked = [token for token in numbers if token not in added and token not in renamed.values()]
        copied = sentencepiece_model.with_control_pieces(path.read_bytes(), renamed, marked, added)
    else:
        content = huggingface_tokenizer.with_control_tokens(read_json(path), renamed, numbers)
        copied = json.dumps(content, ensure_ascii=False).encode()
    with atomic_file(folder / name) as temporary:
        temporary.write_bytes(copied)


def _write_beside(beside: Path, renamed: dict[str, str], numbers: dict[str, int], folder: Path) -> None:
    for path in (beside / name for name in huggingface_tokenizer.BESIDE):
        if path.is_file() and path.suffix == ".json":
            content = huggingface_tokenizer.config_with_control_tokens(read_json(path), renamed, numbers)
            write_json(folder / path.name, content)
        elif path.is_file():
            shutil.copyfile(path, folder / path.name)


def _require_ids(copy: Tokenizer, original: Tokenizer) -> None:
    """Raise InputError where the library gives a control token another id: a vocabulary with gaps cannot grow."""
    special = special_pieces(copy)
    for token, number in copy.meta.control_tokens.items():
        if special.get(number) != token:
            place = original.folder / FILES[original.meta.kind]
            found = f"'{token}' cannot get the id {number}, which is {special.get(number)!r}"
            raise InputError(problem(place, found, "ids without gaps", "use a tokenizer with free slots"))
