"""Options of a stage in words: what a pydantic model of a recipe's part takes, without the words of Python."""

import inspect
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from engine.base.stage import PartConfig, SourceConfig, StageConfig

_NOUNS: dict[Any, tuple[str, str]] = {
    str: ("text", "texts"),
    int: ("integer", "integers"),
    float: ("number", "numbers"),
    bool: ("true or false", "true or false"),
    Path: ("path", "paths"),
    Any: ("anything", "anything"),
}
"""One, many."""
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_SHARED = (*SourceConfig.model_fields, *StageConfig.model_fields)
_LAST = (*PartConfig.model_fields, *StageConfig.model_fields)


def options_of(config: type[BaseModel], files: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return name, type, required, default and description of every option but `stage`.

    Required ones come first, then the stage's own, then those of all stages; `as` and `field` stand last. Keys of a
    mapping inside follow it: `rules[].url`, `general.sources`. `files`: options whose texts are paths.
    """
    own = inspect.get_annotations(config)

    def rank(name: str, field: FieldInfo) -> int:
        if name in _LAST:
            return 4
        return 0 if field.is_required() else 1 if name in own else 3 if name in _SHARED else 2

    fields = [(name, field) for name, field in config.model_fields.items() if name != "stage"]
    ordered = sorted(fields, key=lambda item: rank(*item))
    return [option for name, field in ordered for option in _described(name, field, name in files, (config,))]


def _described(
    name: str, field: FieldInfo, is_path: bool, within: tuple[type[BaseModel], ...], place: str = ""
) -> Iterator[dict[str, Any]]:
    name = place + (field.alias or name)
    required = field.is_required()
    yield {
        "name": name,
        "type": type_in_words(field, is_path),
        "required": required,
        "default": None if required else to_jsonable_python(field.get_default(call_default_factory=True)),
        "description": field.description or "",
    }
    for suffix, model in models_inside(field.annotation):
        if model not in within:
            for key, inner in model.model_fields.items():
                yield from _described(key, inner, False, (*within, model), f"{name}{suffix}.")


def type_in_words(field: FieldInfo, is_path: bool = False) -> str:
    """Return what an option takes, with its limits: `list of texts`, `number, above 0, at most 1`."""
    words = _words(field.annotation, False, _NOUNS[Path] if is_path else _NOUNS[str])
    if not field.is_required() and field.default is not None and type(None) in _members(field.annotation):
        words += " or null"
    return ", ".join([words, *_limits(field.metadata)])


def _words(annotation: Any, many: bool, text: tuple[str, str]) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _words(inner[0], many, text)
    if origin is Literal:
        return _either("null" if value is None else str(value) for value in inner)
    if origin in (typing.Union, types.UnionType):
        return _either(_words(one, many, text) for one in inner if one not in (None, type(None)))
    if origin is tuple and Ellipsis not in inner:
        kinds = list(dict.fromkeys(_words(one, True, text) for one in inner))
        return f"list of {len(inner)} {kinds[0]}" if len(kinds) == 1 else f"list of {', '.join(kinds)}"
    kind = origin or annotation
    if isinstance(kind, type) and issubclass(kind, Mapping):
        key, value = (_words(one, False, text) for one in inner or (str, Any))
        return f"mapping {key} -> {value}"
    if isinstance(kind, type) and issubclass(kind, list | tuple | set | frozenset):
        return f"list of {_words(inner[0] if inner else Any, True, text)}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "mappings" if many else "mapping"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _either(str(one.value) for one in kind)
    noun = text if kind is str else _NOUNS.get(kind, (getattr(kind, "__name__", "anything"),) * 2)
    return noun[many]


def _either(words: Iterable[str]) -> str:
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last


def _limits(metadata: Iterable[Any]) -> Iterator[str]:
    for one in metadata:
        for sign, words in _LIMITS.items():
            if (limit := getattr(one, sign, None)) is not None:
                yield f"{words} {_number(limit)}"
        if (length := getattr(one, "min_length", None)) is not None:
            yield f"length at least {length}"
        if (length := getattr(one, "max_length", None)) is not None:
            yield f"length at most {length}"
        if (pattern := getattr(one, "pattern", None)) is not None:
            yield f"matching {pattern}"


def _number(limit: Any) -> str:
    # Limits of seeds are powers of two, which nobody recognises by their digits.
    is_power = isinstance(limit, int) and limit >= 1 << 31 and limit & (limit - 1) == 0
    return f"2^{limit.bit_length() - 1}" if is_power else str(limit)


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union; the null of a Literal is one of its words already."""
    return typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()


def models_inside(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the models inside a type, each with how its place is written: [] in a list, .* in a mapping."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and origin is None and issubclass(annotation, BaseModel):
        yield "", annotation
    elif origin is not Literal:
        is_mapping = isinstance(origin, type) and issubclass(origin, Mapping)
        suffix = ".*" if is_mapping else "[]" if origin in (list, tuple, set, frozenset) else ""
        for one in inner[:1] if origin is typing.Annotated else inner:
            yield from ((suffix + deeper, model) for deeper, model in models_inside(one))


def minimal(config: type[BaseModel], also: Iterable[str] = ()) -> dict[str, Any]:
    """Return the required options, and those of `also`, with placeholders in capitals where a text has to stand."""
    wanted = {name: field for name, field in config.model_fields.items() if field.is_required() or name in set(also)}
    return {field.alias or name: _placeholder(field, field.annotation, name) for name, field in wanted.items()}


def _placeholder(field: FieldInfo | None, annotation: Any, name: str) -> Any:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return _placeholder(field, next(one for one in inner if one is not type(None)), name)
    if origin is Literal:
        return inner[0]
    if origin is tuple and Ellipsis not in inner:
        return [_placeholder(None, one, name) for one in inner]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"NAME": _placeholder(None, inner[1], name)}
    if origin is not None:
        return [_placeholder(None, inner[0], name)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return minimal(annotation)
    if annotation in (int, float, bool):
        return annotation(1)
    # What has to be an identifier is a name of the user's own.
    is_identifier = any(getattr(one, "pattern", None) for one in (field.metadata if field else ()))
    return f"my_{name}" if is_identifier else name.upper()
