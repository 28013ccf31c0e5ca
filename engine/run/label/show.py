"""Labels on a terminal."""

from typing import Any

from engine.base.terminal import table, terminal_width, wrapped


def show_label(result: dict[str, Any], width: int | None = None) -> str:
    """Return what `label` returned as text for a terminal of `width` columns (default: this one's)."""
    width = width or terminal_width()
    is_given = result["stored"] or result["known"] or result["left_out"]
    lines = [wrapped(_given(result), width)] if is_given else _listed(result)
    lines += [wrapped(f"left out {one['doc_id']}: {one['why']}", width, 2) for one in result["left_out"]]
    lines.append(f"in the workspace: {result['good']:,} good, {result['bad']:,} bad")
    return "\n".join(lines)


def _given(result: dict[str, Any]) -> str:
    stored = f"{result['stored']:,} label{'' if result['stored'] == 1 else 's'} stored"
    known = f", {result['known']:,} stored before" if result["known"] else ""
    left_out = f", {len(result['left_out']):,} left out" if result["left_out"] else ""
    return stored + known + left_out


def _listed(result: dict[str, Any]) -> list[str]:
    rows = [(one["doc_id"][:8], one["label"], one["source"], one["when"][:10], _note(one)) for one in result["labels"]]
    if not rows:
        return ["no labels yet: `provender sample --label` asks for some"]
    return [table(("doc_id", "label", "source", "when", "why"), rows)]


def _note(one: dict[str, Any]) -> str:
    changed = {True: "(text changed) ", False: "", None: "(not in the recipe) "}[one["text_changed"]]
    return f"{changed}{one['why'] or ''}".strip()
