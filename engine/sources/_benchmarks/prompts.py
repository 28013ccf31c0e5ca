"""Prompts of worked examples, as evaluation harnesses ship them for MMLU: subject -> one text with several questions.

Each question reads `Q: ...`, then `(A) ... (B) ...`, then `A: <reasoning> The answer is (C).`; here and there the `Q:`
is missing.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.base.errors import InputError, problem

_EXAMPLE = re.compile(
    r"(?:Q: )?(?P<question>.+?)\n(?P<choices>\(A\) .+?)"
    r"\nA: (?P<reasoning>.+?The answer is \((?P<answer>[A-J])\)\.?)\s*",
    re.DOTALL,
)
_CHOICE = re.compile(r"(?:^|\s)\(([A-J])\) ")


def is_prompts(value: Mapping[str, Any]) -> bool:
    """Whether this is a mapping of subject to worked examples."""
    marks = ("\n(A) ", "\nA: ", "The answer is (")
    return bool(value) and all(isinstance(text, str) and all(m in text for m in marks) for text in value.values())


def prompt_rows(value: Mapping[str, str], path: Path) -> list[dict[str, Any]]:
    """Return rows of id (subject/number), question, choices, answer (letter), reasoning.

    Raises InputError for a text that is not a heading and worked examples to its last character.
    """
    rows = []
    for subject, text in value.items():
        # The first paragraph only says what follows.
        place, end, number = f"{path}, {subject}", len(text), 0
        position = text.find("\n\n") + 2 if "Q: " not in text.partition("\n\n")[0] else 0
        while position < end:
            example = _EXAMPLE.match(text, position)
            if example is None:
                found = f"text that is no worked example: {text[position : position + 60]!a}"
                raise InputError(problem(place, found, "Q: ..., (A) ... (B) ..., A: ... The answer is (A)."))
            choices = _choices(example["choices"])
            fields = {"question": example["question"], "answer": example["answer"], "reasoning": example["reasoning"]}
            rows.append({"id": f"{subject}/{number}", "choices": choices, **fields})
            position, number = example.end(), number + 1
    return rows


def _choices(text: str) -> list[str]:
    # A letter in brackets opens a choice only in its turn: choices may speak of (A) themselves.
    starts: list[tuple[int, int]] = []
    for found in _CHOICE.finditer(text):
        if found[1] == "ABCDEFGHIJ"[len(starts) : len(starts) + 1]:
            starts.append(found.span())
    ends = [start for start, _ in starts[1:]] + [len(text)]
    return [text[start:end] for (_, start), end in zip(starts, ends, strict=True)]
