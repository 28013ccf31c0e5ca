"""Who is at work in a workspace: `run`, `train` and long readers share its lock, `gc` needs it alone.

WORKSPACE/.lock is empty; the lock (flock) goes with the process that holds it, so nothing is left to clean up. On file
systems without locks nobody is kept out, and stderr says so.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from engine.base.errors import ResourceError, problem

LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def in_use(root: Path) -> Iterator[None]:
    """Keep `gc` out of a workspace; raises ResourceError where it is at work there."""
    with _locked(root, fcntl.LOCK_SH, "`provender gc` is at work here"):
        yield


@contextmanager
def read_in(root: Path) -> Iterator[None]:
    """Keep `gc` out as `in_use` does; a workspace that this process cannot write to may be read without the lock."""
    if os.access(root, os.W_OK):
        with in_use(root):
            yield
    else:
        yield


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keep `run`, `train` and `gc` out of a workspace; raises ResourceError where one of them is at work there."""
    with _locked(root, fcntl.LOCK_EX, "another provender command is at work here"):
        yield


@contextmanager
def only_writer(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Wait until no other process holds the lock of this name in a folder, which is there afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as lock:
        _lock(lock, fcntl.LOCK_EX, folder)
        yield


@contextmanager
def _locked(root: Path, kind: int, found: str) -> Iterator[None]:
    with (root / LOCK).open("a") as lock:
        try:
            _lock(lock, kind | fcntl.LOCK_NB, root)
        except BlockingIOError as error:
            raise ResourceError(problem(root, found, fix="wait until it has ended")) from error
        yield


def _lock(lock: IO[str], kind: int, folder: Path) -> None:
    """Take the lock; says so where the file system has none, and raises OSError for anything else."""
    try:
        fcntl.flock(lock, kind)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        found = f"its file system has no locks ({error.strerror}), so nothing keeps other commands out of it"
        print(problem(folder, found, fix="start one provender command at a time"), file=sys.stderr)
