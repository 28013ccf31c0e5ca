"""Which files a source has and what their content is, without reading unchanged files again.

documents/<source>/watch.json remembers (path, size, time of change) -> digest of the content, and says which hash it
is: digests of another one, from an older version of this package, are not believed. A file touched without a change of
content is read once more and has its old digest; a file changed in the last moments before it was read is not
remembered, as another change could leave size and time the same.
"""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.base.atomic import read_json, write_json
from engine.base.errors import InputError, problem
from engine.base.hashing import HASH, digest_file, digest_json
from engine.base.stage import SourceConfig
from engine.formats.workspace import Workspace
from engine.sources._config import FileConfig
from engine.sources._files import located, relative_name

SETTLED_NANOSECONDS = 2_000_000_000
Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""


@dataclass(frozen=True)
class Inputs:
    """The files of a source as they were when they were watched."""

    digest: str
    paths: tuple[Path, ...]
    digests: dict[str, str]
    """Name of the file (the same wherever the source lies) -> digest of its content."""
    stamps: tuple[Stamp, ...]
    settled: tuple[bool, ...]
    """Whether the file was last changed well before it was read."""


def watched(
    config: SourceConfig, module: ModuleType, base: Path, workspace: Workspace, identity: dict[str, object], jobs: int
) -> Inputs:
    """Return the input files with the digests of their contents; `identity` is what else makes the input digest."""
    paths = module.files(config, base)
    known = _remembered(_state_path(workspace, config))
    now = time.time_ns()
    stamps = tuple(_stamp(path) for path in paths)

    def digest(path: Path, stamp: Stamp) -> str:
        entry = known.get(str(path.resolve()))
        return str(entry[2]) if entry is not None and (entry[0], entry[1]) == stamp else _digest(path)

    with ThreadPoolExecutor(max(1, jobs)) as executor:
        digests = list(executor.map(digest, paths, stamps))
    names = _names(config, module, paths, base)
    by_name = dict(zip(names, digests, strict=True))
    settled = tuple(changed < now - SETTLED_NANOSECONDS for _, changed in stamps)
    whole = digest_json({**identity, "files": list(zip(names, digests, strict=True))})
    return Inputs(whole, tuple(paths), by_name, stamps, settled)


def remember(workspace: Workspace, config: SourceConfig, inputs: Inputs) -> None:
    """Write watch.json, where it says something new."""
    path = _state_path(workspace, config)
    files = {
        str(file.resolve()): [*stamp, digest]
        for file, stamp, digest, settled in zip(
            inputs.paths, inputs.stamps, inputs.digests.values(), inputs.settled, strict=True
        )
        if settled
    }
    if _remembered(path) != files:
        write_json(path, {"hash": HASH, "files": files})


def require_unchanged(inputs: Inputs) -> None:
    """Raise InputError where a file changed between being watched and now."""
    for path, stamp in zip(inputs.paths, inputs.stamps, strict=True):
        if _stamp(path) != stamp:
            needed = "files that nobody writes to"
            raise InputError(problem(path, "the file changed while it was read", needed, "run again when it is whole"))


def _names(config: SourceConfig, module: ModuleType, paths: Sequence[Path], base: Path) -> list[str]:
    if isinstance(config, FileConfig):
        whole = located(config, base)
        names = [relative_name(path, whole) for path in paths]
    elif hasattr(module, "file_name"):
        names = [module.file_name(path, config) for path in paths]
    else:
        names = [path.name for path in paths]
    # Names may meet, as patterns may lie on both sides of a link; the position then tells them apart.
    count = Counter(names)
    return [name if count[name] == 1 else f"{name}#{position}" for position, name in enumerate(names)]


def _state_path(workspace: Workspace, config: SourceConfig) -> Path:
    return workspace.root / "documents" / config.name / "watch.json"


def _remembered(path: Path) -> dict[str, list[Any]]:
    state = read_json(path) if path.is_file() else {}
    return dict(state["files"]) if state.get("hash") == HASH else {}


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(
            problem(path, f"cannot be read ({error.strerror})", fix="run again when it is whole")
        ) from error
    # A copy may keep the time of change of its original; the time its inode changed is its own.
    return status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)


def _digest(path: Path) -> str:
    try:
        return digest_file(path)
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise InputError(problem(path, found, fix="give yourself the right to read it")) from error
