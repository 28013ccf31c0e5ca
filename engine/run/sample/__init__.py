"""Documents to read by hand: of every source some that were kept beside some that were dropped, with the reasons.

1. Each source gets the same number of documents, as far as it has them; of those one half is kept ones, the other half
   is shared out evenly over its decisions and reasons. What one side lacks, the other gets.
2. Within a stratum (source, decision, reason) the documents with the smallest seeded hash of their id are taken: any
   shard layout gives the same ones, and another seed gives others. Where there is a score (`by`), the stratum is cut
   into as many bands of equal count as it gets documents, from the highest score to the lowest, and each band gives
   one; documents without a score are a band of their own.
3. Documents without text are left out, unless their reason is asked for.

    strata     which documents are taken
    columns    the score, and the columns shown beside a document
    show       the documents on a terminal
    ask        a label typed after each document
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from engine.base.errors import InputError, RecipeError, problem, unknown
from engine.base.hashing import digest_json, short
from engine.formats.annotation import Annotation
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.labels import Label, newest, read_labels
from engine.formats.selection import Selection
from engine.formats.state import RecipeState, require_state
from engine.formats.workspace import Workspace
from engine.run.first_of_each import STRATUM
from engine.run.sample.columns import require_columns, score_column, values_of
from engine.run.sample.strata import candidates, shares_of, taken

TEXT_CHARS = 2_000


def draw_sample(
    workspace: Path | str,
    recipe: str | None = None,
    documents: int = 50,
    seed: int = 1,
    reason: str | None = None,
    source: str | None = None,
    by: str | None = None,
    column: Sequence[str] = (),
    text_chars: int = TEXT_CHARS,
) -> dict[str, Any]:
    """Return documents to read by hand, kept ones beside dropped ones; arguments and errors are those of the verb.

    text_chars: how much of a text is returned at most, in characters.
    """
    if documents < 1:
        raise RecipeError(problem("--documents", f"{documents}", "1 document or more"))
    place = Workspace.open(workspace)
    state = require_state(place, recipe)
    selection = state.open_selection(place)
    if selection is None:
        raise InputError(problem(place.root, f"recipe '{state.recipe}' has no selection yet", fix="run it again"))
    annotations = state.open_annotations(place)
    sources = _chosen_sources(state, place, source)
    shards = [shard for one in sources for shard in one.shards]
    score = score_column(by, annotations, shards)
    require_columns("--column", column, annotations)
    found, strata = candidates(shards, selection, annotations, documents, seed, reason, score)
    if reason is not None and not strata.height:
        raise RecipeError(unknown("--reason", "reason", reason, _reasons(shards, selection)))
    shares = shares_of(strata, documents)
    rows = taken(found, shares, [one.name for one in sources])
    read = _read(rows, shards, annotations, list(dict.fromkeys(column)), score, text_chars)
    labels, damage = _labels(place)
    return {
        "recipe": state.recipe,
        "seed": seed,
        "by": score,
        "digest": short(digest_json([[one["doc_id"], one["text_digest"]] for one in read])),
        "strata": [row | {"shown": shares[tuple(row[name] for name in STRATUM)]} for row in strata.to_dicts()],
        "documents": _with_labels(read, newest(labels)),
        "labels_problem": damage,
    }


def _labels(place: Workspace) -> tuple[list[Label], str | None]:
    """Return the labels, or why there are none to show: whoever only reads documents can go on without."""
    try:
        return read_labels(place.labels()), None
    except InputError as error:
        return [], str(error)


def _chosen_sources(state: RecipeState, workspace: Workspace, source: str | None) -> tuple[SourceDocuments, ...]:
    sources = state.source_documents(workspace)
    if source is None:
        return sources
    chosen = tuple(one for one in sources if one.name == source)
    if not chosen:
        raise RecipeError(unknown("--source", "source", source, [one.name for one in sources]))
    return chosen


def _read(
    rows: Sequence[dict[str, Any]],
    shards: Sequence[Shard],
    annotations: Sequence[Annotation],
    columns: Sequence[str],
    score: str | None,
    text_chars: int,
) -> list[dict[str, Any]]:
    documents: dict[bytes, dict[str, Any]] = {}
    for number in sorted({row["shard"] for row in rows}):
        here = [row["row"] for row in rows if row["shard"] == number]
        texts = shards[number].read_shown(here)
        wanted = ["doc_id", "url", "text_digest", "num_chars", *columns, *([score] if score else [])]
        values = values_of(shards[number], here, list(dict.fromkeys(wanted)), annotations)
        for text, value in zip(texts, values, strict=True):
            documents[UUID(value["doc_id"]).bytes] = {
                "url": value["url"],
                "num_chars": value["num_chars"],
                "text_digest": value["text_digest"],
                "score": value[score] if score else None,
                "columns": {name: value[name] for name in columns},
                "text": None if text is None else text[:text_chars],
                "is_cut": len(text or "") > text_chars,
            }
    return [
        {"doc_id": str(UUID(bytes=row["doc_id"]))}
        | {name: row[name] for name in (*STRATUM, "tags")}
        | documents[row["doc_id"]]
        for row in rows
    ]


def _with_labels(documents: Sequence[dict[str, Any]], labels: Iterable[Label]) -> list[dict[str, Any]]:
    known = {label.doc_id: label for label in labels}
    found = []
    for document in documents:
        label = known.get(document["doc_id"])
        said = None
        if label is not None:
            changed = label.text_digest != document["text_digest"]
            said = {"label": label.label, "why": label.why, "when": label.when, "text_changed": changed}
        found.append(document | {"label": said})
    return found


def _reasons(shards: Sequence[Shard], selection: Selection) -> set[str]:
    found: set[str | None] = set()
    for shard in shards:
        decisions = selection.decisions(shard)
        found |= {*decisions["reason"].unique(), *decisions["tags"].explode().unique()}
    return {reason for reason in found if reason is not None}
