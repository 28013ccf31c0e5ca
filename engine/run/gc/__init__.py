"""`provender gc`: removes what no mixture version, finished recipe or training run needs.

What stays: all mixture versions with everything they were made from, what every recipe's last finished run ended with,
what training runs name, labels, take-downs, models added or trained by a verb of their own, and whatever is not known.
What goes: results of earlier thresholds, sources and stages, and what killed runs left more than a day ago; results of
a run that has not finished yet go too, versions that were never audited among them, and are made again.

An artifact is renamed before its files go, so a half-removed one is never taken for whole.
"""

import shutil
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from engine.base.progress import progress
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from engine.formats.workspace_lock import alone
from engine.run.gc.garbage import DEPTHS, GONE, Garbage, garbage, size_of
from engine.run.gc.needed import needed
from engine.run.gc.versions import doomed_versions


def gc(
    workspace: Path | str = DEFAULT_WORKSPACE, dry_run: bool = False, versions: Iterable[str] = ()
) -> dict[str, Any]:
    """Remove what nobody needs and return what went, by kind and by path, and what is not known.

    Args:
        workspace: Folder of all artifacts.
        dry_run: Only say what would go.
        versions: Mixture versions (name@v1) that go too. What no other version needs goes with them.

    Raises InputError for a version that has to stay (the latest of its name, or one that a recipe's last run, a
    training run or a later version refers to), ResourceError while a run or a training is at work in the workspace.
    """
    place = Workspace.open(workspace)
    with nullcontext() if dry_run else alone(place.root):
        doomed = doomed_versions(place, list(versions))
        going = [Garbage("mixtures", folder, size_of(folder)) for folder in doomed]
        found, unknown = garbage(place, needed(place, doomed))
        going += found
        if not dry_run:
            with progress("gc", len(going), "artifacts") as bar:
                for one in going:
                    _remove(place.root, one.path)
                    bar.advance()
    return {
        "workspace": str(place.root),
        "dry_run": dry_run,
        "kinds": _by_kind(going),
        "bytes": sum(one.bytes for one in going),
        "removed": [one.path.relative_to(place.root).as_posix() for one in going],
        "unknown": [path.relative_to(place.root).as_posix() for path in unknown],
    }


def _remove(root: Path, path: Path) -> None:
    try:
        gone = path if path.name.startswith(GONE) else path.rename(path.with_name(f"{GONE}{path.name}"))
    except FileNotFoundError:
        return  # `sql` removes what killed processes left, too.
    if gone.is_dir() and not gone.is_symlink():
        shutil.rmtree(gone)
    else:
        gone.unlink()
    # Folders of a name (a source, a stage, a shard's source) that hold nothing any more go too; kinds stay.
    for parent in path.parents:
        if root in (parent, parent.parent):
            break
        with suppress(OSError):
            parent.rmdir()


def _by_kind(going: Iterable[Garbage]) -> dict[str, dict[str, int]]:
    kinds = {name: {"artifacts": 0, "bytes": 0} for name in ("mixtures", *DEPTHS, "temporary")}
    for one in going:
        kinds[one.kind]["artifacts"] += 1
        kinds[one.kind]["bytes"] += one.bytes
    return {name: counts for name, counts in kinds.items() if counts["artifacts"]}
