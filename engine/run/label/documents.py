"""The documents labels are about: their text as it is now, and the label that holds it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pyarrow as pa

from engine.formats.documents import Shard
from engine.formats.find import Place, find_documents
from engine.formats.labels import Label, make_label
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace


@dataclass(frozen=True)
class LabelledDocument:
    """A document of a recipe, with the text a label of it has to keep."""

    doc_id: str
    source: str
    text_digest: str | None
    """None where it has no text."""
    text: str | None
    messages: list[dict[str, str]] | None

    def label(self, verdict: str, why: str | None, when: str, recipe: str) -> Label:
        """Return the label; the document has a text. Raises InputError where `why` or `when` cannot be stored."""
        return make_label(
            self.doc_id,
            {
                "doc_id": self.doc_id,
                "label": verdict,
                "why": why,
                "when": when,
                "source": self.source,
                "recipe": recipe,
                "text_digest": self.text_digest,
                "text": self.text,
                "messages": self.messages,
            },
        )


def read_documents(workspace: Workspace, state: RecipeState, doc_ids: Iterable[str]) -> dict[str, LabelledDocument]:
    """Return id -> document, of those ids that are documents of the recipe; every shard's texts are read once.

    Raises InputError where a file changed or is gone.
    """
    wanted = [UUID(doc_id).bytes for doc_id in doc_ids]
    places = find_documents(state.source_documents(workspace), wanted)
    by_shard: dict[tuple[str, str], list[Place]] = {}
    for place in places.values():
        by_shard.setdefault((place.shard.source, place.shard.name), []).append(place)
    return {one.doc_id: one for found in by_shard.values() for one in _of_shard(found[0].shard, found)}


def current_digests(workspace: Workspace, state: RecipeState, doc_ids: Iterable[str]) -> dict[str, str | None]:
    """Return id -> digest of the document's present text (None where it has none), of documents of the recipe."""
    places = find_documents(state.source_documents(workspace), [UUID(doc_id).bytes for doc_id in doc_ids])
    found: dict[str, str | None] = {}
    digests: dict[tuple[str, str], Any] = {}
    for place in places.values():
        key = (place.shard.source, place.shard.name)
        if key not in digests:
            digests[key] = place.shard.read_core(["text_digest"])["text_digest"]
        digest = digests[key][place.row]
        found[str(UUID(bytes=place.doc_id))] = None if digest is None else digest.hex()
    return found


def _of_shard(shard: Shard, places: list[Place]) -> list[LabelledDocument]:
    rows = pa.array([place.row for place in places], pa.int64())
    texts = shard.read_text().take(rows).to_pylist()
    chats = shard.read_messages().take(rows).to_pylist() if shard.has_messages else [None] * len(places)
    digests = shard.read_core(["text_digest"])["text_digest"]
    return [
        LabelledDocument(
            str(UUID(bytes=place.doc_id)),
            shard.source,
            None if digests[place.row] is None else digests[place.row].hex(),
            text,
            chat,
        )
        for place, text, chat in zip(places, texts, chats, strict=True)
    ]
