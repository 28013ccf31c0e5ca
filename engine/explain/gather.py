"""Gathers what all artifacts of a recipe, all mixtures and all schedules say about one document."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

from engine.base.errors import InputError
from engine.explain.decided import rules_behind
from engine.explain.stages import stages_of
from engine.explain.tokenised import tokens_of
from engine.explain.uses import MOST_LISTED, Uses
from engine.formats.annotation import Annotation, part_path
from engine.formats.doc_ids import id_text
from engine.formats.documents import SourceDocuments
from engine.formats.find import Place, find_document, find_documents, plain, plain_row
from engine.formats.labels import newest, read_labels
from engine.formats.parquet import read_parquet, read_parquet_where
from engine.formats.state import RecipeState, require_state
from engine.formats.workspace import Workspace

TEXT_CHARS = 2_000
EXCERPT_CHARS = 300


def explain(doc_id: str, workspace: Path | str, recipe: str | None = None) -> dict[str, Any]:
    """Return everything known about one document.

    Args:
        doc_id: Its id, or a beginning of it that no other document shares; dashes do not matter.
        workspace: Folder of all artifacts.
        recipe: Name of the recipe whose artifacts to look at; default: the one that finished last.

    Returns:
        doc_id, recipe, source, place (file, row in it, shard), columns (core), text (excerpt), annotations by column
        prefix, decision (with the rule that made it, those of its tags, and its group where balance left it over; null
        before a selection), label (the newest one, or null, or a problem), duplicates, hits (contamination), heldout,
        control_tokens and look_alikes (of the token store), stages (what made each annotation), mixtures (with the
        schedule's steps), trained (each run's steps with it, and their losses), taken_down (versions it left), and
        not_in: current mixtures without it; damaged: what is wrong with versions of which nothing can be told. Steps
        are counted from 1 (engine.explain.training).

    Raises:
        InputError: No document, or several, have this id; no recipe finished; files are gone.
    """
    place = Workspace.open(workspace)
    state = require_state(place, recipe)
    return _Gathering(place, state, find_document(state.source_documents(place), doc_id)).result()


@dataclass(frozen=True)
class _Gathering:
    workspace: Workspace
    state: RecipeState
    place: Place

    @cached_property
    def sources(self) -> tuple[SourceDocuments, ...]:
        return self.state.source_documents(self.workspace)

    @cached_property
    def annotations(self) -> tuple[Annotation, ...]:
        return self.state.open_annotations(self.workspace)

    @cached_property
    def artifacts(self) -> dict[str, Path]:
        return {prefix: self.workspace.root / folder for prefix, folder in self.state.artifacts.items()}

    @property
    def token_store(self) -> Path | None:
        return None if self.state.token_store is None else self.workspace.root / self.state.token_store

    @property
    def doc_id(self) -> bytes:
        return self.place.doc_id

    def result(self) -> dict[str, Any]:
        """Return the whole answer."""
        shard = self.place.shard
        core = plain_row(shard.ids_path, self.place.row)
        uses = Uses(self.workspace, self.state, self.doc_id)
        mixtures, not_in, damaged = uses.mixtures()
        models = uses.models
        return {
            "doc_id": id_text(self.doc_id),
            "recipe": self.state.recipe,
            "source": shard.source,
            "place": {
                "file": str(shard.text_path),
                "row": self.place.row_in_file(),
                "shard": shard.name,
                "shard_row": self.place.row,
            },
            "columns": {name: value for name, value in core.items() if name not in ("doc_id", "source")},
            "text": self.text(TEXT_CHARS, self.place),
            "annotations": {a.prefix: self.columns_of(a) for a in self.annotations if a.columns},
            "stages": {a.prefix: stages_of(a, models) for a in self.annotations},
            "decision": self.decision_of(self.place),
            "label": self.label(core["text_digest"]),
            "duplicates": [found for a in self.annotations if (found := self.duplicates(a)) is not None],
            "hits": self.hits(),
            "heldout": self.heldout(),
            **tokens_of(self.token_store, self.doc_id),
            "mixtures": mixtures,
            "trained": uses.trained(mixtures),
            "taken_down": uses.taken_down(),
            "not_in": not_in,
            "damaged": damaged,
        }

    def text(self, limit: int, place: Place) -> dict[str, Any]:
        """Return the beginning of a text, or why it cannot be shown."""
        try:
            text = place.text()
        except InputError as error:
            return {"excerpt": None, "num_chars": None, "is_cut": False, "problem": str(error)}
        num_chars = len(text or "")
        return {"excerpt": None if text is None else text[:limit], "num_chars": num_chars, "is_cut": num_chars > limit}

    def columns_of(self, annotation: Annotation) -> dict[str, Any]:
        """Return the document's row of an annotation."""
        return plain_row(part_path(annotation.folder, self.place.shard), self.place.row, annotation.columns)

    def decision_of(self, place: Place) -> dict[str, Any] | None:
        """Return decision, reason, tags, and the rules behind them, or None where nothing was selected yet."""
        selection = self.state.open_selection(self.workspace)
        if selection is None:
            return None
        found = plain_row(part_path(selection.folder, place.shard), place.row)
        return found | rules_behind(found, selection, place, self.annotations)

    def label(self, text_digest: str | None) -> dict[str, Any] | None:
        """Return the newest label of the document and whether its text changed since, or None where it has none.

        Where the labels cannot be read, why, under `problem`: all else can still be told.
        """
        doc_id = id_text(self.doc_id)
        try:
            labels = read_labels(self.workspace.labels())
        except InputError as error:
            return {"problem": str(error)}
        for label in newest(labels):
            if label.doc_id == doc_id:
                said = {"label": label.label, "why": label.why, "when": label.when}
                return said | {"text_changed": label.text_digest != text_digest}
        return None

    def duplicates(self, annotation: Annotation) -> dict[str, Any] | None:
        """Return survivor, verified pairs and fellows of a stage that names a survivor; None where there are none."""
        column = f"{annotation.prefix}__kept_id"
        if column not in annotation.columns:
            return None
        own = self.columns_of(annotation)
        survivor = self.doc_id if own[column] is None else UUID(own[column]).bytes
        pairs = self._pairs(annotation.prefix)
        fellows = self._removed_for(annotation, column, survivor)
        if survivor == self.doc_id and not pairs and not fellows:
            return None
        partners = [b if a == self.doc_id else a for a, b, _ in pairs]
        listed = find_documents(self.sources, [survivor, *partners[:MOST_LISTED], *fellows[:MOST_LISTED]])
        is_removed = survivor != self.doc_id
        return {
            "stage": annotation.prefix,
            "survivor": self._described(survivor, listed) if is_removed else None,
            "similarity": own.get(f"{annotation.prefix}__similarity"),
            "num_pairs": len(pairs),
            "pairs": [
                {"doc_id": id_text(other), "source": _source(other, listed), "similarity": similarity}
                for other, (_, _, similarity) in zip(partners[:MOST_LISTED], pairs, strict=False)
            ],
            "num_removed": len(fellows),
            "removed": [{"doc_id": id_text(one), "source": _source(one, listed)} for one in fellows[:MOST_LISTED]],
        }

    def _pairs(self, prefix: str) -> list[tuple[bytes, bytes, float]]:
        path = self.artifacts.get(prefix, Path()) / "pairs.parquet"
        if not path.is_file():
            return []
        is_one = (pl.col("doc_id") == self.doc_id) | (pl.col("other_id") == self.doc_id)
        found = read_parquet_where(path, is_one).select("doc_id", "other_id", "similarity")
        return found.sort(["similarity", "doc_id", "other_id"], descending=[True, False, False]).rows()

    def _removed_for(self, annotation: Annotation, column: str, survivor: bytes) -> list[bytes]:
        found = []
        for source in self.sources:
            for shard in source.shards:
                kept = read_parquet(part_path(annotation.folder, shard), columns=[column])
                rows = kept.with_row_index("row").filter(pl.col(column) == survivor)["row"]
                if rows.len():
                    found += shard.read_core(["doc_id"])["doc_id"].gather(rows).to_list()
        return sorted(one for one in found if one not in (survivor, self.doc_id))

    def _described(self, doc_id: bytes, places: dict[bytes, Place]) -> dict[str, Any]:
        described = {"doc_id": id_text(doc_id), "source": _source(doc_id, places)}
        if doc_id not in places:
            return described | {"decision": None, "reason": None, "excerpt": None}
        decided = self.decision_of(places[doc_id]) or {"decision": None, "reason": None}
        described |= {"decision": decided["decision"], "reason": decided["reason"]}
        return described | self.text(EXCERPT_CHARS, places[doc_id])

    def hits(self) -> dict[str, list[dict[str, Any]]]:
        """Return column prefix -> hits of this document in benchmarks and held-out sets, with their evidence."""
        found = {}
        for prefix, folder in self.artifacts.items():
            path = folder / "hits.parquet"
            if path.is_file():
                rows = read_parquet_where(path, pl.col("doc_id") == self.doc_id).drop("doc_id")
                if rows.height:
                    found[prefix] = [plain(row, prefix) for row in rows.to_dicts()]
        return found

    def heldout(self) -> dict[str, Any] | None:
        """Return the held-out group the document belongs to, or None."""
        split = self.state.open_split(self.workspace)
        groups = split.groups() if split is not None else pl.DataFrame(schema={"doc_id": pl.Binary})
        own = groups.filter(pl.col("doc_id") == self.doc_id)
        if not own.height:
            return None
        row = own.row(0, named=True)
        others = groups.filter((pl.col("group_id") == row["group_id"]) & (pl.col("doc_id") != self.doc_id))
        return {
            "set": row["set"],
            "group_id": plain(row["group_id"], "group_id"),
            "num_others": others.height,
            "others": [plain(one, "doc_id") for one in sorted(others["doc_id"])[:MOST_LISTED]],
        }


def _source(doc_id: bytes, places: dict[bytes, Place]) -> str | None:
    return places[doc_id].shard.source if doc_id in places else None
