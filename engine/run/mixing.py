"""Builds the mixtures of a recipe: plan from exact token counts, schedule, version."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from engine.base.errors import InputError
from engine.base.hashing import digest_path
from engine.base.paths import written_path
from engine.base.progress import progress, say
from engine.base.stage import stage_files
from engine.formats.annotation import Annotation
from engine.formats.coverage import FILE as COVERAGE
from engine.formats.coverage import coverage_digest
from engine.formats.manifest import HeldOutSet, SearchedBenchmark
from engine.formats.mixture import Mixture, read_mixture, version_folders
from engine.formats.parquet import read_parquet
from engine.formats.receipt import read_receipt
from engine.formats.selection import Selection
from engine.formats.state import RecipeState
from engine.formats.token_store import TokenStore
from engine.formats.tokenizer import Tokenizer
from engine.mixture.build import MixturePlan, plan_mixture
from engine.mixture.write import MixtureInputs, find_version, planned_manifest, write_version
from engine.run.decoded_search import audit, left_in, searched_field, widest_search
from engine.run.recipe_state import recipe_state
from engine.run.rendering import chat_sources, objectives
from engine.run.scheduling import is_ready, make_ready, schedule_of, shape_of
from engine.run.stage_run import Annotated
from engine.run.steps import FRESH, MADE, STALE, PlanEndsError, RunContext
from engine.run.tokens import kept_documents


def build_mixtures(
    context: RunContext,
    state: Annotated,
    selection: Selection,
    tokenizer: Tokenizer,
    store: TokenStore,
    names: Sequence[str],
) -> list[Mixture]:
    """Build or re-use the named mixtures, in the order given."""
    candidates = _candidates(context, state, selection, store)
    input_digests = {source.name: source.digest for source in state.sources}
    searched_again = audit(context, state, tokenizer, store)
    models = mixture_models(context, state)
    where = recipe_state(context, state, selection, tokenizer, store, [])
    built, supervised = [], objectives(context)
    for name in names:
        plan = plan_mixture(name, context.recipe.mixtures[name], candidates, input_digests, supervised)
        inputs = mixture_inputs(context, state, tokenizer, store, selection, plan.documents)
        inputs = inputs.model_copy(update={"audit": searched_again, "models": models})
        built.append(_build(context, plan, inputs, store, where))
    return built


def mixture_inputs(
    context: RunContext,
    state: Annotated,
    tokenizer: Tokenizer,
    store: TokenStore,
    selection: Selection,
    documents: pl.DataFrame,
) -> MixtureInputs:
    """Return what a version with these documents is made from, but for the audit and the models."""
    has_chats = bool(set(chat_sources(context)) & set(documents["source"].unique()))
    return MixtureInputs(
        recipe=context.recipe.name,
        recipe_digest=context.recipe.digest(),
        tokenizer=tokenizer.meta.digest,
        token_store=store.meta.digest,
        template=store.meta.render.get("template") if has_chats else None,
        render=store.meta.render,
        control_tokens=tokenizer.meta.control_tokens,
        selection=selection.digest,
        split=state.split.digest if state.split is not None else None,
        held_out=_held_out(context, state, documents),
        benchmarks=_benchmarks(context, state, documents),
        coverage=_coverage_digest(context, state),
    )


def _build(
    context: RunContext, plan: MixturePlan, inputs: MixtureInputs, store: TokenStore, where: RecipeState
) -> Mixture:
    step, workspace = f"mixture {plan.name}", context.workspace
    manifest = planned_manifest(plan, inputs, store)
    known = find_version(workspace, manifest)
    if known is not None and not known.is_unaudited and is_ready(workspace, known):
        context.note(step, FRESH, receipt=read_receipt(workspace.schedule(known.manifest.schedule)))
        return known
    if context.dry_run:
        context.note(step, STALE, _why(known))
        raise PlanEndsError(step)
    with progress(step):
        if known is not None:
            make_ready(workspace, known)
            mixture = known
        else:
            shape = shape_of(plan.config.row_tokens, plan.config.rows_per_step, plan.phases)
            schedule = schedule_of(workspace, plan.documents, plan.order_digest, store, shape)
            mixture = write_version(workspace, plan, manifest, schedule.meta, where, awaits_audits=True)
    if known is None:
        _say_whose(context, mixture)
    context.note(step, MADE, receipt=read_receipt(workspace.schedule(mixture.manifest.schedule)))
    return mixture


def _why(known: Mixture | None) -> str:
    if known is None:
        return "no version with these documents in this order"
    if known.is_unaudited:
        return f"{known.reference} was never audited"
    return f"the schedule or the token store of {known.reference} is not whole"


def _say_whose(context: RunContext, mixture: Mixture) -> None:
    """Say where name@latest was the version of another recipe until now: versions are numbered per name."""
    name = mixture.manifest.name
    before = version_folders(context.workspace, name).get(mixture.manifest.version - 1)
    try:
        recipe = read_mixture(before).manifest.recipe if before is not None else context.recipe.name
    except InputError as error:
        say(f"{name}@v{mixture.manifest.version - 1}, the version before, is damaged: {str(error).splitlines()[0]}")
        return
    if recipe != context.recipe.name:
        say(
            f"{mixture.reference} follows a version that recipe '{recipe}' made: versions of one name are numbered "
            f"together, and {name}@latest is {mixture.reference} now. Call it something else to keep them apart"
        )


def _candidates(context: RunContext, state: Annotated, selection: Selection, store: TokenStore) -> pl.DataFrame:
    mixtures = context.recipe.mixtures.values()
    named = {name for mixture in mixtures for name in mixture.source_names()}
    kept = kept_documents([source for source in state.sources if source.name in named], selection, state.edits_of)
    stored = store.documents().with_row_index("store_row")
    candidates = stored.join(kept.select("doc_id", "license"), on="doc_id", how="left", maintain_order="left").select(
        "doc_id", "source", "license", "store_row", "num_tokens", "supervised_tokens", "num_bytes"
    )
    ordering = sorted({column for mixture in mixtures for _, column in mixture.difficulties()})
    if not ordering:
        return candidates
    values = state.corpus(context).all_columns(["doc_id", *ordering]).drop("shard", "row")
    return candidates.join(values, on="doc_id", how="left", maintain_order="left")


def mixture_models(context: RunContext, state: Annotated) -> dict[str, str]:
    """Column prefix -> digest of the files of the model its stage learnt from documents or brought along."""
    found = {}
    for stage in context.recipe.annotate:
        prefix, paths = stage.config.column_prefix, stage_files(stage.module, stage.config).get("model", [])
        if prefix in state.models and "documents" in getattr(stage.module, "TRAINS_ON", ("documents",)):
            found[prefix] = digest_path(state.models[prefix])
        elif len(paths) == 1:
            found[prefix] = digest_path(context.recipe.base / written_path(paths[0]))
    return found


def _held_out(context: RunContext, state: Annotated, documents: pl.DataFrame) -> list[HeldOutSet]:
    """The held-out sets the documents of the mixture were searched for; none without a contamination stage."""
    search = widest_search(context, state)
    if state.split is None or search is None:
        return []
    coverage = _coverage(state, search)
    searched_documents = _searched(context, state, documents, search)
    found = _left_in(context, state, documents)
    sets = state.split.heldout().group_by("set").agg(pl.len().alias("documents"), pl.col("num_bytes").sum()).sort("set")
    return [
        HeldOutSet(
            set=name,
            documents=num_documents,
            bytes=num_bytes,
            searched_documents=searched_documents,
            contaminated_documents=coverage[name]["flagged_documents"],
            found=found.get(name, []),
            matchable_documents=coverage[name]["matchable_items"],
            planted_recall=coverage[name]["planted_recall"],
        )
        for name, num_documents, num_bytes in sets.iter_rows()
    ]


def _benchmarks(context: RunContext, state: Annotated, documents: pl.DataFrame) -> list[SearchedBenchmark]:
    """The benchmarks the documents of the mixture were searched for, and which of them hold an item all the same."""
    search = widest_search(context, state)
    if search is None or not state.benchmarks:
        return []
    coverage = _coverage(state, search)
    searched_documents = _searched(context, state, documents, search)
    found = _left_in(context, state, documents)
    return [
        SearchedBenchmark(
            name=name,
            digest=items.digest,
            stored=items.stored,
            items=items.num_items,
            matchable_items=coverage[name]["matchable_items"],
            searched_documents=searched_documents,
            found=found.get(name, []),
            planted_recall=coverage[name]["planted_recall"],
            control_flag_rate=coverage[name]["control_flag_rate"],
        )
        for name, items in sorted(state.benchmarks.items())
    ]


def _left_in(context: RunContext, state: Annotated, documents: pl.DataFrame) -> dict[str, list[str]]:
    """Return benchmark or held-out set -> doc_ids of documents of the mixture that hold some of it, ascending."""
    # What was cut is not in the text any more; what was only tagged is.
    held = left_in(context, state).join(documents, on="doc_id", how="semi", maintain_order="left")
    found: dict[str, list[str]] = {}
    for doc_id, benchmark in held.select("doc_id", "benchmark").iter_rows():
        found.setdefault(benchmark, []).append(doc_id.hex())
    return found


def _coverage(state: Annotated, search: Annotation) -> dict[str, dict[str, Any]]:
    sheet = read_parquet(state.artifacts[search.prefix] / "coverage.parquet")
    return {row["benchmark"]: row for row in sheet.iter_rows(named=True)}


def _coverage_digest(context: RunContext, state: Annotated) -> str | None:
    """Return the digest of what the coverage sheet says of the searches; None where nothing searched."""
    search = widest_search(context, state)
    return None if search is None else coverage_digest(state.artifacts[search.prefix] / COVERAGE)


def _searched(context: RunContext, state: Annotated, documents: pl.DataFrame, search: Annotation) -> int:
    """Return how many documents of the mixture were searched: those with text in its field, outside held-out groups."""
    field = searched_field(context, search)
    corpus = state.corpus(context)
    corpus = replace(corpus, sources=tuple(source.of_field(field) for source in corpus.sources))
    searched = corpus.all_columns(["doc_id", "text_digest"]).filter(pl.col("text_digest").is_not_null())
    if state.split is not None:
        searched = searched.join(state.split.groups(), on="doc_id", how="anti")
    return documents.join(searched, on="doc_id", how="semi")["store_row"].n_unique()
