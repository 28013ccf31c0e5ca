"""How a trained model is asked and when it stops: chat template, stop tokens and pad token beside its weights.

The pad token is needed by who runs batches, not by training, which masks by length. One that is EOS teaches whoever
masks by pad id that nothing ever ends, so the base's own is kept only where it is another; then a reserved token is
taken; EOS is the last resort, and run.json says what was done.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.base.atomic import read_json, write_json
from engine.formats.huggingface_tokenizer import chat_template_in
from engine.formats.manifest import Manifest
from engine.formats.tokenizer import Tokenizer, special_pieces
from trainers.lineage import ADAPTER_FILE, Base
from trainers.template_checks import CONFIG, template_of, token_in

TEMPLATE, SPECIAL_MAP, GENERATION = "chat_template.jinja", "special_tokens_map.json", "generation_config.json"
RESERVED_NAMES = ("reserved", "unused", "extra")
"""Words in the names of tokens that stand for nothing, after those that are called a pad token."""


def generation_facts(manifest: Manifest, tokenizer: Tokenizer, base: Base, stop_ids: Sequence[int]) -> dict[str, Any]:
    """Return what run.json says of how the model is asked: template, stop_tokens, pad_token.

    stop_ids: what ends the answers of the mixture's chats; EOS always ends a text.
    """
    pieces, eos = special_pieces(tokenizer), tokenizer.meta.eos_id
    stops = dict.fromkeys([*stop_ids, eos])
    return {
        "template": template_of(manifest),
        "stop_tokens": [{"token": _piece(pieces, number), "id": number} for number in stops],
        "pad_token": choose_pad(tokenizer, base, stops),
    }


def choose_pad(tokenizer: Tokenizer, base: Base, stops: Sequence[int] | dict[int, None]) -> dict[str, Any]:
    """Return token, id and `how` (the base's, reserved, or EOS) of the pad token.

    A token that stands for something is never taken: not what ends answers, BOS, or a control token of the mixture.
    """
    pieces, meta = special_pieces(tokenizer), tokenizer.meta
    taken = {*stops, meta.eos_id, meta.bos_id, *meta.control_tokens.values()}
    free = {piece: number for number, piece in pieces.items() if number not in taken}
    named_in = (token_in(folder, "pad_token") for folder in _folders(base, tokenizer))
    own = next((token for token in named_in if token is not None), None)
    if own in free:
        return {"token": own, "id": free[own], "how": "the base's"}
    slots = [piece for piece in meta.control_slots if piece in free]
    named = [piece for piece in free if "pad" in piece.lower()]
    reserved = [piece for word in RESERVED_NAMES for piece in free if word in piece.lower()]
    for piece in (*named, *reversed(slots), *reversed(reserved)):
        why = f"the base's is {own}, which ends what it writes" if own is not None else "the base has none"
        return {"token": piece, "id": free[piece], "how": f"reserved: {why}"}
    how = "EOS, for no token is free: mask padding by length, never by its id"
    return {"token": _piece(pieces, meta.eos_id), "id": meta.eos_id, "how": how}


def write_generation(
    folder: Path, facts: dict[str, Any], chat_template: str | None, tokenizer: Tokenizer, base: Base
) -> None:
    """Write chat template, pad token and generation_config.json beside the tokenizer and weights in `folder`.

    chat_template: Jinja of the mixture's chats (StoreMeta); None: there are none, and the base's stays.
    """
    template = chat_template if chat_template is not None else _template_of_base(tokenizer, base)
    if template is not None:
        (folder / TEMPLATE).write_text(template, encoding="utf-8")
    pad = facts["pad_token"]["token"]
    if (folder / CONFIG).is_file():
        config = read_json(folder / CONFIG)
        config.pop("chat_template", None)  # the file of its own is what counts, and two may differ
        write_json(folder / CONFIG, config | {"pad_token": pad})
    if (folder / SPECIAL_MAP).is_file():
        write_json(folder / SPECIAL_MAP, read_json(folder / SPECIAL_MAP) | {"pad_token": pad})
    of_base = base.folder / GENERATION if base.folder is not None else None
    kept = read_json(of_base) if of_base is not None and of_base.is_file() else {}
    before = kept.get("eos_token_id")
    stops = [stop["id"] for stop in facts["stop_tokens"]]
    more = before if isinstance(before, list) else [] if before is None else [before]
    content = kept | {
        "bos_token_id": tokenizer.meta.bos_id,
        "eos_token_id": list(dict.fromkeys([*stops, *more])),
        "pad_token_id": facts["pad_token"]["id"],
    }
    write_json(folder / GENERATION, {key: value for key, value in content.items() if value is not None})


def _template_of_base(tokenizer: Tokenizer, base: Base) -> str | None:
    found = (chat_template_in(folder) for folder in _folders(base, tokenizer))
    return next((one for one in found if one is not None), None)


def _folders(base: Base, tokenizer: Tokenizer) -> list[Path]:
    """Return where the base's own files may lie, those of the newest run first."""
    found = []
    one: Base | None = base
    while one is not None:
        found += [one.folder] if one.folder is not None else []
        one = one.parent if one.folder is not None and (one.folder / ADAPTER_FILE).is_file() else None
    return [*found, tokenizer.folder]


def _piece(pieces: dict[int, str], number: int) -> str:
    return pieces.get(number, f"id {number}")
