"""Names in a recipe: sources that are named exist, sections that need each other are there."""

from collections.abc import Iterator
from typing import Any

from engine.base.errors import problem, unknown
from engine.recipe.stages import Stage

SOURCE_LISTS = ("sources", "positive", "negative")
"""Keys whose values name sources of the recipe, wherever they stand."""


def check_names(place: str, content: dict[str, Any]) -> list[str]:
    """Return what is wrong with names of sources, and mixtures or control tokens that lack a section."""
    # On the recipe as written, so that a mistake elsewhere does not hide these.
    found = []
    items = content.get("sources")
    names = [str(item.get("name")) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    for name in sorted({name for name in names if names.count(name) > 1}):
        found.append(problem(f"{place}: sources", f"two sources are called '{name}'", "one name per source"))
    rest = {key: value for key, value in content.items() if key != "sources"}
    found += [
        unknown(f"{place}: {where}", "source", name, names) for where, name in named_sources(rest) if name not in names
    ]
    guard = content.get("guard")
    allowed = guard.get("allow") if isinstance(guard, dict) else None
    allowed = allowed if isinstance(allowed, dict) else {}
    found += [unknown(f"{place}: guard.allow", "source", str(name), names) for name in allowed if name not in names]
    if content.get("mixtures") and content.get("tokenizer") is None:
        fix = "add tokenizer: {train: {sources: [...]}}"
        found.append(
            problem(f"{place}: mixtures", "no tokenizer is named", "one, as budgets are counted in tokens", fix)
        )
    if content.get("control_tokens") is not None:
        missing = [name for name in ("tokenizer", "mixtures") if not content.get(name)]
        finding = "no token would be written: there is no section " + " and no section ".join(missing)
        needed = "a tokenizer that gives them ids and a mixture they are written in"
        found += [problem(f"{place}: control_tokens", finding, needed)] if missing else []
    return found


def check_benchmarks(place: str, content: dict[str, Any], annotators: tuple[Stage, ...]) -> list[str]:
    """Return a mistake where benchmarks are named and nothing searches for them."""
    if not content.get("benchmarks") or any("benchmarks" in getattr(s.module, "NEEDS", ()) for s in annotators):
        return []
    fix = "add - {stage: contamination} to annotate:"
    return [problem(f"{place}: benchmarks", "no stage searches for them", "a stage that does", fix)]


def named_sources(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield (key path, name) of every source that a part of a recipe names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{where}.{key}" if where else str(key)
            if key in SOURCE_LISTS and isinstance(inner, list | dict):
                yield from ((path, str(name)) for name in inner)
            else:
                yield from named_sources(inner, path)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from named_sources(inner, f"{where}[{position}]")
