"""Who is at work in a workspace: `run` and `train` share its lock, `gc` needs it alone.

WORKSPACE/.lock is empty; the lock (flock) goes with the process that holds it, so nothing is left to clean up. On file
systems without locks nobody is kept out.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.base.errors import ResourceError, problem

LOCK = ".lock"


@contextmanager
def in_use(root: Path) -> Iterator[None]:
    """Keep `gc` out of a workspace; raises ResourceError where it is at work there."""
    with _locked(root, fcntl.LOCK_SH, "`provender gc` is at work here"):
        yield


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keep `run`, `train` and `gc` out of a workspace; raises ResourceError where one of them is at work there."""
    with _locked(root, fcntl.LOCK_EX, "another provender command is at work here"):
        yield


@contextmanager
def _locked(root: Path, kind: int, found: str) -> Iterator[None]:
    with (root / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResourceError(problem(root, found, fix="wait until it has ended")) from error
        except OSError:
            pass  # a file system without locks
        yield
