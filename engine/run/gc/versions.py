"""Mixture versions that are to go: none that anything else refers to."""

import re
from collections.abc import Sequence

from engine.base.errors import InputError, problem
from engine.formats.manifest import Mixture, mixture_names, mixture_versions, open_mixture
from engine.formats.run import open_run, run_names
from engine.formats.state import read_state, recipe_names
from engine.formats.workspace import Workspace


def doomed_versions(workspace: Workspace, references: Sequence[str]) -> list[Mixture]:
    """Return the versions named, each once; raises InputError for one that has to stay, and says why."""
    for reference in references:
        if not re.fullmatch(r".+@v[0-9]+", reference):
            raise InputError(problem(reference, "no number of a version", "name@v1", "write the version out"))
    doomed = {mixture.folder: mixture for mixture in (open_mixture(workspace, reference) for reference in references)}
    for mixture in doomed.values():
        reason = _stays(workspace, mixture, list(doomed.values()))
        if reason is not None:
            raise InputError(problem(mixture.reference, *reason))
    return list(doomed.values())


def _stays(workspace: Workspace, mixture: Mixture, doomed: Sequence[Mixture]) -> tuple[str, str, str] | None:
    """Return (found, needed, fix) where a version cannot go."""
    digest, versions = mixture.manifest.digest, mixture_versions(workspace, mixture.manifest.name)
    if mixture.reference == versions[-1].reference:
        # Its number would be given to another content.
        return "it is the latest version", "a later version", "run the recipe again first, or keep it"
    for recipe in recipe_names(workspace):
        state = read_state(workspace, recipe)
        if state is not None and mixture.reference in state.mixtures.values():
            return f"recipe {recipe} built it last", "a later version of that recipe", f"run {recipe} again first"
    for name in run_names(workspace):
        if _mentions(open_run(workspace, name).content, digest):
            fix = f"delete runs/{name} first, if nobody needs it"
            return f"the run {name} refers to it", "versions that no run refers to", fix
    gone = {one.reference for one in doomed}
    for name in mixture_names(workspace):
        for other in mixture_versions(workspace, name):
            derived = other.manifest.derived_from
            if derived is not None and derived.digest == digest and other.reference not in gone:
                needed = "versions from which no other was made"
                return f"{other.reference} was made from it ({derived.how})", needed, f"name {other.reference} too"
    return None


def _mentions(content: object, digest: str) -> bool:
    if isinstance(content, dict):
        return any(_mentions(value, digest) for value in content.values())
    if isinstance(content, list):
        return any(_mentions(value, digest) for value in content)
    return content == digest
