"""The shapes of benchmark files: which field of a file is the question, the choices, the answer and the passage.

One table of shapes as their authors publish them; whatever fits none of them is read by the names its fields have, or
by the names the caller gives.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from engine.base.errors import InputError, closest, problem, unknown
from engine.sources._benchmarks.rows import NoItemsError, Row
from engine.sources._benchmarks.values import as_list, value_at

Fields = Mapping[str, str | Sequence[str]]
"""Part of an item -> field of the file, or several where each choice has its own."""


@dataclass(frozen=True)
class Shape:
    """Which field is what; `a.b` is field b of the object a, a field with `?` at its end may be absent."""

    name: str
    question: str
    choices: str | tuple[str, ...] = ()
    answer: str = ""
    others: str = ""
    """Further right answers: a list, or one text with semicolons between them."""
    wrong: str = ""
    """Wrong answers, which make the choices together with the answer."""
    passage: str = ""
    extra: tuple[str, ...] = ()
    first: int | None = None
    """Number of the first choice; None: seen from the answers of the whole file."""
    blank: str = ""
    """The character of the question that a choice replaces."""
    needs: tuple[str, ...] = ()
    """Fields before `prepare`, where there is one."""
    prepare: Callable[[Row], Row] | None = None
    file: str = ""
    """What the file's name contains, where fields alone do not tell."""

    def fits(self, names: Iterable[str], path: Path) -> bool:
        """Whether a file with fields of these names has this shape."""
        stated = (self.question, *_several(self.choices), self.answer, self.others, self.wrong, self.passage)
        needed = self.needs or [name for name in (*stated, *self.extra) if name and not name.endswith("?")]
        return set(needed) <= set(names) and self.file in path.name.lower()

    def __str__(self) -> str:
        """Name and fields, to be shown."""
        if self.prepare:
            return f"{self.name}: {', '.join(self.needs)}"
        parts = {part: _several(getattr(self, part)) for part in PARTS}
        shown = ", ".join(f"{part}={'+'.join(names).replace('?', '')}" for part, names in parts.items() if any(names))
        return f"{self.name}: {shown}"


def _undressed(row: Row) -> Row:
    """Take the labels of a prompt off: 'Passage: ... Question: ... Answer:'."""
    prompt = row.get("query", row.get("context"))
    found = _DRESSED.fullmatch(prompt) if isinstance(prompt, str) else None
    return row | ({"query": found[2], "context": found[2], "passage": found[1]} if found else {})


def _with_blank(row: Row) -> Row:
    """Make one sentence with a blank of the beginnings up to and with each choice, as WinoGrande's authors write it."""
    starts, rest = row.get("context_options"), row.get("continuation")
    if not (isinstance(rest, str) and isinstance(starts, list) and all(isinstance(start, str) for start in starts)):
        return row
    columns = enumerate(zip(*starts, strict=False))
    shared = starts[0][: next((n for n, column in columns if len(set(column)) > 1), min(map(len, starts)))]
    # Ann and Anna differ from their first letter on: a choice is whole words.
    start = len(shared) - len(re.split(r"\s", shared)[-1])
    return row | {"sentence": f"{shared[:start]}_ {rest}", "choices": [text[start:] for text in starts]}


def _last_word_apart(row: Row) -> Row:
    question, _, word = str(row.get("text") or "").rstrip().rpartition(" ")
    return row | {"text": question, "word": word}


def _first_turn(row: Row) -> Row:
    """Take the first turn for the question: later ones ask to rework its answer and mean nothing alone."""
    turns, answers = (as_list(row.get(name)) for name in ("turns", "reference"))
    return row | {"turn": turns[:1], "reference": answers[:1], "later": [*turns[1:], *answers[1:]]}


def _first_true(row: Row) -> Row:
    """Name the right one of TruthfulQA's choices, which carry 1 or 0 each."""
    labels = as_list(value_at(row, "mc1_targets.labels"))
    choices = value_at(row, "mc1_targets.choices")
    return row | {"choices": choices, "label": labels.index(1) if 1 in labels else None}


