"""A label typed after each document: good, bad, skip or quit, and why.

Documents and questions go to stderr, so that stdout holds nothing but the result. Answers are read by lines from stdin,
which may be a pipe; its end is like `quit`. What was typed is stored at once, so Ctrl-C takes nothing back.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.base.errors import InputError, problem
from engine.base.terminal import has_colours, styled, terminal_width, wrapped
from engine.formats.labels import BAD, GOOD, append_labels, written
from engine.formats.state import require_state
from engine.formats.workspace import Workspace
from engine.run.label.documents import LabelledDocument, read_documents
from engine.run.sample.show import document_lines

SKIP, QUIT = "skip", "quit"
ANSWERS = (GOOD, BAD, SKIP, QUIT)
QUESTION = "good, bad, skip, quit? "
WHY = "why? "
INTRODUCTION = "The first letter is enough; words behind good or bad are the reason. Ctrl-C keeps what was said."


def ask_labels(workspace: Path | str, drawn: Mapping[str, Any]) -> dict[str, int]:
    """Ask about the documents of a sample that have no label of their present text; return what was answered.

    drawn: what `draw_sample` returned. Returns good, bad, skipped, known (had a label already), left (not asked about,
    or without text). Raises KeyboardInterrupt on Ctrl-C, InputError for bytes in stdin that are no text
    and for labels that cannot be read.
    """
    if drawn["labels_problem"] is not None:
        raise InputError(drawn["labels_problem"])
    place = Workspace.open(workspace)
    documents = drawn["documents"]
    asked = [one for one in documents if one["text_digest"] is not None and not _is_known(one)]
    found = read_documents(place, require_state(place, drawn["recipe"]), [one["doc_id"] for one in asked])
    counts = {GOOD: 0, BAD: 0, "skipped": 0, "known": sum(map(_is_known, documents)), "left": 0}
    is_coloured, width = has_colours(sys.stderr), terminal_width()
    _write(wrapped(INTRODUCTION, width))
    for number, document in enumerate(asked):
        lines = document_lines(document, dict(drawn), width, is_coloured, chars=len(document["text"]))
        _write("\n".join(["", *lines]))
        answer, why = _answer(styled(f"{number + 1} of {len(asked)}", "soft", is_coloured))
        if answer == QUIT:
            break
        if answer == SKIP:
            counts["skipped"] += 1
            continue
        _store(place, found[document["doc_id"]], answer, why, drawn["recipe"])
        counts[answer] += 1
    answered = counts[GOOD] + counts[BAD] + counts["skipped"]
    return counts | {"left": len(documents) - counts["known"] - answered}


def _is_known(document: Mapping[str, Any]) -> bool:
    return document["label"] is not None and not document["label"]["text_changed"]


def _answer(position: str) -> tuple[str, str | None]:
    """Return one of ANSWERS and why; asks until it is one."""
    while True:
        line = _line(f"{position}: {QUESTION}")
        word, _, why = (line or QUIT).strip().partition(" ")
        answer = next((one for one in ANSWERS if word and one.startswith(word.lower())), None)
        if answer in (SKIP, QUIT):
            return answer, None
        if answer is not None:
            return answer, why.strip() or (_line(WHY) or "").strip() or None


def _line(prompt: str) -> str | None:
    """Return the next line of stdin, None at its end."""
    _write(prompt, end="")
    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError as error:
        raise InputError(problem("stdin", f"bytes that are no text ({error})", "UTF-8")) from error
    if not sys.stdin.isatty():
        _write("")
    return line or None


def _store(place: Workspace, document: LabelledDocument, answer: str, why: str | None, recipe: str) -> None:
    append_labels(place.labels(), [document.label(answer, why, written(datetime.now(UTC)), recipe)])


def _write(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)
