"""What a recipe can name: annotate stages, source readers, presets of filters and sections, read from their modules.

Nothing is listed by hand: summaries are the first lines of docstrings, options and their limits those of the Config
that checks a recipe, columns and drop reasons those the runner uses. Stages of other packages are found as a recipe
finds them; one that cannot be used says why.
"""

from types import ModuleType
from typing import Any

import polars as pl
import yaml
from pydantic import ValidationError

from engine.base.errors import RecipeError, unknown
from engine.base.stage import ANNOTATOR, ANNOTATOR_GROUP, Column, find_stage, stage_adds, stage_names
from engine.catalog.sections import listed_sections, section, section_names, section_of
from engine.catalog.stage_options import minimal, options_of
from engine.select.presets import HEURISTICS, PRESETS

PLACE = "provender stages"
READER = "source reader"
KINDS = {"annotate": ANNOTATOR, "source": READER}
"""What a stage is, and what errors call it."""


def stages(name: str | None = None) -> dict[str, Any]:
    """Return all stages, source readers, presets and sections; or everything about the one called `name`.

    Without a name: `stages` (stage, kind, module, what, needs, extra, problem), `presets` (preset, rules, sources) and
    `sections` (section, type, what).
    With one (of an annotate stage, should a reader be called alike): stage, kind, module, what, needs, extra, example,
    options, columns (null where they depend on options that have to be given), columns_depend_on_options, drops.
    With a preset's: preset, example, filters (reason, keep: the condition that keeps, source: where it was published).
    With a section's, as mixture or render: section, type, what, example, options.
    Raises RecipeError for an unknown name, or a stage of another package that cannot be used.
    """
    modules = {"annotate": stage_names("engine.annotate", ANNOTATOR_GROUP), "source": stage_names("engine.sources")}
    if name is None:
        listed = [_listed(kind, one, found) for kind, found in modules.items() for one in sorted(found)]
        return {"stages": listed, "presets": _presets(), "sections": listed_sections()}
    kind = next((kind for kind, found in modules.items() if name in found), None)
    if kind is None and name in PRESETS:
        return _preset(name)
    if kind is None and (key := section_of(name)) is not None:
        return section(key)
    if kind is None:
        known = [*modules["annotate"], *modules["source"], *PRESETS, *section_names()]
        raise RecipeError(unknown(PLACE, "stage, source reader, preset or section", name, known))
    return _shown(kind, name, find_stage(PLACE, KINDS[kind], name, modules[kind]))


def _listed(kind: str, name: str, modules: dict[str, str]) -> dict[str, Any]:
    try:
        about = _about(kind, name, find_stage(PLACE, KINDS[kind], name, modules))
    except RecipeError as error:
        # A package that is broken does not hide the others.
        missing: dict[str, Any] = {"what": "", "needs": [], "extra": None, "problem": str(error)}
        return {"stage": name, "kind": kind, "module": modules[name], **missing}
    return about | {"problem": None}


def _about(kind: str, name: str, module: ModuleType) -> dict[str, Any]:
    return {
        "stage": name,
        "kind": kind,
        "module": module.__name__,
        "what": " ".join((module.__doc__ or "").strip().split("\n\n")[0].split()),
        "needs": list(getattr(module, "NEEDS", ())),
        "extra": getattr(module, "EXTRA", None),
    }


def _shown(kind: str, name: str, module: ModuleType) -> dict[str, Any]:
    example, config = _example(name, module)
    depends = callable(getattr(module, "ADDS", None))
    adds: dict[str, Column] | None = {}
    if kind == "annotate":
        adds = None if depends and config is None else stage_adds(module, config)
    return _about(kind, name, module) | {
        "example": f"- {example}",
        "options": options_of(module.Config, getattr(module, "FILES", ())),
        "columns": None if adds is None else [_column(column, adds[column]) for column in adds],
        "columns_depend_on_options": depends,
        "drops": dict(getattr(module, "DROPS", {})),
    }


def _example(name: str, module: ModuleType) -> tuple[str, Any]:
    """Return a part of a recipe that passes the check, and its config; or what is required, and None.

    It is the docstring's own, else what is required. Where that is not enough, as with a stage that takes a model or
    what to train one from, it is the first single option with which it passes.
    """
    written = [line.strip().removeprefix("- ") for line in (module.__doc__ or "").splitlines()]
    own = [line for line in written if line.startswith(f"{{stage: {name}")]
    required = _line(name, module)
    for line in (*own, required, *(_line(name, module, option) for option in module.Config.model_fields)):
        try:
            return line, module.Config.model_validate(yaml.safe_load(line))
        except (ValidationError, yaml.YAMLError):
            # Not enough, or an example of more than one line: the next is tried.
            continue
    return required, None


def _line(name: str, module: ModuleType, *options: str) -> str:
    given = {"stage": name} | minimal(module.Config, options)
    line: str = yaml.safe_dump(given, default_flow_style=True, sort_keys=False, width=10_000)
    return line.strip()


def _column(name: str, column: Column) -> dict[str, str]:
    return {"name": name, "type": _dtype_in_words(column.dtype), "meaning": column.meaning}


def _dtype_in_words(dtype: Any) -> str:
    if isinstance(dtype, pl.List | pl.Array):
        return f"list of {_dtype_in_words(dtype.inner)}"
    if isinstance(dtype, pl.Struct):
        return "{" + ", ".join(f"{one.name}: {_dtype_in_words(one.dtype)}" for one in dtype.fields) + "}"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    names = {pl.String: "text", pl.Boolean: "true or false", pl.Binary: "bytes"}
    return next((words for known, words in names.items() if dtype == known), str(dtype).lower())


def _preset(name: str) -> dict[str, Any]:
    rules = [
        {"reason": rule.reason, "keep": rule.keep.format(h=HEURISTICS), "source": rule.source} for rule in PRESETS[name]
    ]
    return {"preset": name, "example": f"- {{preset: {name}}}", "filters": rules}


def _presets() -> list[dict[str, Any]]:
    return [
        {"preset": name, "rules": len(rules), "sources": list(dict.fromkeys(rule.source for rule in rules))}
        for name, rules in PRESETS.items()
    ]
