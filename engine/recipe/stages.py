"""The sources and stages of a recipe: each item with the module it names and its checked configuration."""

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from engine.base.errors import RecipeError, problem
from engine.base.recipe_errors import mistakes
from engine.base.stage import (
    ANNOTATOR,
    ANNOTATOR_GROUP,
    PartConfig,
    StageConfig,
    find_stage,
    prefixed,
    stage_names,
    stage_reads,
)
from engine.formats.columns import CORE
from engine.select.split import Config as SplitConfig

TOKENS = "tokens"


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


def needed_of(name: str) -> str:
    """Return `{stage: NAME, ...}` with what the stage requires, ready for `annotate:`; the example of its docstring."""
    module = find_stage("annotate", ANNOTATOR, name, stage_names("engine.annotate", ANNOTATOR_GROUP))
    required = [key for key, field in module.Config.model_fields.items() if field.is_required()]
    written = (line.strip().removeprefix("- ") for line in (module.__doc__ or "").splitlines())
    whole = (line for line in written if line.startswith(f"{{stage: {name}") and line.endswith("}"))
    plain = "".join(f", {key}: {key.upper()}" for key in required)
    return next(whole, f"{{stage: {name}{plain}}}") if required else f"{{stage: {name}}}"


def stage_drops(stage: Stage) -> dict[str, str]:
    """Return drop reason -> SQL condition of a stage, under the prefix the recipe gives it."""
    name, prefix = stage.config.stage, stage.config.column_prefix
    return {
        reason if prefix == name else f"{prefix}_{reason}": condition.replace(f"{name}__", f"{prefix}__")
        for reason, condition in getattr(stage.module, "DROPS", {}).items()
    }


def tokens_stage(annotators: Iterable[Stage]) -> Stage | None:
    """Return the first stage `tokens`, None without one: what split, balance and ledger count tokens with."""
    return next((stage for stage in annotators if stage.config.stage == TOKENS), None)


def tokens_column(stage: Stage) -> str:
    """Return the column of a stage `tokens` that holds its counts."""
    return prefixed(f"{TOKENS}__count", stage.config)


def split_token_counts(annotators: Iterable[Stage], config: SplitConfig) -> str | None:
    """Return the column the split takes sizes in tokens from (`tokens_column`); None where no stage counts them.

    Where every set is sized in bytes, tokens are only told, and a stage that waits for other columns is not waited for.
    """
    first = tokens_stage(annotators)
    if first is None:
        return None
    is_asked = any(wanted.max_tokens is not None for wanted in config.heldout.values())
    waits = set(stage_reads(first.module, first.config)) - {"text", *CORE}
    return tokens_column(first) if is_asked or not waits else None
