"""Where a result goes: an empty or new folder, and beside it, until the result is whole, a scratch folder.

A run that fails leaves nothing, not even the parents it made. A run that is killed (SIGKILL, power) leaves its scratch
folder `.tmp-VERB-*`; the next run of that verb beside it removes it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.base.atomic import TEMPORARY_PREFIX, atomic_folder, scratch_folder
from engine.base.errors import RecipeError, problem


def require_empty(folder: Path) -> None:
    """Raise RecipeError where `folder` is a file or holds anything; makes nothing."""
    if folder.exists() and not folder.is_dir():
        raise RecipeError(problem(folder, "it is a file", "an empty or new folder", "choose another --out"))
    if folder.exists() and any(not path.name.startswith(TEMPORARY_PREFIX) for path in folder.iterdir()):
        raise RecipeError(problem(folder, "it is not empty", "an empty or new folder", "choose another --out"))


@contextmanager
def out_folder(folder: Path, verb: str) -> Iterator[tuple[Path, Path]]:
    """Yield (scratch folder, where the result is written), the second of which becomes `folder` in the end.

    Raises RecipeError where the parents of `folder` cannot be made.
    """
    missing = [parent for parent in folder.parents if not parent.exists()]
    try:
        _make(folder.parent, folder)
        with (
            scratch_folder(folder.parent, f"{TEMPORARY_PREFIX}{verb}-") as scratch,
            atomic_folder(folder, scratch) as result,
        ):
            yield scratch, result
    except BaseException:
        # Innermost first; a parent that somebody else uses by now is not empty and stays.
        for parent in missing:
            with suppress(OSError):
                parent.rmdir()
        raise


def _make(parent: Path, folder: Path) -> None:
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(
            problem(folder, f"it cannot be made ({error.strerror})", "a folder", "another --out")
        ) from error
