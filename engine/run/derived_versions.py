"""Versions that a takedown or an extension made: scheduled, written, judged, and named by the recipes they follow."""

from collections.abc import Mapping

from engine.formats.mixture import Mixture, mixture_names, mixture_versions
from engine.formats.state import RecipeState, read_state, recipe_names, write_state
from engine.formats.takedowns import TAKEDOWN
from engine.formats.token_store import TokenStore
from engine.formats.workspace import Workspace
from engine.mixture.derive import Derived
from engine.mixture.write import find_version, scheduled, write_content
from engine.run.audits import audit_versions
from engine.run.scheduling import make_ready, schedule_of, shape_of


def write_derived(
    place: Workspace, version: Mixture, derived: Derived, store: TokenStore, state: RecipeState | None = None
) -> Mixture:
    """Schedule a derived version in the shape of the one it was made from, write it, and let the audits judge it."""
    manifest = derived.signed(store)
    made_from = state or version.state()
    written = find_version(place, manifest)
    if written is not None:
        make_ready(place, written)
    else:
        shape = shape_of(manifest.row_tokens, manifest.rows_per_step, manifest.phases)
        schedule = schedule_of(place, derived.documents, derived.order_digest, store, shape)
        whole = scheduled(manifest, schedule.meta)
        written = write_content(place, whole, derived.documents, derived.ledger, made_from, made_from is not None)
    if made_from is not None:
        audit_versions(place, made_from, [written])
    return written


def follow(place: Workspace) -> None:
    """Let each recipe whose current version something was taken out of name the one without it, for views and pages.

    Also where a takedown before this one was killed when it had written that version.
    """
    after = {}
    for version in (version for name in mixture_names(place) for version in mixture_versions(place, name)):
        derived = version.manifest.derived_from
        if derived is not None and derived.how == TAKEDOWN:
            after[derived.reference] = version.reference
    for name in recipe_names(place):
        state = read_state(place, name)
        if state is not None and after.keys() & set(state.mixtures.values()):
            current = {mixture: _last(after, reference) for mixture, reference in state.mixtures.items()}
            write_state(place, state.model_copy(update={"mixtures": current}))


def _last(after: Mapping[str, str], reference: str) -> str:
    while reference in after:
        reference = after[reference]
    return reference
