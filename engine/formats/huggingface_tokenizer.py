"""A tokenizer.json: opened so that no text becomes a marker, and copied with added tokens renamed or new.

The tokenizers library leaves special tokens alone that a text spells (`encode_special_tokens`), but matches all other
added tokens, and a Unigram or WordLevel model has its special tokens among the pieces it looks up.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base.atomic import read_json
from engine.formats.markers import is_marker

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
"""What transformers reads beside tokenizer.json."""
_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
# U+FDD0 and U+FDD1 are no characters and stand in no text that was ever meant for exchange.
_OUT_OF_REACH = "\ufdd0{}\ufdd1"


def chat_template_in(folder: Path) -> str | None:
    """Return the chat template (Jinja) that transformers would use from a folder, None where it has none."""
    # A file of its own counts before the configuration.
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    path = folder / "tokenizer_config.json"
    found = read_json(path).get("chat_template") if path.is_file() else None
    if isinstance(found, list):
        found = {one["name"]: one["template"] for one in found}.get("default")
    return found if isinstance(found, str) else None


def open_for_text(path: Path, is_continuation: bool = False) -> "Tokenizer":
    """Return the tokenizer with every marker special, none of them reachable from text; ids stay as they are.

    What a file may ask for besides is switched off: to cut texts short, to fill them up, to split them at random, and
    with `is_continuation` to put a space in front.
    """
    import tokenizers

    model = tokenizers.Tokenizer.from_file(str(path))
    if is_continuation:
        model = tokenizers.Tokenizer.from_str(json.dumps(_without_prefix(json.loads(model.to_str()))))
    special = special_pieces_of(model)
    _mark(model, special)
    if _reached(model, special):
        content = _out_of_reach(json.loads(model.to_str()), special)
        model = tokenizers.Tokenizer.from_str(json.dumps(content))
        _mark(model, special_pieces_of(model))
    return model


def special_pieces_of(model: "Tokenizer") -> dict[int, str]:
    """Return id -> piece of the special tokens and of the added tokens that are markers; the unknown token is text."""
    unknown = _unknown(model)
    added = model.get_added_tokens_decoder()
    return {
        number: token.content
        for number, token in sorted(added.items())
        if (token.special or is_marker(token.content)) and token.content != unknown
    }


def unmarked_pieces_of(model: "Tokenizer") -> list[str]:
    """Return the markers that the file does not mark as special, by id; transformers matches them in texts."""
    added = model.get_added_tokens_decoder()
    return [piece for number, piece in special_pieces_of(model).items() if not added[number].special]


def with_control_tokens(
    content: Mapping[str, Any], renamed: Mapping[str, str], numbers: Mapping[str, int]
) -> dict[str, Any]:
    """Return the content of a tokenizer.json with control tokens.

    renamed: added token -> its new name. numbers: every control token -> its id; where the file has none of that name
    it is new. All of them are special and are never normalised.
    """
    model = dict(content["model"])
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {renamed.get(piece, piece): number for piece, number in vocabulary.items()}
    else:
        model["vocab"] = [[renamed.get(piece, piece), score] for piece, score in vocabulary]
    old = [token | {"content": renamed.get(token["content"], token["content"])} for token in content["added_tokens"]]
    known = {token["content"] for token in old}
    new = [{"id": number, "content": piece} for piece, number in numbers.items() if piece not in known]
    added = [token | _PLAIN if token["content"] in numbers else token for token in [*old, *new]]
    return {**content, "added_tokens": sorted(added, key=lambda token: token["id"]), "model": model}


def with_merges(content: Mapping[str, Any], pairs: Sequence[tuple[int, int]], added: Sequence[str]) -> dict[str, Any]:
    """Return the content of a BPE tokenizer.json with merges behind all others.

    pairs: of ids, in their order; the piece that pair i makes is `added[i]`, with the next id behind the vocabulary.
    """
    model = dict(content["model"])
    # The library numbers added tokens by the size of the vocabulary, unless they stand in it with their own ids.
    vocabulary = dict(model["vocab"]) | {token["content"]: token["id"] for token in content["added_tokens"]}
    first = max(vocabulary.values()) + 1
    pieces = {number: piece for piece, number in vocabulary.items()}
    pieces |= {first + position: piece for position, piece in enumerate(added)}
    new = [(pieces[left], pieces[right]) for left, right in pairs]
    old = model["merges"]
    if old and isinstance(old[0], str):  # as before tokenizers 0.20
        old = [tuple(merge.split(" ")) for merge in old]
        as_strings = not any(" " in piece for pair in new for piece in pair)
        merges = [" ".join(pair) if as_strings else list(pair) for pair in (*old, *new)]
    else:
        merges = [*old, *(list(pair) for pair in new)]
    vocabulary |= {piece: first + position for position, piece in enumerate(added)}
    return {**content, "model": model | {"vocab": vocabulary, "merges": merges}}


def config_with_control_tokens(content: Any, renamed: Mapping[str, str], numbers: Mapping[str, int]) -> Any:
    """Return a tokenizer_config.json or special_tokens_map.json in which the same tokens are renamed or new."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [changed(inner) for inner in value]
        return renamed.get(value, value) if isinstance(value, str) else value

    found = changed(content)
    if isinstance(found, dict) and "added_tokens_decoder" in found:
        found["added_tokens_decoder"] |= {str(n): {"content": piece, **_PLAIN} for piece, n in numbers.items()}
    return found


