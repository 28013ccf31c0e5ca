"""Takes documents down: they and their near-duplicates leave every mixture, for good, without a run of a recipe.

1. who leaves: the documents named, equal texts, and what a verified pair joins to them   (engine.run.relatives)
2. they are remembered, so that later runs of any recipe drop them                        (engine.formats.takedowns)
3. the newest version of every mixture that holds one gets a successor without them       (engine.mixture.without)
4. the training runs that saw them are listed, with those that started from them          (engine.run.trained_on)

A second call with the same documents goes on where a killed one stopped, and otherwise changes nothing. A mixture that
would be left without documents gets no new version; the result says so.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.errors import InputError, RecipeError, problem, unknown
from engine.formats.doc_ids import id_text
from engine.formats.find import find_document, find_documents
from engine.formats.manifest import Manifest
from engine.formats.mixture import Mixture, mixture_names, mixture_versions
from engine.formats.state import RecipeState, read_state, recipe_names
from engine.formats.takedowns import ASKED, Takedown, TakenDown, append_takedowns, now, read_takedowns
from engine.formats.token_store import open_token_store
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from engine.formats.workspace_lock import in_use
from engine.mixture.without import without
from engine.run.derived_versions import follow, write_derived
from engine.run.relatives import Searched, relatives
from engine.run.trained_on import trained_on

REMAINS = (
    "older versions, their token stores and their schedules hold the documents until they are deleted, though nothing "
    "is trained on them, exported or extended any more",
    "the source's own files are yours: a document stays in them, and is dropped at every later run",
    "models that were trained on them keep what they learned, and so do tokenizers and classifiers",
    "held-out sets hold a document that was held out until the recipe draws others",
)
"""What no takedown can do."""
ONLY_EQUAL = "no recipe here has a stage near_dup, so only equal texts are known to be like a document"


def mixture_takedown(
    doc_ids: Sequence[str] = (),
    mixture: Sequence[str] | None = None,
    reason: str | None = None,
    by: str | None = None,
    threshold: float | None = None,
    dry_run: bool = False,
    list_taken_down: bool = False,
    workspace: Path | str = DEFAULT_WORKSPACE,
) -> dict[str, Any]:
    """Take documents and their duplicates out of mixtures, remember it, and return what left and who trained on it.

    Args:
        doc_ids: Ids, or beginnings of ids that no other document shares.
        mixture: Names of the mixtures that get a new version; default: all. All later runs drop the documents.
        reason: Kept with the takedown, and in the new versions.
        by: Who asked for it, kept with the takedown.
        threshold: Similarity from which a document leaves with them; default: that of the recipe's near_dup.
        dry_run: Only say what would be done.
        list_taken_down: Return everything that was taken down so far, and do nothing.
        workspace: Folder of all artifacts.

    Returns:
        documents (doc_id, source, why, of, similarity), mixtures (reference before, new reference or null, documents
        and supervised tokens that leave), not_in (ids that no newest version holds), left_in (newest versions that
        keep some, as they were not named), runs, descendants, unknown_runs (engine.run.trained_on), remains (what a
        takedown cannot do), dry_run. With list_taken_down: takedowns.

    Raises:
        RecipeError: no ids; no such mixture.
        InputError: an id is no id, or not known, or not unique; no pairs were verified down to the threshold.
        AuditError: a new version does not hold (engine.run.audits); it is removed again.
    """
    place = Workspace.open(workspace)
    if list_taken_down:
        return {"takedowns": [one.model_dump(mode="json") for one in read_takedowns(place)]}
    if not doc_ids:
        raise RecipeError(problem("DOC_ID", "none is given", "the ids to take down", "name them, or write --list"))
    newest = _newest(place, mixture)
    searches = [Searched.of_state(place, state) for state in _states(place, newest)]
    leaving, digests = _leaving(searches, doc_ids, threshold)
    holding = [version for version in newest if _held(version, leaving).height]
    chosen = [version for version in holding if mixture is None or version.manifest.name in mixture]
    runs = trained_on(place, leaving["doc_id"])
    if not dry_run:
        _remember(place, leaving, digests, reason, by, threshold)
    made = _new_versions(place, chosen, leaving, reason, dry_run)
    held = pl.concat([leaving.select("doc_id").clear(), *(_held(version, leaving) for version in holding)])
    asked = leaving.filter(pl.col("why") == ASKED)
    return {
        "dry_run": dry_run,
        "documents": [_shown(row) for row in leaving.iter_rows(named=True)],
        "not_in": [id_text(one) for one in asked.join(held, on="doc_id", how="anti")["doc_id"]],
        "mixtures": made,
        "left_in": [version.reference for version in holding if version not in chosen],
        **runs,
        "reason": reason,
        "remains": [*REMAINS, *([] if _has_pairs(searches) else [ONLY_EQUAL])],
    }


def _newest(place: Workspace, named: Sequence[str] | None) -> list[Mixture]:
    """Return the newest version of every mixture; raises RecipeError for a name that is none."""
    names = mixture_names(place)
    for name in named or ():
        if name not in names:
            raise RecipeError(unknown(place.root, "mixture", name, names))
    return [versions[-1] for name in names if (versions := mixture_versions(place, name))]


def _leaving(
    searches: Sequence[Searched], doc_ids: Sequence[str], threshold: float | None
) -> tuple[pl.DataFrame, dict[bytes, bytes | None]]:
    """Return who leaves (engine.run.relatives.SCHEMA), and the digest of the text of each document that was named."""
    if threshold is not None and not _has_pairs(searches):
        raise InputError(problem(f"--threshold {threshold}", ONLY_EQUAL, fix="add near_dup to the recipe and run it"))
    sources = {source.folder: source for searched in searches for source in searched.sources}
    asked = [find_document(list(sources.values()), doc_id).doc_id for doc_id in doc_ids]
    places = find_documents(list(sources.values()), asked)
    digests = {one: where.shard.read_core(["text_digest"])["text_digest"][where.row] for one, where in places.items()}
    known = {one: digest for one, digest in digests.items() if digest is not None}
    found = pl.concat([relatives(searched, asked, threshold, known) for searched in searches])
    order = [pl.col("why") != ASKED, -pl.col("similarity"), pl.col("why"), pl.col("of")]
    return found.sort(order).unique("doc_id", keep="first").sort("doc_id"), digests


def _has_pairs(searches: Sequence[Searched]) -> bool:
    return any(searched.of_stage("near_dup") for searched in searches)


def _states(place: Workspace, newest: Sequence[Mixture]) -> list[RecipeState]:
    """Return what the newest versions were made from, and what the recipes ended with, each once."""
    states = [state for version in newest if (state := version.state()) is not None]
    states += [state for name in recipe_names(place) if (state := read_state(place, name)) is not None]
    # What decides who leaves is where the documents and their pairs lie.
    return list({(str(state.sources), str(state.artifacts)): state for state in states}.values())


def _held(version: Mixture, leaving: pl.DataFrame) -> pl.DataFrame:
    return version.documents().select("doc_id").unique().join(leaving, on="doc_id", how="semi")


def _remember(
    place: Workspace,
    leaving: pl.DataFrame,
    digests: dict[bytes, bytes | None],
    reason: str | None,
    by: str | None,
    threshold: float | None,
) -> None:
    """Add the takedown to those of the workspace, unless an earlier one has all of it."""
    rows = [_taken_down(row, digests) for row in leaving.iter_rows(named=True)]
    known = {(one.doc_id, one.why) for earlier in read_takedowns(place) for one in earlier.documents}
    if any((row.doc_id, row.why) not in known for row in rows):
        taken = Takedown(when=now(), by=by, reason=reason, threshold=threshold, documents=rows)
        append_takedowns(place, [taken])


def _taken_down(row: dict[str, Any], digests: dict[bytes, bytes | None]) -> TakenDown:
    digest = digests.get(row["doc_id"])
    ids = {"doc_id": row["doc_id"].hex(), "of": row["of"].hex()}
    return TakenDown.model_validate(row | ids | {"text_digest": digest.hex() if digest is not None else None})


def _new_versions(
    place: Workspace, chosen: Sequence[Mixture], leaving: pl.DataFrame, reason: str | None, dry_run: bool
) -> list[dict[str, Any]]:
    """Write a version without them of each of these, and make it the current one of its recipe; say what changed."""
    with nullcontext() if dry_run else in_use(place.root):
        made = [_new_version(place, version, leaving, reason, dry_run) for version in chosen]
        if not dry_run:
            follow(place)
    return made


def _new_version(
    place: Workspace, version: Mixture, leaving: pl.DataFrame, reason: str | None, dry_run: bool
) -> dict[str, Any]:
    """Write the version without them, and say what changed."""
    store = open_token_store(place.tokens(version.manifest.token_store))
    removed = leaving["doc_id"].to_list()
    derived = without(version, store.documents(), removed, _licenses(place, version, removed), reason)
    after = derived.manifest if derived is not None else None
    written = None
    if derived is not None and not dry_run:
        written = write_derived(place, version, derived, store)
    return {
        "name": version.manifest.name,
        "before": version.reference,
        "reference": written.reference if written is not None else None,
        "is_empty": derived is None,
        "documents": version.manifest.documents - (after.documents if after is not None else 0),
        "supervised_tokens": version.manifest.supervised_tokens - (after.supervised_tokens if after is not None else 0),
        "sources_gone": sorted(_sources(version.manifest) - (_sources(after) if after is not None else set())),
    }


def _licenses(place: Workspace, version: Mixture, removed: Sequence[bytes]) -> dict[bytes, str]:
    state = version.state()
    if state is None:
        return {}
    found = find_documents(state.source_documents(place), removed)
    stated = {one: where.shard.read_core(["license"])["license"][where.row] for one, where in found.items()}
    return {one: name for one, name in stated.items() if name is not None}


def _sources(manifest: Manifest) -> set[str]:
    return {row.source for row in manifest.sources}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"doc_id": id_text(row["doc_id"]), "of": id_text(row["of"])}
