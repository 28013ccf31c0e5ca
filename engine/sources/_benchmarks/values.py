"""What the fields of a benchmark hold: texts, choices with or without labels, answers by label, number or text."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from engine.sources._columns import json_text

Choices = tuple[list[str], list[str]]
"""Texts of the choices, and their labels (empty where they have none)."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
YES_NO = ("no", "yes")
"""Choices of a question whose answer is false or true."""
_TEXT_KEYS = ("text", "value", "content", "choice", "answer")
_LABEL_KEYS = ("label", "key", "id")
_FINAL = re.compile(r"\n#### *(.+?)\s*\Z")
_UNKNOWN = (None, "", -1, "-1")


def value_at(row: Mapping[str, Any], field: str) -> Any:
    """Return the value of a field, or of `field.inner` in a nested object; None where there is none."""
    if field in row:
        return row[field]
    outer, _, inner = field.partition(".")
    nested = row.get(outer)
    return nested.get(inner) if inner and isinstance(nested, Mapping) else None


def text_of(value: Any) -> str | None:
    """Return a text as it stands, a number as it is written, the first of several; None where nothing is said."""
    if isinstance(value, list | tuple):
        return text_of(value[0]) if value else None
    text = None if value is None else json_text(value)
    return text if text and text.strip() else None


def texts_of(value: Any) -> list[str]:
    """Return all texts of a value, each once: of a list, of an object of answers, or of a single value."""
    if isinstance(value, Mapping):
        value = [inner for key in (*_TEXT_KEYS, "aliases") for inner in as_list(value.get(key))]
    texts = (inner if isinstance(inner, str) else json_text(inner) for inner in as_list(value) if inner is not None)
    return [text for text in dict.fromkeys(texts) if text.strip()]


def several(value: Any) -> list[str]:
    """Return texts of a list, or of one string that separates them by semicolons."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(";") if part.strip()]
    return texts_of(value)


def choices_of(value: Any) -> Choices:
    """Return the choices of a field: texts, {text, label} objects, {text: [...], label: [...]} or {label: text}."""
    if isinstance(value, str):
        value = _literal(value)
    if isinstance(value, str):  # one text is no choice
        return [], []
    if isinstance(value, Mapping):
        lists = next((value[key] for key in _TEXT_KEYS if isinstance(value.get(key), list)), None)
        if lists is None:
            return [_plain(text) for text in value.values()], [str(label) for label in value]
        labels: list[Any] = next((value[key] for key in _LABEL_KEYS if isinstance(value.get(key), list)), [])
        return [_plain(text) for text in lists], [str(label) for label in labels]
    values = as_list(value)
    if values and all(isinstance(choice, Mapping) for choice in values):
        labels = [_first_of(choice, _LABEL_KEYS) for choice in values]
        texts = [_plain(_first_of(choice, _TEXT_KEYS)) for choice in values]
        return texts, [] if None in labels else [str(label) for label in labels]
    return [_plain(choice) for choice in values], []


def is_unknown(answer: Any) -> bool:
    """Whether an answer says that it is not given: null, an empty text, -1."""
    return isinstance(answer, str | int | None) and answer in _UNKNOWN


def first_number(answers: Sequence[Any], choices: Sequence[Sequence[str]]) -> int | None:
    """Return the number of the first choice where the answers of a file are numbers of choices, else None.

    Whether a file counts from 0 or from 1 shows in all its answers together, never in one.
    """
    known = [(answer, texts) for answer, texts in zip(answers, choices, strict=True) if not is_unknown(answer)]
    numbers = [number for answer, _ in known if (number := _number(answer)) is not None]
    if not known or len(numbers) < len(known):
        return None
    from_one = 0 not in numbers and any(n == len(texts) for n, (_, texts) in zip(numbers, known, strict=True))
    are_texts = all(isinstance(answer, str) and answer in texts for answer, texts in known)
    are_numbers = all(0 <= n - from_one < len(texts) for n, (_, texts) in zip(numbers, known, strict=True))
    return int(from_one) if are_numbers or not are_texts else None


def gold_of(answer: Any, choices: Choices, first: int | None) -> int | None:
    """Return the position of the choice an answer names by label, text, number or letter; None where it names none."""
    texts, labels = choices
    by: tuple[Callable[[], int | None], ...] = (
        lambda: labels.index(str(answer)) if str(answer) in labels else None,
        lambda: None if first is None or (number := _number(answer)) is None else number - first,
        lambda: texts.index(answer) if answer in texts else None,
        lambda: LETTERS.find(answer.strip("() .").upper() or "?") if _is_letter(answer) else None,
    )
    found = next((position for find in by if (position := find()) is not None), None)
    return found if found is not None and 0 <= found < len(texts) else None


def final_answer(answer: str) -> str | None:
    """Return what a worked solution ends with after '####', as GSM8K writes it, or None."""
    found = _FINAL.search(answer)
    return found[1] if found else None


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, null as an empty one, anything else as a list of itself."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _plain(value: Any) -> str:
    # A choice without text keeps its place, or the answers would name other choices.
    return "" if value is None else json_text(value)


def _first_of(value: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _literal(text: str) -> Any:
    """Return the list or object in a cell of a CSV file, written as JSON or as Python prints it; else the text."""
    if text.lstrip()[:1] in ("[", "{"):
        for parse in (from_json, ast.literal_eval):
            try:
                return parse(text)
            except (ValueError, SyntaxError):
                continue
    return text


def is_number(answer: Any) -> bool:
    """Whether an answer is a whole number of up to three digits."""
    return _number(answer) is not None


def _number(answer: Any) -> int | None:
    if isinstance(answer, str):
        return int(answer) if re.fullmatch(r"\s*-?[0-9]{1,3}\s*", answer) else None
    if isinstance(answer, float):
        return int(answer) if answer.is_integer() else None
    return int(answer) if isinstance(answer, int) else None


def _is_letter(answer: Any) -> bool:
    return isinstance(answer, str) and len(answer.strip("() .")) == 1
