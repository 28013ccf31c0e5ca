"""`provender label`: what somebody who read documents says of them, stored in the workspace.

documents   the documents labels are about
show        labels on a terminal
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from engine.base.errors import InputError, RecipeError, problem, unknown
from engine.formats.find import find_document
from engine.formats.labels import (
    BAD,
    FORGED,
    GOOD,
    Given,
    Label,
    append_labels,
    newest,
    read_judgements,
    read_labels,
    written,
)
from engine.formats.state import RecipeState, read_state, require_state
from engine.formats.workspace import Workspace
from engine.run.label.documents import LabelledDocument, current_digests, read_documents

GONE = "no document of the recipe has this id"
CHANGED = "the text changed since it was read"
NO_TEXT = "the document has no text"


def label(
    workspace: Path | str,
    doc_id: str | None = None,
    verdict: str | None = None,
    why: str | None = None,
    from_file: Path | str | None = None,
    list_labels: bool = False,
    recipe: str | None = None,
) -> dict[str, Any]:
    """Store what somebody says of one document or of those of a file, or list what was said.

    Args:
        workspace: Folder of all artifacts; labels lie in WORKSPACE/labels/.
        doc_id: Id of the document, or a beginning of it that no other document shares.
        verdict: good or bad.
        why: The reason, in any words.
        from_file: Labels as the page of `sample` saves them, or a labels file of another workspace.
        list_labels: Return the newest label of every document instead.
        recipe: Name of the recipe whose documents are meant; default: the one that finished last.

    Returns:
        stored (how many), known (labels of the file that were stored already), left_out (doc_id, why: labels of the
        file whose text is not at hand, or whose messages do not amount to it), labels (those stored now, or all that
        are listed: doc_id, source, label, why, when, recipe, text_changed: null where the document is not one of the
        recipe's), good and bad (documents whose newest label says so).

    Raises:
        RecipeError: Arguments that say nothing, or two things. InputError: no such document, no text, a line of the
        file is no label, or all of its labels are left out.
    """
    place = Workspace.open(workspace)
    ways = [doc_id is not None, from_file is not None, list_labels]
    if sum(ways) != 1:
        found = "nothing says what to do" if not any(ways) else "two things are asked for"
        raise RecipeError(problem("label", found, "DOC_ID good or DOC_ID bad, --from FILE, or --list"))
    if doc_id is None and (verdict is not None or why is not None):
        raise RecipeError(problem("--why", "no document it is about", "DOC_ID good or DOC_ID bad before it"))
    if list_labels:
        return _result(place, read_state(place, recipe), newest(read_labels(place.labels())))
    state = require_state(place, recipe)
    if from_file is not None:
        return _from_file(place, state, Path(from_file))
    return _one(place, state, str(doc_id), verdict, why)


def _one(place: Workspace, state: RecipeState, doc_id: str, verdict: str | None, why: str | None) -> dict[str, Any]:
    if verdict not in (GOOD, BAD):
        if verdict is None:
            raise RecipeError(problem("label", f"nothing is said of {doc_id}", "good or bad behind it"))
        raise RecipeError(unknown("label", "label", verdict, (GOOD, BAD)))
    found = find_document(state.source_documents(place), doc_id)
    name = str(UUID(bytes=found.doc_id))
    document = read_documents(place, state, [name])[name]
    if document.text_digest is None:
        raise InputError(problem(name, NO_TEXT, "a document with text, for a label keeps it"))
    made = document.label(verdict, why, written(datetime.now(UTC)), state.recipe)
    append_labels(place.labels(), [made])
    return _result(place, state, [made], stored=1)


def _from_file(place: Workspace, state: RecipeState, file: Path) -> dict[str, Any]:
    rows = read_judgements(file)
    if not rows:
        raise InputError(
            problem(file, "no label in it", "a label a line, as the page of `provender sample` saves them")
        )
    documents = read_documents(place, state, {row.said.doc_id for row in rows if row.label is None})
    stored = {one.judgement for one in read_labels(place.labels())}
    new: list[Label] = []
    left_out: list[dict[str, str]] = []
    known = 0
    for row in rows:
        said, whole = row.said, row.label
        why_not = None if whole is not None else _why_not(row, documents.get(said.doc_id))
        if why_not is not None:
            left_out.append({"doc_id": said.doc_id, "why": why_not})
            continue
        made = whole or documents[said.doc_id].label(said.label, said.why, said.when, state.recipe)
        if made.judgement in stored:
            known += 1
        else:
            stored.add(made.judgement)
            new.append(made)
    if not new and not known:
        found = f"none of its {len(rows):,} labels can be stored ({left_out[0]['doc_id']}: {left_out[0]['why']})"
        raise InputError(
            problem(file, found, f"labels of documents of recipe '{state.recipe}'", "name it with --recipe")
        )
    if new:
        append_labels(place.labels(), new)
    return _result(place, state, new, stored=len(new), known=known) | {"left_out": left_out}


def _why_not(row: Given, document: LabelledDocument | None) -> str | None:
    """Return why a line without a whole label cannot become one of this document, None where it can."""
    if row.is_forged:
        return f"{row.place}: {FORGED}"
    if document is None:
        return GONE
    if document.text_digest is None:
        return NO_TEXT
    return CHANGED if row.said.text_digest not in (None, document.text_digest) else None


def _result(
    place: Workspace, state: RecipeState | None, labels: Sequence[Label], stored: int = 0, known: int = 0
) -> dict[str, Any]:
    digests = {} if state is None else current_digests(place, state, {one.doc_id for one in labels})
    verdicts: list[str] = [one.label for one in newest(read_labels(place.labels()))]
    listed = [
        one.model_dump(mode="json", include={"doc_id", "source", "label", "why", "when", "recipe"})
        | {"text_changed": digests[one.doc_id] != one.text_digest if one.doc_id in digests else None}
        for one in labels
    ]
    counts = {verdict: verdicts.count(verdict) for verdict in (GOOD, BAD)}
    return {"stored": stored, "known": known, "left_out": [], "labels": listed, **counts}
