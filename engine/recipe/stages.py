"""The sources and stages of a recipe: each item with the module it names and its checked configuration."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from engine.base.errors import RecipeError, problem
from engine.base.recipe_errors import mistakes
from engine.base.stage import ANNOTATOR_GROUP, PartConfig, StageConfig, find_stage, stage_names


@dataclass(frozen=True)
class Stage:
    """A stage of a recipe: its module and its checked configuration."""

    module: ModuleType
    config: Any


def read_stages(
    place: str, key: str, items: Any, package: str, kind: str, base: type[PartConfig], found: list[str]
) -> tuple[Stage, ...]:
    """Return the items of a list of the recipe that are right; the mistakes of the others are added to `found`."""
    modules = stage_names(package, ANNOTATOR_GROUP if base is StageConfig else None)
    stages = []
    for position, item in enumerate(items if isinstance(items, list) else []):
        where = f"{place}: {key}[{position}]"
        if not isinstance(item, dict):
            found.append(problem(where, f"got {item!r}", "a mapping with the key 'stage'"))
        elif "stage" not in item:
            found.append(problem(where, "no key 'stage'", f"one of {', '.join(sorted(modules))}"))
        else:
            try:
                module = find_stage(f"{where}.stage", kind, str(item["stage"]), modules)
                stages.append(Stage(module, module.Config.model_validate(item)))
            except RecipeError as error:
                found.append(str(error))
            except ValidationError as error:
                found += mistakes(where, error, module.Config)
    return tuple(stages)
