"""Files that stages of a recipe name are there, and are what the stage needs, before anything is worked on."""

from pathlib import Path

from engine.base.errors import InputError, RecipeError, problem
from engine.base.paths import written_path
from engine.base.stage import stage_files, with_files
from engine.recipe.stages import Stage


def check_files(place: str, base: Path, annotators: tuple[Stage, ...]) -> list[str]:
    """Return a mistake for every file that is missing or of no use to its stage; `base`: where paths start from."""
    found = []
    for stage in annotators:
        where = f"{place}: {stage.config.column_prefix}"
        try:
            found += _check_paths(where, base, stage)
        except (InputError, RecipeError) as error:
            found.append(f"{where}: {error}")
    return found


def _check_paths(where: str, base: Path, stage: Stage) -> list[str]:
    paths = [(key, path) for key, named in stage_files(stage.module, stage.config).items() for path in named]
    missing = [(key, path) for key, path in paths if not _located(base, path).exists()]
    if paths and not missing and hasattr(stage.module, "check_files"):
        stage.module.check_files(with_files(stage.module, stage.config, lambda path: str(_located(base, path))))
    needed = f"a path, relative ones from {base.absolute()}"
    return [problem(f"{where}.{key}", f"no file '{path}'", needed) for key, path in missing]


def _located(base: Path, path: str) -> Path:
    return base.absolute() / written_path(path)
