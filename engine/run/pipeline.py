"""Runs a data recipe from sources to schedule, re-using everything that is not stale.

1. intake: sources become documents with ids            (engine.run.intake)
2. annotate: columns beside them, and the split          (engine.run.annotating)
3. select: a decision per document, ledger, guard        (engine.run.selecting)
4. tokenizer and token store                             (engine.run.tokens)
5. mixtures: plan, schedule, version                     (engine.run.mixing)
6. audits of what was built                              (engine.run.audits)
7. the state of the recipe, which the SQL views read     (engine.formats.state)
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.base.errors import AuditError, RecipeError, problem, unknown
from engine.formats.documents import SourceDocuments
from engine.formats.mixture import Mixture
from engine.formats.receipt import read_receipt
from engine.formats.selection import Selection
from engine.formats.state import write_state
from engine.formats.token_store import TokenStore
from engine.formats.tokenizer import Tokenizer, control_tokens_told, markers_as_text
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from engine.formats.workspace_lock import in_use
from engine.mixture.accounts import effective_before_and_after
from engine.recipe import DataRecipe, load_recipe
from engine.run import intake
from engine.run.annotating import annotate
from engine.run.audits import audit_versions
from engine.run.control_tokens import check_slots
from engine.run.decoded_search import STAGE as SEARCH
from engine.run.estimate import estimate
from engine.run.memory import memory_ceiling
from engine.run.mixing import build_mixtures
from engine.run.recipe_state import recipe_state
from engine.run.selecting import guard, select
from engine.run.stage_run import Annotated
from engine.run.steps import CONTROL_TOKENS, FRESH, MADE, NEW_PIECES, STALE, TOKEN_STORE, PlanEndsError, RunContext
from engine.run.tokens import named_tokenizer, token_store_of, tokenizer_of
from engine.run.what_if import is_last_selection, what_if
from engine.run.workers import number_of_jobs

GUARD = "the removal guard"
"""Where a plan ends whose selection is there and would be stopped."""


def run(
    recipe: Path | str | DataRecipe,
    workspace: Path | str = DEFAULT_WORKSPACE,
    dry_run: bool = False,
    mixtures: Sequence[str] | None = None,
    jobs: int | None = None,
    memory: str | None = None,
    border: bool = False,
) -> dict[str, Any]:
    """Run all data stages of a recipe and return what was done: steps, ledger, mixtures.

    Args:
        recipe: YAML file or a checked recipe.
        workspace: Folder of all artifacts; made where it does not exist.
        dry_run: Only say what is stale, and where that begins with the selection what the rules would keep
            (engine.run.what_if); nothing is written, and the removal guard only tells.
        mixtures: Build only these mixtures of the recipe.
        jobs: Workers; changes no byte.
        memory: Ceiling such as "4GB"; changes no byte.
        border: With dry_run, documents at the threshold of every rule, not only of those that changed.

    Raises:
        RecipeError, InputError: what the user has to mend, before or while sources are read.
        AuditError: the ledger does not balance, or the removal guard stopped the run.
    """
    context = _context(recipe, workspace, dry_run, jobs, memory)
    chosen = _chosen_mixtures(context.recipe, mixtures)
    if border and not dry_run:
        raise RecipeError(problem("--border", "a run shows no borders", "--dry-run beside it"))
    with nullcontext() if dry_run else in_use(context.workspace.root):
        return _run(context, chosen, border)


def _run(context: RunContext, chosen: list[str], border: bool) -> dict[str, Any]:
    if chosen:
        check_slots(context)
    state: Annotated | None = None
    selection: Selection | None = None
    try:
        sources = take_in_sources(context)
        state = annotate(context, sources)
        selection = select(context, state)
        tokenizer: Tokenizer | None = None
        store: TokenStore | None = None
        built: list[Mixture] = []
        if not context.dry_run:
            # Before anything may stop the run, so that sql, sample and explain show what it stopped at.
            write_state(context.workspace, recipe_state(context, state, selection, tokenizer, store, built))
        _guard(context, selection)
        if chosen:
            tokenizer = tokenizer_of(context, state, selection)
            store = token_store_of(context, state, selection, tokenizer)
            built = _mixtures(context, state, selection, tokenizer, store, chosen)
    except PlanEndsError as end:
        return _plan(context, chosen, str(end), _what_if(context, state, selection, border or str(end) == GUARD))
    if context.dry_run:
        return _plan(context, chosen, None, _what_if(context, state, selection, border))
    ended = recipe_state(context, state, selection, tokenizer, store, built)
    audits = audit_versions(context.workspace, ended, built)
    write_state(context.workspace, ended)
    return _result(context, selection, tokenizer, built) | {"audits": audits}


def _mixtures(
    context: RunContext,
    state: Annotated,
    selection: Selection,
    tokenizer: Tokenizer,
    store: TokenStore,
    chosen: Sequence[str],
) -> list[Mixture]:
    """Return the mixtures; of a plan each is looked at, for none follows another, and then the plan ends."""
    if not context.dry_run:
        return build_mixtures(context, state, selection, tokenizer, store, chosen)
    built: list[Mixture] = []
    stale = None
    for name in chosen:
        try:
            built += build_mixtures(context, state, selection, tokenizer, store, [name])
        except PlanEndsError as end:
            if str(end) != f"mixture {name}":
                raise
            stale = stale or end
    # What stands before the mixtures was noted with each of them.
    context.steps[:] = {step.name: step for step in context.steps}.values()
    if stale is not None:
        raise stale
    return built


def tokenizer_train(
    recipe: Path | str, workspace: Path | str = DEFAULT_WORKSPACE, jobs: int | None = None, memory: str | None = None
) -> dict[str, Any]:
    """Run a recipe up to its tokenizer and return where it is, its size and its digest."""
    context = _context(recipe, workspace, False, jobs, memory)
    config = context.recipe.tokenizer
    if config is None or (config.train is None and config.extend is None):
        fix = "add tokenizer: {train: {sources: [...]}}"
        raise RecipeError(problem(context.recipe.path.name, "it trains or extends no tokenizer", fix=fix))
    with in_use(context.workspace.root):
        state = annotate(context, take_in_sources(context))
        selection = select(context, state)
        guard(context, selection)
        tokenizer = named_tokenizer(context, state, selection)
    return {"folder": str(tokenizer.folder), **tokenizer.meta.model_dump()}


def take_in_sources(context: RunContext) -> tuple[SourceDocuments, ...]:
    """Read in what is new or changed; in a dry run all stale sources are listed before the plan ends."""
    taken: list[SourceDocuments] = []
    stale = None
    for source in context.recipe.sources:
        name = f"source {source.config.name}"
        documents = intake.current(
            source.config, source.module, context.recipe.base, context.workspace, may_write=not context.dry_run
        )
        if documents is not None:
            context.note(name, FRESH, receipt=read_receipt(documents.folder))
        elif context.dry_run:
            context.note(name, STALE, "new, or its files or its part of the recipe changed")
            stale = stale or name
            continue
        else:
            documents = intake.take_in(
                source.config, source.module, context.recipe.base, context.workspace, context.jobs
            )
            context.note(name, MADE, receipt=read_receipt(documents.folder))
        taken.append(documents)
    if stale is not None:
        raise PlanEndsError(stale)
    return tuple(taken)


def _guard(context: RunContext, selection: Selection) -> None:
    """Stop the run where too much would go; of a plan that is the end too, but no failure."""
    try:
        guard(context, selection)
    except AuditError as stopped:
        if context.dry_run:
            raise PlanEndsError(GUARD) from stopped
        raise


def _what_if(
    context: RunContext, state: Annotated | None, selection: Selection | None, border: bool
) -> dict[str, Any] | None:
    """Return what the rules would keep, where the columns are there and it is not what the last run kept anyway."""
    if state is None:
        return None
    is_known = selection is not None and is_last_selection(context, selection)
    return None if is_known and not border else what_if(context, state, border)


def _context(
    recipe: Path | str | DataRecipe, workspace: Path | str, dry_run: bool, jobs: int | None, memory: str | None
) -> RunContext:
    loaded = recipe if isinstance(recipe, DataRecipe) else load_recipe(recipe)
    root = Path(workspace)
    if not dry_run:
        root.mkdir(parents=True, exist_ok=True)
    return RunContext(loaded, Workspace(root), number_of_jobs(jobs), memory_ceiling(memory), dry_run)


def _chosen_mixtures(recipe: DataRecipe, names: Sequence[str] | None) -> list[str]:
    for name in names or ():
        if name not in recipe.mixtures:
            raise RecipeError(unknown(recipe.path.name, "mixture", name, recipe.mixtures))
    return list(recipe.mixtures) if names is None else list(names)


def _plan(
    context: RunContext, mixtures: Sequence[str], stopped_at: str | None, found: dict[str, Any] | None
) -> dict[str, Any]:
    known = {step.name for step in context.steps}
    steps = [step.model_dump() for step in context.steps]
    if stopped_at is not None:
        following = [s.config.column_prefix for s in context.recipe.annotate]
        following += ["split"] if context.recipe.split else []
        following += ["selection"]
        config = context.recipe.tokenizer
        trained = ["tokenizer"] if config is not None and config.train is not None else []
        trained += [NEW_PIECES] if config is not None and config.extend is not None else []
        if mixtures:
            searches = any(stage.config.stage == SEARCH for stage in context.recipe.annotate)
            tags = [CONTROL_TOKENS] if context.recipe.control_tokens is not None else []
            following += [*trained, *tags, TOKEN_STORE, *(["audit"] if searches else [])]
            following += [f"mixture {name}" for name in mixtures]
        steps += [{"name": n, "state": STALE, "why": f"follows {stopped_at}"} for n in following if n not in known]
    return {
        "recipe": context.recipe.name,
        "dry_run": True,
        "jobs": context.jobs,
        "memory_bytes": context.memory_bytes,
        "steps": steps,
        "estimate": estimate(context, steps),
        "what_if": found,
    }


def _result(
    context: RunContext, selection: Selection, tokenizer: Tokenizer | None, built: Sequence[Mixture]
) -> dict[str, Any]:
    return {
        "recipe": context.recipe.name,
        "dry_run": False,
        "workspace": str(context.workspace.root),
        "steps": [step.model_dump() for step in context.steps],
        "annotating": [asdict(wave) for wave in context.annotating],
        "ledger": selection.ledger().to_dicts(),
        "n_eff": effective_before_and_after(selection.ledger()),
        "control_tokens": control_tokens_told(tokenizer.meta) if tokenizer is not None else [],
        "markers_as_text": markers_as_text(tokenizer) if tokenizer is not None else [],
        "mixtures": [
            {"reference": mixture.reference, "digest": mixture.manifest.digest, **_totals(mixture)} for mixture in built
        ],
    }


def _totals(mixture: Mixture) -> dict[str, Any]:
    manifest = mixture.manifest
    return {
        "documents": manifest.documents,
        "tokens": manifest.tokens,
        "unique_tokens": sum(source.unique_tokens for source in manifest.sources),
        "supervised_tokens": manifest.supervised_tokens,
        "n_eff_before": manifest.n_eff_before,
        "n_eff_after": manifest.n_eff_after,
        "num_steps": manifest.num_steps,
    }
