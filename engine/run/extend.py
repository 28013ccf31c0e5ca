"""Extends a version of a mixture with new documents, deduplicated against it.

1. the recipe that made it, with the new files as one more source               (engine.run.extended_recipe)
2. the documents of the version are pinned: they win over whatever is like them  (engine.run.extension)
3. the new ones pass the annotators, searches and filters of the recipe          (annotating, selecting)
4. those that are kept come in once each, in the last phase, in its order        (engine.mixture.extended)

Old documents that are not in the version stay out, and keep no new one out: they come last where documents compete.
What was held out stays so; a new document that belongs to a held-out group is held out, and one that would draw a
document of the version into such a group is an error. The tokenizer is that of the version. The removal guard does not
apply: that most of the new text is known already is no accident.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.errors import AuditError, problem
from engine.formats.doc_ids import id_text
from engine.formats.manifest import Derivation
from engine.formats.mixture import Mixture, open_mixture
from engine.formats.selection import KEPT, Selection
from engine.formats.split import Split
from engine.formats.state import RecipeState
from engine.formats.takedowns import require_none_taken_down
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import load_tokenizer
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from engine.formats.workspace_lock import in_use
from engine.mixture.curriculum import DIFFICULTY
from engine.mixture.derive import Derived
from engine.mixture.extended import NewSource, extended, last_phase
from engine.run.annotating import annotate
from engine.run.decoded_search import audit
from engine.run.derived_versions import write_derived
from engine.run.extended_recipe import NewFiles, extended_recipe, recipe_of, require_same_files, take_in_all
from engine.run.extension import Extension
from engine.run.memory import memory_ceiling
from engine.run.mixing import mixture_inputs, mixture_models
from engine.run.recipe_state import recipe_state
from engine.run.rendering import objectives
from engine.run.selecting import select
from engine.run.stage_run import Annotated
from engine.run.steps import RunContext
from engine.run.tokens import token_store_of
from engine.run.workers import number_of_jobs

_KEPT_FIELDS = {"recipe", "recipe_digest", "derived_from"}
"""What an extended version does not take from the run that made its documents."""


def mixture_extend(
    reference: str,
    inputs: Sequence[Path | str],
    source: str | None = None,
    recipe: Path | str | None = None,
    reader: str | None = None,
    text_column: str | None = None,
    id_column: str | None = None,
    license: str | None = None,  # noqa: A002 - the word of recipes
    dry_run: bool = False,
    jobs: int | None = None,
    memory: str | None = None,
    workspace: Path | str = DEFAULT_WORKSPACE,
) -> dict[str, Any]:
    """Add new documents to a version of a mixture and return the new version, or what became of them.

    Args:
        reference: name, name@latest, name@v<number> or name@<digest>.
        inputs: Files, or folders of them.
        source: Name of the new source; default: made from the first input.
        recipe: The recipe that made the version, where it is not where it was.
        reader: Source reader of the files; default: by the end of their names.
        text_column, id_column: Columns of the text and of the documents' own ids.
        license: Licence of all of the new documents.
        dry_run: Read, annotate and select, but write no version. What was made is used by the next call.
        jobs, memory: As for `run`.
        workspace: Folder of all artifacts.

    Returns:
        before, reference (of the new version; null where there is none), source, added (documents), decisions (kept,
        or the reason -> new documents), is_known (the version has this source already), dry_run; and of a new version
        digest, documents, tokens, supervised_tokens, num_steps.

    Raises:
        RecipeError: the recipe is not the one that made the version, or the name of the source is taken.
        InputError: files that cannot be read; the version holds documents that were taken down.
        AuditError: a document of the version would be held out, or does not come to the same tokens any more; or
            the new version does not hold (engine.run.audits), and is removed again.
    """
    place = Workspace.open(workspace)
    mixture = open_mixture(place, reference)
    state = mixture.require_state()
    require_none_taken_down(place, mixture)
    new = NewFiles.of(inputs, source, reader, text_column, id_column, license)
    whole, added = extended_recipe(recipe_of(mixture, state, recipe), mixture, state, place, new)
    context = RunContext(whole, place, number_of_jobs(jobs), memory_ceiling(memory))
    with in_use(place.root):
        return _extend(context, mixture, state, added, dry_run)


def _extend(context: RunContext, mixture: Mixture, state: RecipeState, added: str, dry_run: bool) -> dict[str, Any]:
    """Take in, annotate, select and write; return what `mixture_extend` says of it."""
    documents = take_in_all(context, state, added)
    if added in state.sources:
        require_same_files(context, added, documents)
        return _result(mixture, added, {}, dry_run) | {"is_known": True}
    ids = mixture.documents()["doc_id"].unique().sort()
    annotated = annotate(context, documents, Extension(ids, added, _split(context.workspace, mixture, state)))
    _require_none_held_out(mixture, annotated, added)
    selection = select(context, annotated)
    result = _result(mixture, added, _decisions(annotated, selection, added), dry_run)
    if dry_run or not result["added"]:
        return result
    written = _write(_Extending(context, annotated, selection, mixture, added))
    return result | (_told(written) if written is not None else {"added": 0})


@dataclass(frozen=True)
class _Extending:
    context: RunContext
    state: Annotated
    selection: Selection
    mixture: Mixture
    source: str


def _write(work: _Extending) -> Mixture | None:
    """Write the new version, None where no new document has a token to learn."""
    context, state, mixture = work.context, work.state, work.mixture
    old = mixture.manifest
    place = context.workspace
    tokenizer = load_tokenizer(place.tokenizer(old.tokenizer))
    store = token_store_of(context, state, work.selection, tokenizer)
    stored = store.documents()
    if stored.filter(pl.col("source") == work.source, pl.col("supervised_tokens") > 0).is_empty():
        return None
    derived = extended(mixture, stored, _new_source(work), _difficulty(work))
    where = recipe_state(context, state, work.selection, tokenizer, store, [])
    inputs = mixture_inputs(context, state, tokenizer, store, work.selection, derived.documents)
    again = {"audit": audit(context, state, tokenizer, store), "models": mixture_models(context, state)}
    inputs = inputs.model_copy(update=again)
    changes = {name: getattr(inputs, name) for name in type(inputs).model_fields if name not in _KEPT_FIELDS}
    made = next(row for row in derived.manifest.sources if row.source == work.source)
    changes["derived_from"] = Derivation(
        how="extend", reference=mixture.reference, digest=old.digest, added=made.documents
    )
    derived = Derived(derived.manifest.model_copy(update=changes), derived.documents, derived.ledger)
    return write_derived(place, mixture, derived, open_token_store(store.folder), where)


def _new_source(work: _Extending) -> NewSource:
    source = next(one for one in work.state.sources if one.name == work.source)
    licenses = pl.concat([shard.read_core(["doc_id", "license"]) for shard in source.shards])
    objective = objectives(work.context).get(work.source, "text")
    return NewSource(work.source, source.digest, objective, licenses)


def _difficulty(work: _Extending) -> pl.DataFrame | None:
    """Return doc_id, difficulty of all documents, None where the last phase goes by no column."""
    column = last_phase(work.mixture.manifest).difficulty
    if column is None:
        return None
    values = work.state.corpus(work.context).all_columns(["doc_id", column])
    return values.select("doc_id", pl.col(column).alias(DIFFICULTY))


def _split(place: Workspace, mixture: Mixture, state: RecipeState) -> Split | None:
    split = state.open_split(place)
    if split is None or mixture.manifest.split is None:
        return None
    return replace(split, digest=mixture.manifest.split)


def _require_none_held_out(mixture: Mixture, state: Annotated, source: str) -> None:
    """Raise AuditError where new documents draw some of the version into a held-out group."""
    if state.split is None:
        return
    groups = state.split.groups()
    drawn = groups.join(mixture.documents().select("doc_id").unique(), on="doc_id", how="semi")
    if not drawn.height:
        return
    shards = [shard for one in state.sources if one.name == source for shard in one.shards]
    new = pl.concat([shard.read_core(["doc_id"]) for shard in shards])
    linking = new.join(groups.join(drawn, on="group_id", how="semi"), on="doc_id", how="semi")
    old, links = (", ".join(id_text(one) for one in frame["doc_id"].sort()[:3]) for frame in (drawn, linking))
    found = (
        f"{drawn.height:,} of its documents would be held out ({old}): new documents are like them and like held-out "
        f"ones ({links or 'none'})"
    )
    needed = "no document of a held-out group in the mixture"
    raise AuditError(problem(mixture.reference, found, needed, "leave these new documents out of the input"))


def _decisions(state: Annotated, selection: Selection, source: str) -> dict[str, int]:
    """Return kept, or the reason (held out: the decision) -> documents of the new source, kept first."""
    shards = [shard for one in state.sources if one.name == source for shard in one.shards]
    rows = pl.concat([selection.decisions(shard).select("decision", "reason") for shard in shards])
    became = pl.when(pl.col("decision") == "dropped").then("reason").otherwise("decision").alias("became")
    counts = rows.group_by(became).len().sort([pl.col("became") != KEPT, "became"])
    return dict(counts.iter_rows())


def _told(written: Mixture) -> dict[str, Any]:
    manifest = written.manifest
    assert manifest.derived_from is not None
    totals = ("digest", "documents", "tokens", "supervised_tokens", "num_steps")
    told = {"reference": written.reference, "added": manifest.derived_from.added}
    return told | {name: getattr(manifest, name) for name in totals}


def _result(mixture: Mixture, source: str, decisions: dict[str, int], dry_run: bool) -> dict[str, Any]:
    return {
        "before": mixture.reference,
        "reference": None,
        "source": source,
        "added": decisions.get(KEPT, 0),
        "decisions": decisions,
        "is_known": False,
        "dry_run": dry_run,
    }
