"""Looks at the files of a folder and writes a data recipe to start from.

look     which files belong together, what their columns are, which of them is the text
draft    the recipe as commented YAML
"""

from pathlib import Path
from typing import Any

from engine.base.atomic import atomic_file
from engine.base.errors import InputError, RecipeError, problem
from engine.run.init.draft import draft_recipe
from engine.run.init.look import look_at


def init(folder: Path | str, out: Path | str | None = None) -> dict[str, Any]:
    """Write a commented recipe for the files of a folder and return what was found.

    Args:
        folder: Where the files are; hidden folders and workspaces are passed over.
        out: The recipe to write, by default FOLDER/recipe.yaml.

    Returns:
        recipe: path of the recipe; sources: name, stage, files, bytes, columns, mapping of each; passed_over: files
        that are in no source, by suffix or reason.

    Raises:
        InputError: there is no such folder, or nothing in it that can be read.
        RecipeError: the recipe exists already; it is never overwritten.
    """
    root = Path(folder)
    recipe = Path(out) if out is not None else root / "recipe.yaml"
    if not root.is_dir():
        raise InputError(problem(root, "there is no such folder", "a folder with your files"))
    if recipe.exists():
        raise RecipeError(problem(recipe, "it exists already", "a name that is free", "choose another --out"))
    found = look_at(root)
    if not found.sources:
        there = ", ".join(f"{count} {what}" for what, count in found.passed_over.items()) or "no file"
        needed = "Parquet, JSON lines, CSV or text files"
        raise InputError(problem(root, f"nothing here can be read ({there})", needed))
    with atomic_file(recipe) as temporary:
        temporary.write_text(draft_recipe(root, recipe, found), encoding="utf-8")
    return {
        "recipe": str(recipe),
        "sources": [
            {
                "name": source.name,
                "stage": source.stage,
                "files": len(source.paths),
                "bytes": source.num_bytes,
                "columns": source.columns,
                "mapping": source.mapping,
            }
            for source in found.sources
        ],
        "passed_over": found.passed_over,
    }


def show_init(result: dict[str, Any]) -> str:
    """Return what was found and how to go on, for a terminal."""
    lines = [f"wrote {result['recipe']}"]
    for source in result["sources"]:
        mapping = ", ".join(f"{core} from '{column}'" for core, column in source["mapping"].items())
        size = f"{source['files']:,} files, {source['bytes'] / 1e6:,.1f} MB"
        lines.append(f"  {source['name']}: {source['stage']}, {size}{f'; {mapping}' if mapping else ''}")
    if result["passed_over"]:
        lines.append("  passed over: " + ", ".join(f"{n:,} {what}" for what, n in result["passed_over"].items()))
    lines.append(f"read it, mend it, then: provender run {result['recipe']} --dry-run")
    return "\n".join(lines)
