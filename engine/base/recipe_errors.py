"""Recipes in, messages out: YAML read strictly, and every mistake pydantic found told in the house form.

`file: key.path: got X. Needed: Y. Fix: did you mean 'z'?`

Stands in `base` because data recipes (engine) and train recipes (trainers) must speak alike.
"""

import re
import types
import typing
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from engine.base.errors import RecipeError, closest, problem

Model = TypeVar("Model", bound=BaseModel)

_MAPPING, _LIST, _INTEGER, _NUMBER = "a mapping of keys to values", "a list", "an integer", "a number"
_KINDS = {
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dict_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "int_type": _INTEGER,
    "int_parsing": _INTEGER,
    "int_from_float": _INTEGER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a string",
    "invalid_key": "a string as key",
}
"""What is needed, by pydantic's type of error, where its own words speak of Python."""


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Return the mapping a recipe file holds.

    Raises RecipeError for a file that is missing, is no YAML (names line and column), is no mapping, or writes a key
    twice (names both lines of each).
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(problem(path, f"cannot be read ({error})", "a recipe, a YAML file in UTF-8")) from error
    loader = _StrictLoader(text)
    try:
        content = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path.name}: line {mark.line + 1}, column {mark.column + 1}" if mark else path.name
        raise RecipeError(problem(place, f"no YAML: {error.problem or error.context}", "a recipe in YAML")) from error
    except yaml.YAMLError as error:
        raise RecipeError(problem(path.name, f"no YAML: {error}", "a recipe in YAML")) from error
    finally:
        loader.dispose()
    if loader.repeated:
        raise RecipeError(
            "\n".join(problem(f"{path.name}: {key}", lines, "each key once") for key, lines in loader.repeated)
        )
    if not isinstance(content, dict):
        raise RecipeError(problem(path.name, f"got {_shown(content)}", "a mapping of keys to values"))
    return content


def check(place: object, content: object, model: type[Model]) -> Model:
    """Return the checked model; raises one RecipeError that lists every mistake, one a line."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise RecipeError("\n".join(mistakes(place, error, model))) from error


def mistakes(place: object, error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one message per key that is wrong, in the order pydantic found them.

    `place` is the file, or a file and a key path (`demo.yaml: annotate[1]`) where `model` is only a part of it.
    """
    by_key: dict[str, list[_Mistake]] = {}
    for detail in error.errors(include_url=False):
        mistake = _describe(detail, model)
        by_key.setdefault(mistake.key, []).append(mistake)
    # A value that fits one member of a union but for something inside it fails the other members as a whole: noise.
    outer = {key for key in by_key if any(other.startswith((f"{key}.", f"{key}[")) for other in by_key)}
    return [_message(str(place), key, found) for key, found in by_key.items() if key not in outer]


class _Mistake(typing.NamedTuple):
    key: str
    found: str
    needed: str | None
    fix: str | None


def _message(place: str, key: str, found: list[_Mistake]) -> str:
    # Several mistakes at one key come from a choice of types: the value may be any of what is needed.
    where = f"{place}{'.' if ': ' in place else ': '}{key}" if key else place
    needed = list(dict.fromkeys(mistake.needed for mistake in found if mistake.needed))
    fix = next((mistake.fix for mistake in found if mistake.fix), None)
    text = problem(where, found[0].found, " or ".join(needed) or None, fix)
    return text.replace("?.", "?")


def _describe(detail: ErrorDetails, model: type[BaseModel]) -> _Mistake:
    key, siblings = _resolve(detail["loc"], model)
    name = str(detail["loc"][-1]) if detail["loc"] else ""
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    match detail["type"]:
        case "extra_forbidden":
            guess = closest(name, siblings)
            needed = f"one of {', '.join(sorted(siblings))}" if siblings and guess is None else None
            return _Mistake(key, "unknown key", needed, _did_you_mean(guess))
        case "missing":
            return _Mistake(key, "is missing", siblings.get(name) or None, None)
        case "value_error" | "assertion_error":
            found, _, needed = message.partition(". Needed: ")
            needed, _, fix = needed.partition(". Fix: ")
            return _Mistake(key, found, needed or None, fix or None)
        case "literal_error" | "enum":
            choices = detail.get("ctx", {}).get("expected", "")
            guess = closest(
                str(detail["input"]), [choice.strip("' ") for choice in choices.replace(" or ", ", ").split(",")]
            )
            return _Mistake(key, f"got {_shown(detail['input'])}", choices, _did_you_mean(guess))
    needed = _needed(detail, message)
    given = detail["input"]
    is_one = needed == _LIST and isinstance(given, str) and re.fullmatch(r"[\w./-]+", given) is not None
    return _Mistake(key, f"got {_shown(given)}", needed, f"write [{given}]" if is_one else None)


def _needed(detail: ErrorDetails, message: str) -> str:
    limits = detail.get("ctx", {})
    match detail["type"]:
        case "too_short" | "string_too_short":
            return f"at least {_length(detail['type'], limits['min_length'])}"
        case "too_long" | "string_too_long":
            return f"at most {_length(detail['type'], limits['max_length'])}"
    return _KINDS.get(detail["type"]) or message.removeprefix("Input should be ").replace(
        "String should match pattern", "text that matches"
    )


def _length(kind: str, limit: int) -> str:
    noun = "character" if kind.startswith("string") else "item"
    return f"{limit:,} {noun}{'' if limit == 1 else 's'}"


def _did_you_mean(guess: str | None) -> str | None:
    return f"did you mean '{guess}'?" if guess else None


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _resolve(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return the key path as written in YAML, and the keys known beside its last part with their descriptions.

    Pydantic puts the names of union members into the path; these are dropped.
    """
    path = ""
    here: list[Any] = [model]
    siblings: dict[str, str] = {}
    for part in loc:
        if len(here) > 1:  # the name of a member of the union, which stands in no file
            here = [member for member in here if _label(member) in str(part)][:1] or here[:1]
            continue
        if part == "[key]":
            continue
        siblings = dict(_keys(here))
        here = list(_descend(here, part))
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path, siblings


def _label(annotation: Any) -> str:
    return str(getattr(typing.get_origin(annotation) or annotation, "__name__", annotation))


def _descend(annotations: Iterable[Any], part: int | str) -> Iterator[Any]:
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            for name, field in annotation.model_fields.items():
                if part in (name, field.alias):
                    yield from _members(field.annotation)
            continue
        origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
        if isinstance(part, int) and origin in (list, tuple, set, frozenset):
            fits = inner[part : part + 1] if origin is tuple and Ellipsis not in inner else inner[:1]
            yield from (member for kind in fits for member in _members(kind))
        elif isinstance(part, str) and isinstance(origin, type) and issubclass(origin, typing.Mapping):
            yield from _members(inner[1])


def _keys(annotations: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from (
                (field.alias or name, field.description or "") for name, field in annotation.model_fields.items()
            )


def _members(annotation: Any) -> Iterator[Any]:
    # The alternatives an annotation stands for: unions opened, Annotated stripped, type aliases resolved.
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    elif annotation is not type(None):
        yield annotation


class _StrictLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML comes without types
    """The safe loader, which also notes keys written twice (YAML forbids them; PyYAML keeps the last)."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[tuple[str, str]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping of a node, its repeated keys noted."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in lines:
                self.repeated.append((key.value, f"written twice, in lines {lines[key.value]} and {line}"))
            elif isinstance(key, yaml.ScalarNode):
                lines[key.value] = line
        return super().construct_mapping(node, deep)
