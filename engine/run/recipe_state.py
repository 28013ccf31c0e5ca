"""What a run ended with, as the views of `provender sql`, `explain` and the verbs about mixtures read it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from engine.formats.mixture import Mixture
from engine.formats.selection import Selection
from engine.formats.state import AnnotationState, RecipeState, read_state
from engine.formats.token_store import TokenStore
from engine.formats.tokenizer import Tokenizer
from engine.run.stage_run import Annotated
from engine.run.steps import RunContext


def recipe_state(
    context: RunContext,
    state: Annotated,
    selection: Selection,
    tokenizer: Tokenizer | None,
    store: TokenStore | None,
    built: Sequence[Mixture],
) -> RecipeState:
    """Return what the views need to find the artifacts of this run; paths relative to the workspace."""
    root = context.workspace.root

    def relative(path: Path) -> str:
        return str(path.relative_to(root))

    return RecipeState(
        recipe=context.recipe.name,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        path=str(context.recipe.path.resolve()),
        sources={source.name: relative(source.folder) for source in state.sources},
        annotations=[
            AnnotationState(
                prefix=a.prefix, stage=a.stage, digest=a.digest, folder=relative(a.folder), columns=list(a.columns)
            )
            for a in state.annotations
        ],
        artifacts={prefix: relative(path) for prefix, path in state.artifacts.items()},
        edit_columns=state.edit_columns,
        models={prefix: relative(path) for prefix, path in state.models.items()},
        benchmarks={name: relative(items.path.parent) for name, items in state.benchmarks.items()},
        split=relative(state.split.folder) if state.split is not None else None,
        selection=relative(selection.folder),
        tokenizer=tokenizer.meta.digest if tokenizer is not None else None,
        token_store=relative(store.folder) if store is not None else None,
        mixtures=_current_mixtures(context, built),
    )


def _current_mixtures(context: RunContext, built: Sequence[Mixture]) -> dict[str, str]:
    """The mixtures just built, and of the recipe's others what earlier runs of it built."""
    path = context.workspace.state(context.recipe.name)
    before = read_state(context.workspace, context.recipe.name) if path.is_file() else None
    kept = {name: r for name, r in (before.mixtures if before else {}).items() if name in context.recipe.mixtures}
    return kept | {mixture.manifest.name: mixture.reference for mixture in built}
