"""How this project compiles its loops, and the two steps every hash of it is made of.

Kernels run without the GIL, so callers split their work over threads. Compiled code is cached on disk. numba asks only
whether the file of a function itself has changed, not what it calls or inlines from others, so the cache is one folder
per state of all our sources: no change is ever answered with old code. A new folder takes the place of those that
nobody used for 30 days.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba import njit
from numba.extending import intrinsic
from numpy.typing import NDArray

from engine.base.hashing import digest_json, short

F = TypeVar("F", bound=Callable[..., object])
Bytes = NDArray[np.uint8]
Entries = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Integer = int | np.int64
Instruction = tuple[Any, Callable[..., Any]]

SEED = np.uint64(0)
_FACTOR = np.uint64(0xFF51AFD7ED558CCD)
_LAST_FACTOR = np.uint64(0xC4CEB9FE1A85EC53)
UNUSED_SECONDS = 30 * 86_400
_HALF, _FINAL_SHIFT = np.uint64(32), np.uint64(33)


def _cache_folder() -> Path:
    """Return the folder of compiled code for the sources as they are: by their names, sizes and times of change."""
    engine = Path(__file__).parents[1]
    states = [
        (str(path.relative_to(engine)), path.stat().st_size, path.stat().st_mtime_ns) for path in _sources(engine)
    ]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "provender" / f"kernels-{short(digest_json([str(engine), states]))}"


def _sources(engine: Path) -> list[Path]:
    folders = ("text", "annotate", "select", "pack", "run/dedup", "run/oneshot")
    return sorted(path for folder in folders for path in (engine / folder).rglob("*.py"))


def make_cache(folder: Path) -> None:
    """Make a folder of compiled code, or mark it as in use; a new one removes its neighbours long out of use.

    Says nothing where it cannot: numba does about its cache.
    """
    try:
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        # Reading leaves no mark on a folder, so the time of its last use is set here.
        os.utime(folder)
        for other in folder.parent.glob("kernels-*") if is_new else ():
            if time.time() - other.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
    except OSError:
        return


if not numba.config.CACHE_DIR:
    # numba reads it when a function is decorated, so before all kernels.
    numba.config.CACHE_DIR = str(_cache_folder())
    make_cache(Path(numba.config.CACHE_DIR))


def kernel(function: F) -> F:
    """Compile a function with numba: without the GIL, cached on disk, its types kept for the type checker."""
    return njit(nogil=True, cache=True)(function)


def inlined(function: F) -> F:
    """Compile a function that becomes part of every kernel that calls it."""
    return njit(nogil=True, cache=True, inline="always")(function)


def instruction(function: Callable[..., Instruction]) -> Any:
    """Make an operation of kernels from a function that returns its signature and what emits its LLVM code."""
    return intrinsic(function)


@inlined
def absorb(state: np.uint64, value: np.uint64) -> np.uint64:
    """Return the hash state after one more value; see the head of `engine.text.words`."""
    state = (state ^ value) * _FACTOR
    return state ^ (state >> _HALF)


@inlined
def finish(state: np.uint64) -> np.uint64:
    """Return the hash of a finished state: MurmurHash3's 64-bit finaliser, a bijection."""
    state = (state ^ (state >> _FINAL_SHIFT)) * _FACTOR
    state = (state ^ (state >> _FINAL_SHIFT)) * _LAST_FACTOR
    return state ^ (state >> _FINAL_SHIFT)
