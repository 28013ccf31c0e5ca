"""What of a workspace nobody needs, and what in it is not known at all and stays."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from stat import S_ISDIR

from engine.base.atomic import TEMPORARY_PREFIX
from engine.formats import takedowns
from engine.formats.receipt import read_receipt
from engine.formats.workspace import Workspace
from engine.formats.workspace_lock import LOCK
from engine.run.audits import failed_folder
from engine.run.gc.needed import FOLDER_NAME, Needed, is_users_model, pointed

DEPTHS = {
    "documents": 2,
    "annotations": 2,
    "selections": 1,
    "splits": 1,
    "benchmarks": 2,
    "models": 1,
    "tokenizers": 1,
    "tokens": 1,
    "schedules": 1,
    "audits": 1,
}
"""Kind -> how deep its artifacts lie: by digest, or by name and digest."""
KEPT = {"mixtures", "recipes", "runs", "labels", "report.html", LOCK, takedowns.FILE, takedowns.LOCK}
"""What else belongs to a workspace; never looked into but for temporary files."""
GONE = f"{TEMPORARY_PREFIX}gone-"
"""What a removed artifact is called until its files are gone."""
_POINTER = re.compile(r"(?:trained|tagged|extended)-[0-9a-f]{12}\.json")
_WATCH = "watch.json"
_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Garbage:
    """A folder or file that nobody needs."""

    kind: str
    path: Path
    bytes: int


def garbage(workspace: Workspace, needed: Needed) -> tuple[list[Garbage], list[Path]]:
    """Return what can go, and what is not known; only names are looked at, and receipts."""
    found: list[Garbage] = []
    unknown = [
        path
        for path in sorted(workspace.root.iterdir())
        if path.name not in {*DEPTHS, *KEPT} and not path.name.startswith(TEMPORARY_PREFIX)
    ]
    kept = failed_folder(workspace)
    for kind, depth in DEPTHS.items():
        for path in _artifacts(workspace.root / kind, depth):
            if path == kept:
                continue
            if path.name == _WATCH or (kind == "tokenizers" and _POINTER.fullmatch(path.name)):
                is_needed = _is_pointer_needed(path, needed)
            elif not FOLDER_NAME.fullmatch(path.name) or not path.is_dir():
                unknown.append(path)
                continue
            else:
                is_needed = needed.holds(path) or (kind == "models" and is_users_model(path))
            if not is_needed:
                found.append(_measured(kind, path))
            elif kind == "annotations":
                found += _parts(path, needed)
    return found + list(_temporary(workspace)), unknown


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    return sum(stat.st_size for stat in _stats(path) if not S_ISDIR(stat.st_mode))


def _artifacts(folder: Path, depth: int) -> Iterator[Path]:
    """Yield what lies `depth` levels below; a file above that level too."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(TEMPORARY_PREFIX):
            continue
        if depth > 1 and path.is_dir() and not path.is_symlink():
            yield from _artifacts(path, depth - 1)
        else:
            yield path


def _is_pointer_needed(path: Path, needed: Needed) -> bool:
    if path.name == _WATCH:
        return any(needed.holds(folder) for folder in path.parent.iterdir() if folder.is_dir())
    return pointed(path) in needed.names


def _parts(folder: Path, needed: Needed) -> Iterator[Garbage]:
    """Yield what of a needed annotation nobody needs: results and pairs of other inputs, parts of shards gone."""
    corpus = [path for path in folder.glob("_corpus/*") if FOLDER_NAME.fullmatch(path.name)]
    kept = [receipt for path in corpus if needed.holds(path) and (receipt := read_receipt(path)) is not None]
    inputs = [receipt.inputs for receipt in kept]
    for path in corpus:
        if not needed.holds(path):
            yield _measured("annotations", path)
    for path in folder.glob("_pairs/*"):
        # Pairs are named by nobody; those of the same inputs are where another threshold starts from.
        receipt = read_receipt(path)
        if FOLDER_NAME.fullmatch(path.name) and (receipt is None or receipt.inputs not in inputs):
            yield _measured("annotations", path)
    for path in folder.glob("*/*.parquet"):
        is_part = not path.parent.name.startswith(("_", TEMPORARY_PREFIX)) and not path.name.startswith(
            TEMPORARY_PREFIX
        )
        if is_part and (path.parent.name, path.stem) not in needed.shards:
            yield _measured("annotations", path)


def _temporary(workspace: Workspace) -> Iterator[Garbage]:
    """Yield what killed processes left: older than a day, as verbs that only read make such folders too."""
    for path in sorted(_temporary_paths(workspace.root)):
        changed = max((stat.st_mtime for stat in _stats(path)), default=None)
        if changed is not None and (path.name.startswith(GONE) or time.time() - changed > _DAY_SECONDS):
            yield _measured("temporary", path)


def _temporary_paths(root: Path) -> Iterator[Path]:
    """Yield the outermost temporary names; what goes meanwhile is passed over."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            if name.startswith(TEMPORARY_PREFIX):
                yield Path(folder, name)
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Yield the stat of a file, or of a folder and all in it, without what goes meanwhile: `sql` removes its files."""
    inside = (Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files))
    for one in chain([path], inside):
        with suppress(FileNotFoundError):
            yield one.lstat()


def _measured(kind: str, path: Path) -> Garbage:
    return Garbage(kind, path, size_of(path))