def _without_prefix(content: dict[str, Any]) -> dict[str, Any]:
    """Return the tokenizer without what puts a space in front of a text."""
    return content | {key: _part_without_prefix(content.get(key)) for key in ("normalizer", "pre_tokenizer")}


def _part_without_prefix(part: dict[str, Any] | None) -> dict[str, Any] | None:
    if part is None or part["type"] == "Prepend":
        return None
    found = part | {"prepend_scheme": "never"} if "prepend_scheme" in part else dict(part)
    if "add_prefix_space" in part:
        found["add_prefix_space"] = False
    for key in {"normalizers", "pretokenizers"} & part.keys():
        found[key] = [one for one in map(_part_without_prefix, part[key]) if one is not None]
    return found


def _mark(model: "Tokenizer", special: Mapping[int, str]) -> None:
    import tokenizers

    model.add_special_tokens([tokenizers.AddedToken(p, special=True, normalized=False) for p in special.values()])
    # Special tokens written in a text stay text: they are split like any other characters.
    model.encode_special_tokens = True
    model.no_truncation()
    model.no_padding()
    if getattr(model.model, "dropout", None) is not None:
        model.model.dropout = None


def _reached(model: "Tokenizer", special: Mapping[int, str]) -> bool:
    """Whether the spelling of some special token still becomes it."""
    encoded = model.encode_batch_fast(list(special.values()), add_special_tokens=False)
    return any(not special.keys().isdisjoint(one.ids) for one in encoded)


def _out_of_reach(content: dict[str, Any], special: Mapping[int, str]) -> dict[str, Any]:
    """Return the tokenizer with its special tokens called what no text spells; only for encoding."""
    hidden = {piece: _OUT_OF_REACH.format(number) for number, piece in special.items()}
    found = with_control_tokens(content, hidden, {hidden[piece]: number for number, piece in special.items()})
    if merges := found["model"].get("merges"):
        # A merge that ends in a special token, or starts from one, is what reached it.
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
        kept = [m for m, (a, b) in zip(merges, pairs, strict=True) if hidden.keys().isdisjoint((a, b, a + b))]
        found["model"] = found["model"] | {"merges": kept}
    return found


def _unknown(model: "Tokenizer") -> str | None:
    if type(model.model).__name__ != "Unigram":
        unknown: str | None = getattr(model.model, "unk_token", None)
        return unknown
    number = json.loads(model.to_str())["model"]["unk_id"]
    return None if number is None else model.id_to_token(number)
