"""Stages and their options for a terminal: tables where there is room, else names with their text below."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from engine.base.terminal import one_line, terminal_width, wrapped

_LEAST_TEXT = 30
"""Columns that the text of a table needs; below, it stands under its name."""


def show_stages(result: dict[str, Any], width: int | None = None) -> str:
    """Return what `stages` returned as text for a terminal of `width` columns (default: this one's)."""
    width = width or terminal_width()
    if "stages" in result:
        return _overview(result, width)
    if "section" in result:
        return _section(result, width)
    return _preset(result, width) if "preset" in result else _stage(result, width)


def _overview(result: dict[str, Any], width: int) -> str:
    rows = [(one["stage"], one["kind"], _needs(one), _what(one)) for one in result["stages"]]
    presets = [(one["preset"], str(one["rules"]), "; ".join(one["sources"])) for one in result["presets"]]
    sections = [(one["section"], one["type"], one["what"]) for one in result["sections"]]
    parts = [
        _table(("stage", "kind", "needs", "what it does"), rows, width),
        _table(("preset of filters", "rules", "published in"), presets, width),
        _table(("section", "holds", "what it is for"), sections, width),
        wrapped(
            "provender stages NAME: options, columns and drop reasons of a stage, the rules of a preset, or the keys "
            "of a section",
            width,
        ),
    ]
    return "\n\n".join(parts)


def _stage(result: dict[str, Any], width: int) -> str:
    key = {"annotate": "annotate", "source": "sources"}[result["kind"]]
    parts = [wrapped(f"{result['stage']}: {one_line(result['what'])}", width)]
    if needs := _needs(result):
        parts[0] += "\n" + wrapped(f"needs {needs}", width)
    # A line to copy is not cut into several: YAML would still read it, but nobody would write it so.
    parts.append(f"{key}:\n  {result['example']}")
    parts.append("options:\n" + _entries(((o["name"], o["type"], _explained(o)) for o in result["options"]), width))
    if result["columns"]:
        depend = " (with the example above; they depend on the options)" if result["columns_depend_on_options"] else ""
        columns = ((c["name"], c["type"], c["meaning"]) for c in result["columns"])
        parts.append(wrapped(f"columns{depend}:", width) + "\n" + _entries(columns, width))
    elif result["columns"] is None:
        parts.append("columns: they depend on the options")
    if result["drops"]:
        drops = ((reason, "dropped where", condition) for reason, condition in result["drops"].items())
        parts.append("drop reasons:\n" + _entries(drops, width))
    parts.append(f"more: python -m pydoc {result['module']}")
    return "\n\n".join(parts)


def _preset(result: dict[str, Any], width: int) -> str:
    rules = ((rule["reason"], f"kept where {rule['keep']}", rule["source"]) for rule in result["filters"])
    return "\n\n".join([
        wrapped(f"{result['preset']}: a preset of {len(result['filters'])} filters over the stage heuristics", width),
        f"filters:\n  {result['example']}",
        "drop reasons:\n" + _entries(rules, width),
    ])  # fmt: skip


def _section(result: dict[str, Any], width: int) -> str:
    options = ((o["name"], o["type"], _explained(o)) for o in result["options"])
    parts = [wrapped(f"{result['section']}: {result['what']}", width), wrapped(f"holds {result['type']}", width)]
    # Lines to copy are not cut.
    parts = ["\n".join(parts), "\n".join(f"  {line}" for line in result["example"].split("\n"))]
    return "\n\n".join([*parts, *(["keys:\n" + _entries(options, width)] if result["options"] else [])])


def _entries(entries: Iterable[tuple[str, str, str]], width: int) -> str:
    lines = []
    for name, kind, text in entries:
        head = one_line(f"{name}: {kind}")
        lines.append(textwrap.fill(head, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))
        lines.append(wrapped(one_line(text), width, indent=6))
    return "\n".join(line for line in lines if line)


def _explained(option: dict[str, Any]) -> str:
    """Return the description with the default, which is left out where null only says that nothing was given."""
    parts = [option["description"]]
    if option["required"]:
        parts.append("required")
    elif option["name"] in ("seed", "train.seed"):
        # What draws, draws with the recipe's seed unless it names its own (engine.recipe).
        parts.append("default: the recipe's seed")
    elif option["default"] is not None:
        default = option["default"]
        parts.append(f"default {default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)}")
    return "; ".join(part for part in parts if part)


def _needs(stage: dict[str, Any]) -> str:
    parts = [" or ".join(stage["needs"])] if stage["needs"] else []
    return ", ".join([*parts, *([f"extra {stage['extra']}"] if stage["extra"] else [])])


def _what(stage: dict[str, Any]) -> str:
    text = stage["problem"] or stage["what"]
    return text if stage["module"].startswith("engine.") else f"{text} ({stage['module']})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    widths = [max(len(row[position]) for row in (head, *rows)) for position in range(len(head) - 1)]
    start = sum(widths) + 2 * len(widths)
    if width - start < _LEAST_TEXT:
        return f"{head[0]}:\n" + _entries(
            ((r[0], ", ".join(c for c in _labelled(head, r) if c), r[-1]) for r in rows), width
        )
    lines = []
    for row in (head, *rows):
        text = textwrap.wrap(one_line(row[-1]), width - start, break_on_hyphens=False) or [""]
        cells = "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=False))
        lines += [f"{cells}  {text[0]}".rstrip(), *(" " * start + line for line in text[1:])]
    return "\n".join(lines)


def _labelled(head: Sequence[str], row: Sequence[str]) -> list[str]:
    """Return the middle cells of a row as words that need no heading."""
    labels = {"needs": "needs {}", "rules": "{} rules"}
    return [
        labels.get(name, "{}").format(cell) if cell else "" for name, cell in zip(head[1:-1], row[1:-1], strict=True)
    ]
