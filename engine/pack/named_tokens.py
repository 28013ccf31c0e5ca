"""What the files of a published tokenizer name: pieces and ids that stand for something, whatever they are called.

A model may fill up with `<|reserved_special_token_0|>`, or its chats may begin with `<|extra_1|>`: such a piece is no
free slot, and to rename it would leave a template with a name that nothing has.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem
from engine.base.hashing import digest_file, digest_json
from engine.formats.huggingface_tokenizer import BESIDE
from engine.formats.tokenizer import FILES, Tokenizer

_JSON = ("chat_template.json", "config.json", "generation_config.json", "processor_config.json")
_TEMPLATES = ("*.jinja", "additional_chat_templates/*.jinja")
_IDS = re.compile(r"(?:.*_)?token_(?:ids?|index)")
# Both list tokens without saying what they are for; Mistral's list all its spare ones.
_LISTS = ("added_tokens_decoder", "additional_special_tokens")


def naming_digest(beside: Path) -> str | None:
    """Return the digest of the files in `beside` that name tokens; None where there are none."""
    files = {str(path.relative_to(beside)): digest_file(path) for path in _naming_files(beside)}
    return digest_json(files) if files else None


def named_tokens(tokenizer: Tokenizer, beside: Path) -> tuple[str, set[int]]:
    """Return all strings in which pieces may be named, in one, and the ids that are named.

    beside: folder of tokenizer_config.json, config.json, chat templates and the like. Raises InputError where one of
    them is no JSON.
    """
    meta, path = tokenizer.meta, tokenizer.folder / FILES[tokenizer.meta.kind]
    ids = {number for number in (meta.eos_id, meta.bos_id) if number is not None}
    if meta.kind == "sentencepiece":
        contents: list[Any] = []
        ids |= _sentencepiece_ids(path)
    else:
        contents = [_without_vocabulary(read_json(path))]
    for file in _naming_files(beside):
        contents.append(_json(file) if file.suffix == ".json" else file.read_text("utf-8", "replace"))
    ids |= {number for content in contents for number in _ids(content)}
    return "\n".join(text for content in contents for text in _strings(content)), ids


def _naming_files(beside: Path) -> list[Path]:
    named = [path for path in (beside / name for name in (*BESIDE, *_JSON)) if path.is_file()]
    return sorted({*named, *(path for pattern in _TEMPLATES for path in beside.glob(pattern))})


def _json(file: Path) -> Any:
    try:
        return read_json(file)
    except ValueError as error:
        raise InputError(problem(file, f"not JSON ({error})", "what transformers reads beside a tokenizer")) from error


def _sentencepiece_ids(path: Path) -> set[int]:
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return {model.unk_id(), model.bos_id(), model.eos_id(), model.pad_id()}


def _without_vocabulary(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a tokenizer.json says beside the list of its tokens: templates, padding, the unknown token."""
    model = {key: value for key, value in content["model"].items() if key not in ("vocab", "merges")}
    return {key: value for key, value in content.items() if key != "added_tokens"} | {"model": model}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in _LISTS or isinstance(inner, str):
                yield str(key)
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _ids(value: Any) -> Iterator[int]:
    """Yield the ids under keys such as eos_token_id, at any depth: a number, or a list of them."""
    if isinstance(value, list):
        for inner in value:
            yield from _ids(inner)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if _IDS.fullmatch(key):
            found = inner if isinstance(inner, list) else [inner]
            yield from (number for number in found if type(number) is int)
        else:
            yield from _ids(inner)
