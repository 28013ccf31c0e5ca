"""What `provender gc` says in a terminal."""

from typing import Any

from engine.base.terminal import one_line, table, terminal_width, wrapped

_SHOWN_UNKNOWN = 10


def show_gc(result: dict[str, Any]) -> str:
    """Return what went (or would go) by kind, and what is not known and stays."""
    width = terminal_width()
    kinds = [
        (name, f"{counts['artifacts']:,}", f"{counts['bytes'] / 1e6:,.1f} MB")
        for name, counts in result["kinds"].items()
    ]
    verb = "would go" if result["dry_run"] else "removed"
    lines = [table(("kind", verb, "size"), kinds)] if kinds else []
    if kinds:
        count = sum(counts["artifacts"] for counts in result["kinds"].values())
        lines.append(f"{verb}: {count:,} artifacts, {result['bytes'] / 1e6:,.1f} MB")
    else:
        lines.append("nothing to remove: everything here is needed")
    unknown = result["unknown"]
    if unknown:
        named = ", ".join(one_line(name) for name in unknown[:_SHOWN_UNKNOWN])
        more = f" and {len(unknown) - _SHOWN_UNKNOWN:,} more" if len(unknown) > _SHOWN_UNKNOWN else ""
        lines.append(wrapped(f"not known, left alone: {named}{more}", width))
    return "\n".join(lines)
