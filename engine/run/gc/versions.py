"""Mixture versions that are to go: those named, where nothing else refers to them, and those that killed runs left.

They go by their receipts, so that a version whose manifest was edited is in nobody's way and can go itself.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.base.errors import InputError, problem
from engine.formats.mixture import UNAUDITED, version_folder, version_folders
from engine.formats.receipt import read_receipt
from engine.formats.run import open_run, run_names
from engine.formats.state import read_state, recipe_names
from engine.formats.workspace import Workspace
from engine.run.gc.needed import all_version_folders, json_of


def doomed_versions(workspace: Workspace, references: Sequence[str]) -> list[Path]:
    """Return the folders of the versions named, then of those that await their audits, each once.

    Nobody finds the latter, and while nobody is at work no audit will come: the run that wrote them was killed. Raises
    InputError for a version that is named and has to stay, and says why.
    """
    for reference in references:
        if not re.fullmatch(r".+@v[0-9]+", reference):
            raise InputError(problem(reference, "no number of a version", "name@v1", "write the version out"))
    named = list(dict.fromkeys(version_folder(workspace, reference) for reference in references))
    left = [folder for folder in all_version_folders(workspace) if (folder / UNAUDITED).exists()]
    doomed = [*named, *left]
    for folder in named:
        reason = _stays(workspace, folder, doomed)
        if reason is not None:
            raise InputError(problem(_reference(folder), *reason))
    return doomed


def _stays(workspace: Workspace, folder: Path, doomed: Sequence[Path]) -> tuple[str, str, str] | None:
    """Return (found, needed, fix) where a version cannot go."""
    receipt = read_receipt(folder)
    assert receipt is not None, "a version that is found has a receipt"
    if folder == list(version_folders(workspace, folder.parent.name).values())[-1]:
        # Its number would be given to another content.
        return "it is the latest version", "a later version", "run the recipe again first, or keep it"
    for recipe in recipe_names(workspace):
        state = read_state(workspace, recipe)
        if state is not None and _reference(folder) in state.mixtures.values():
            return f"recipe {recipe} built it last", "a later version of that recipe", f"run {recipe} again first"
    for name in run_names(workspace):
        if _mentions(open_run(workspace, name).content, receipt.digest):
            fix = f"delete runs/{name} first, if nobody needs it"
            return f"the run {name} refers to it", "versions that no run refers to", fix
    for other in all_version_folders(workspace):
        derived = _derived_from(other) if other not in doomed else None
        if derived is not None and _mentions(derived, receipt.digest):
            needed, fix = "versions from which no other was made", f"name {_reference(other)} too"
            return f"{_reference(other)} was made from it ({derived['how']})", needed, fix
    return None


def _derived_from(folder: Path) -> Any:
    """Return what a manifest says of the version it was made from, whether it was edited or not."""
    path = folder / "manifest.json"
    content = json_of(path) if path.is_file() else None
    return content.get("derived_from") if isinstance(content, dict) else None


def _reference(folder: Path) -> str:
    return f"{folder.parent.name}@{folder.name}"


def _mentions(content: object, digest: str) -> bool:
    if isinstance(content, dict):
        return any(_mentions(value, digest) for value in content.values())
    if isinstance(content, list):
        return any(_mentions(value, digest) for value in content)
    return content == digest
