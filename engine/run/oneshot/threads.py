"""How many threads the memory ceiling allows."""

from engine.base.errors import RecipeError, problem

BASE_BYTES = 400 << 20
"""Memory before any text is read: interpreter, libraries, compiled kernels."""
THREAD_BYTES = 100 << 20
"""What one thread needs for a batch of texts, its words and n-grams, and the reader's buffers."""


def threads_within(ceiling: int, jobs: int, asked: str | None, fixed_bytes: int, what: str) -> int:
    """Return how many of `jobs` threads the ceiling allows.

    asked: the ceiling as the user wrote it, if so; fixed_bytes: what is needed for any number of threads; what: and for
    what. Raises RecipeError where what was asked for allows no thread, naming the least.
    """
    if asked is not None and ceiling < fixed_bytes + THREAD_BYTES:
        least = -(-(fixed_bytes + THREAD_BYTES) // (1 << 20))
        raise RecipeError(problem("--memory", f"{asked} for {what}", f"at least {least}MB", f"--memory {least}MB"))
    return max(1, min(jobs, (ceiling - fixed_bytes) // THREAD_BYTES))
