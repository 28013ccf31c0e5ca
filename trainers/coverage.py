"""The gate: no run starts unless every probe it will report was searched for in its data and in its ancestors' data.

A probe set is covered by a mixture whose manifest lists it among the held-out sets with all documents searched, replay
included. Ancestors must be covered by the same split: another split holds out other documents under the same name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.base.errors import AuditError, problem, unknown
from engine.formats.manifest import Mixture, open_mixture
from engine.formats.workspace import Workspace

MIN_PLANTED_RECALL = 0.95
"""Share of planted copies a search must have found for its silence to mean something."""


def require_coverage(
    sets: Sequence[str], mixture: Mixture, ancestors: Sequence[Mapping[str, Any]], workspace: Workspace
) -> None:
    """Raise one AuditError that lists every probe set that is not covered, and by which mixture.

    `ancestors` are the runs behind the base as run.json tells them: `run`, and `mixture` with reference and digest.
    """
    found = _uncovered(sets, mixture, mixture.reference)
    for ancestor in ancestors if sets else ():
        named = ancestor["mixture"]
        older = open_mixture(workspace, named["reference"])
        place = f"{older.reference} (behind base run {ancestor['run']})"
        if older.manifest.digest != named["digest"]:
            needed = f"digest {named['digest'][:12]}"
            found.append(problem(place, "it is not the mixture the run was trained on", needed))
        elif older.manifest.split != mixture.manifest.split:
            fix = "build both mixtures with one data recipe and train the base again"
            found.append(
                problem(place, "it has another split, so it may hold what the probes ask", "the same split", fix)
            )
        else:
            found += _uncovered(sets, older, place)
    if found:
        raise AuditError("\n".join(found))


def _uncovered(sets: Sequence[str], mixture: Mixture, place: str) -> list[str]:
    manifest = mixture.manifest
    held_out = {held.set: held for held in manifest.held_out}
    messages = []
    for name in sets:
        if manifest.split is None or name not in held_out:
            messages.append(unknown(place, "held-out set searched for in it", name, held_out))
        elif held_out[name].searched_documents != manifest.documents:
            searched = held_out[name].searched_documents
            found = f"{searched:,} of its {manifest.documents:,} documents were searched for '{name}'"
            messages.append(problem(place, found, "all of them, replay included", "run the data recipe again"))
        elif (recall := held_out[name].planted_recall) is not None and recall < MIN_PLANTED_RECALL:
            found = f"the search for '{name}' found {recall:.1%} of its planted copies"
            fix = "look at coverage.parquet of the contamination stage"
            messages.append(problem(place, found, f"at least {MIN_PLANTED_RECALL:.0%}", fix))
    return messages
