"""Items from the rows of a file, once its shape is known; what is left out or cannot be told is counted by row."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.errors import problem
from engine.formats.items import ITEMS, item_digest
from engine.sources._benchmarks.rows import NoItemsError, Row
from engine.sources._benchmarks.shapes import IDS, Shape
from engine.sources._benchmarks.values import (
    YES_NO,
    Choices,
    choices_of,
    final_answer,
    first_number,
    gold_of,
    is_number,
    is_unknown,
    several,
    text_of,
    texts_of,
    value_at,
)

_LISTED = 3
Item = dict[str, Any]


def build_items(path: Path, rows: Sequence[Row], shape: Shape) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the items (ITEMS) in file order, and notes in plain words on what was left out or is unknown.

    Rows that say the same as an earlier one are left out, and so are rows without a question. Raises NoItemsError
    where no row is left.
    """
    rows = [shape.prepare(row) for row in rows] if shape.prepare else rows
    choices = [_choices(row, shape) for row in rows]
    answers = [value_at(row, _field(shape.answer)) for row in rows]
    known = [answer for answer in answers if not is_unknown(answer)]
    is_yes_no = not any(texts for texts, _ in choices) and known and all(isinstance(a, bool) for a in known)
    if is_yes_no:
        choices = [(list(YES_NO), [])] * len(rows)
    first = 0 if is_yes_no else shape.first
    if first is None:
        first = first_number(answers, [texts for texts, _ in choices])
    built = [
        _item(row, shape, offered, answer, first)
        for row, offered, answer in zip(rows, choices, answers, strict=True)
    ]  # fmt: skip
    silent = [number for number, item in enumerate(built) if item["question"] is None]
    if len(silent) == len(rows):
        field = _field(shape.question)
        raise NoItemsError(
            problem(path, f"no row has a text in '{field}'", "questions", "name the field of the question")
        )
    seen: set[str] = set()
    repeated, kept = list[int](), list[int]()
    for number, item in enumerate(built):
        if item["question"] is not None:
            digest = item_digest(item)
            (repeated if digest in seen else kept).append(number)
            seen.add(digest)
    names, note = _names(rows, kept)
    notes = [
        _note("left out, no question", silent),
        _note("left out, says the same as an earlier row", repeated),
        note,
        _note("the answer names none of the choices", [n for n in kept if _is_lost(built[n], answers[n])]),
    ]
    items = pl.DataFrame([built[number] | {"item": names[number]} for number in kept], schema=ITEMS)
    return items, tuple(note for note in notes if note)


def _item(row: Row, shape: Shape, offered: Choices, stated: Any, first: int | None) -> Item:
    asked = value_at(row, _field(shape.question))
    question = None if isinstance(asked, dict) else text_of(asked)
    texts, _ = offered
    others = several(value_at(row, _field(shape.others)))
    gold: int | None = None
    if shape.wrong:
        answers = texts_of(stated)[:1]
        texts, gold = ([*answers, *several(value_at(row, shape.wrong))], 0) if answers else ([], None)
    elif texts:
        gold, answers = _among(offered, stated, first)
    else:
        answers = [] if is_unknown(stated) else texts_of(stated)
        others = others or [final for answer in answers[:1] if (final := final_answer(answer))]
    answer = answers[0] if answers else None
    extra = [text for field in shape.extra for text in texts_of(value_at(row, _field(field)))]
    return {
        "question": question,
        "choices": texts,
        "gold": gold,
        "answer": answer,
        "other_answers": [text for text in dict.fromkeys([*answers[1:], *others]) if text != answer],
        "passage": text_of(value_at(row, _field(shape.passage))),
        "blank": question.index(shape.blank) if shape.blank and question and question.count(shape.blank) == 1 else None,
        "extra": extra,
    }


def _among(offered: Choices, stated: Any, first: int | None) -> tuple[int | None, list[str]]:
    """Return the position of the first right choice, and the texts of all right ones."""
    stated = stated if isinstance(stated, list) else [stated]
    golds = [gold_of(answer, offered, first) for answer in stated if not is_unknown(answer)]
    right = [gold for gold in golds if gold is not None]
    if right:
        return right[0], [offered[0][gold] for gold in right]
    # An answer in words stays one, even where no choice has these words.
    return None, [text for text in texts_of(stated) if len(text.strip("() .")) > 1 and not is_number(text)]


def _choices(row: Row, shape: Shape) -> Choices:
    if isinstance(shape.choices, str):
        return choices_of(value_at(row, shape.choices))
    # Columns of their own: a question with fewer choices leaves the last ones empty.
    names = [name for name in shape.choices if value_at(row, name) is not None]
    return choices_of([value_at(row, name) for name in names])[0], names


def _is_lost(item: Item, stated: Any) -> bool:
    return bool(item["choices"]) and item["gold"] is None and not is_unknown(stated)


def _names(rows: Sequence[Row], kept: Sequence[int]) -> tuple[dict[int, str], str]:
    """Return the name of every kept row, and a note where the file's own ids cannot be used."""
    by_row = {number: str(number) for number in kept}
    present = {name.lower(): name for row in rows for name in row}
    field = next((present[name] for name in IDS if name in present), None)
    if field is None:
        return by_row, ""
    own = {number: text_of(rows[number].get(field)) for number in kept}
    missing = sum(name is None for name in own.values())
    repeated = [name for name, count in Counter(own.values()).most_common(_LISTED) if count > 1 and name is not None]
    if not missing and not repeated:
        return {number: str(name) for number, name in own.items()}, ""
    why = f"repeat ({', '.join(repeated)})" if repeated else f"are missing {missing} times"
    return by_row, f"the ids in '{field}' {why}: items are named by their row, from 0"


def _note(what: str, rows: Sequence[int]) -> str:
    if not rows:
        return ""
    listed = ", ".join(map(str, rows[:_LISTED])) + (" ..." if len(rows) > _LISTED else "")
    return f"{what}: {len(rows)} {'row' if len(rows) == 1 else 'rows'} ({listed})"


def _field(name: str) -> str:
    return name.removesuffix("?")
