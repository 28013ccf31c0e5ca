"""Files and folders that are either whole or not there: temporary name, flush, rename.

A killed process leaves only names that start with `.tmp-`, which every reader ignores and `provender gc` removes.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY_PREFIX = ".tmp-"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    Raises OSError as the disk does (full, read-only); `path` is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the name `path`, replacing what was there.

    scratch: an existing folder on the same file system where it is made instead, so that it goes with that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.parent if scratch is None else scratch
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=place))
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            _flush(file)
        temporary.chmod(0o755)
        if path.exists():
            aside = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=place))
            path.replace(aside / path.name)
            temporary.replace(path)
            shutil.rmtree(aside)
        else:
            temporary.replace(path)
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder: whole or, for every reader, not there at all, also where this process is killed meanwhile."""
    aside = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
    path.replace(aside / path.name)
    shutil.rmtree(aside)


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield an empty folder in `parent`, removed in the end; removes those that killed processes left there before.

    prefix: what the names of such folders begin with, `.tmp-` and then whose they are. A folder is locked (flock) as
    long as its process lives, so one that can be locked has been left. Without locks (some network file systems) none
    is removed.
    """
    for left in sorted(parent.glob(f"{prefix}*")):
        with _locked(left) as is_ours:
            if is_ours:
                shutil.rmtree(left, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with _locked(folder) as is_ours:
            if is_ours is False:
                # Somebody who looks for left folders was faster, and removes it.
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def _locked(folder: Path) -> Iterator[bool | None]:
    """Hold the lock of a folder; yields False where another process holds it or it has gone, None without locks."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours: bool | None = folder.exists() and os.path.samestat(os.fstat(handle), folder.stat())
        except BlockingIOError:
            is_ours = False
        except OSError:
            is_ours = None
        yield is_ours
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, keys in the given order, two-space indent."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