_DRESSED = re.compile(r"(?:(?:Passage|Context): (.*)\n)?Question: (.*?)\n*(?:Answer:)?\s*", re.DOTALL)
_OPTIONS, _ENDINGS = ("option1", "option2"), ("choice1", "choice2")
SHAPES = (
    # name, question, choices, then the rest by name
    Shape("humaneval", "prompt", answer="canonical_solution", extra=("test?",)),
    Shape("mbpp", "text", answer="code", extra=("test_list",)),
    Shape("mbpp sanitized", "prompt", answer="code", extra=("test_list",)),
    Shape("truthfulqa", "Question", answer="Best Answer", others="Correct Answers", wrong="Incorrect Answers"),
    Shape("truthfulqa rows", "question", answer="best_answer", others="correct_answers", wrong="incorrect_answers"),
    Shape("truthfulqa choices", "question", "choices", "label", needs=("question", "mc1_targets"), prepare=_first_true),
    Shape("arc", "question.stem", "question.choices", "answerKey?"),
    Shape("arc rows", "question", "choices", "answerKey?", needs=("question", "choices.text", "choices.label")),
    Shape("openbookqa", "question_stem", "choices", "answerKey?"),
    Shape("piqa", "goal", ("sol1", "sol2"), "label?", first=0),
    Shape("winogrande", "sentence", _OPTIONS, "answer?", first=1, blank="_"),
    Shape("copa", "premise", _ENDINGS, "label?", extra=("question",), first=0),
    Shape("lambada", "text", answer="word", needs=("text",), file="lambada", prepare=_last_word_apart),
    Shape("mmlu", "question", ("A", "B", "C", "D"), "answer"),
    Shape("worked examples", "question", "choices", "answer", extra=("reasoning",)),
    Shape("mt_bench", "turn", answer="reference?", needs=("turns",), extra=("later",), prepare=_first_turn),
    Shape(
        "llm-foundry choices", "query", "choices", "gold", passage="passage?", prepare=_undressed,
        needs=("query", "choices", "gold"), first=0,
    ),
    Shape(
        "llm-foundry contexts", "sentence", "choices", "gold", prepare=_with_blank, blank="_", first=0,
        needs=("context_options", "continuation", "gold"),
    ),
    Shape(
        "llm-foundry continuation", "context", answer="continuation", passage="passage?", prepare=_undressed,
        needs=("context", "continuation"),
    ),
)  # fmt: skip
NAMES = {
    "question": (
        *("question", "prompt", "query", "problem", "question_stem", "goal", "sentence", "premise", "instruction"),
        *("text", "input", "ctx", "context"),
    ),
    "choices": ("choices", "options", "endings", "candidates"),
    "answer": (
        *("answer", "gold", "target", "label", "answer_key", "answerkey", "correct", "correct_answer", "solution"),
        *("canonical_solution", "answers", "output", "response", "completion", "continuation"),
    ),
    "passage": ("passage", "context", "article", "story", "paragraph", "support", "background"),
}
"""Names that tell what a field is, whatever their case; the first that a file has is taken."""
IDS = ("id", "task_id", "question_id", "qid", "item", "item_id", "idx", "ind", "uid", "uuid")
PARTS = tuple(field.name for field in fields(Shape))[1:8]
_NUMBERED = re.compile(r"(|option|choice|answer|sol|ending|op|opt)[ _-]?([a-j]|[0-9])", re.IGNORECASE)


def find_shape(path: Path, rows: Sequence[Row], named: Fields | None) -> Shape:
    """Return the shape of a file; `named` goes before everything else.

    Raises InputError for a name that is no part of an item or no field of the file, and NoItemsError where no field
    holds questions.
    """
    top = list(dict.fromkeys(name for row in rows for name in row))
    nested = {
        f"{name}.{key}" for row in rows for name, value in row.items() if isinstance(value, dict) for key in value
    }
    if named:
        return _by_name(path, top, _checked(path, named, {*top, *nested}))
    shape = next((shape for shape in SHAPES if shape.fits([*top, *nested], path)), None)
    return shape or _by_name(path, top, {})


def _by_name(path: Path, names: Sequence[str], named: Fields) -> Shape:
    taken = {name for value in named.values() for name in _several(value)}
    found: dict[str, Any] = {part: value if isinstance(value, str) else tuple(value) for part, value in named.items()}
    for part, known in NAMES.items():
        if part not in found:
            match = next((n for likely in known for n in names if n.lower() == likely and n not in taken), None)
            found[part] = match or ""
            taken.add(found[part])
    if not found["choices"]:
        found["choices"] = _numbered([name for name in names if name not in taken])
    if not found["question"]:
        raise _no_question(path, names)
    if "extra" in found:
        found["extra"] = tuple(_several(found["extra"]))
    return Shape("fields", **found)


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that hold one choice each: A to D, option1 and option2, answerA to answerC."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if found := _NUMBERED.fullmatch(name):
            groups.setdefault(found[1].lower(), []).append(name)
    return next((tuple(sorted(group)) for group in groups.values() if len(group) > 1), ())


def _checked(path: Path, named: Fields, known: set[str]) -> Fields:
    for part, value in named.items():
        if part not in PARTS:
            raise InputError(unknown("fields", "part of an item", part, PARTS))
        if part not in ("choices", "extra") and not isinstance(value, str):
            raise InputError(problem(f"fields, {part}", f"{len(value)} fields", "the name of one field", "name one"))
        for name in _several(value):
            if name not in known:
                raise InputError(unknown(path, "field", name, known))
    return named


def _no_question(path: Path, names: Sequence[str]) -> NoItemsError:
    guess = next((name for name in names if closest(name.lower(), NAMES["question"])), None)
    guess = guess or next((name for name in names if any(known in name.lower() for known in NAMES["question"])), None)
    needed = f"the field of the question, one of {', '.join(NAMES['question'])}"
    fix = f"name it: --fields NAME.question={guess or 'FIELD'}, in a recipe benchmark_fields"
    return NoItemsError(problem(path, f"no question field (have: {', '.join(names) or 'none'})", needed, fix))


def _several(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
