"""Paths as people write them in recipes and commands: `~` is a home folder."""

from pathlib import Path

from engine.base.errors import RecipeError, problem


def written_path(path: str) -> Path:
    """Return a path with `~` and `~name` replaced; raises RecipeError where nobody has that name here."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise RecipeError(problem(path, "no home folder of that name here", "a path", "write it in full")) from error
