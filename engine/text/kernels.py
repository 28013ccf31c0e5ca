"""How this project compiles its loops, and the two steps every hash of it is made of.

Kernels run without the GIL, so callers split their work over threads. Compiled code is cached beside the source; numba
looks only at the file of the function itself, so clear `__pycache__` after changing what another file inlines.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numba.extending import intrinsic
from numpy.typing import NDArray

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
_HALF, _FINAL_SHIFT = np.uint64(32), np.uint64(33)


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
