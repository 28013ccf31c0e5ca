"""What `provender run` says of the schedules it made, where there is something to say."""

from collections.abc import Iterable, Mapping
from typing import Any

from engine.formats.manifest import role_label

LEAST_FULL = 95
"""Per cent of the rows that best fit without shares needs; with fewer rows full, it is said."""


def wide_shares(steps: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Yield a line for each mixture a source of which is further from its plan than its own longest document."""
    for step in steps:
        if step["details"].get("share_bound", "source") == "source" and step["details"].get(
            "is_share_bound_kept", True
        ):
            continue
        wide = [
            f"{role_label(row['source'], row['is_replay'])} {row['largest_deviation']:,} ({row['longest_document']:,})"
            for row in step["details"]["sources"]
            if row["largest_deviation"] > row["longest_document"]
        ]
        kept = "" if step["details"]["is_share_bound_kept"] else " nor within the longest piece of all"
        told = "running shares not all within each source's longest document"
        off = "; furthest off, in supervised tokens, with that document: " + ", ".join(wide) if wide else ""
        yield f"{step['name']}: {told}{kept}{off} (provender mixture show)"


def half_empty_rows(steps: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Yield a line for each mixture whose rows stay empty for the shares of its sources."""
    for step in steps:
        found = step["details"]
        if "best_fit_rows" in found and LEAST_FULL * found["rows"] > 100 * (
            found["best_fit_rows"] + len(found["phases"])
        ):
            told = f"{found['rows']:,} rows, where {found['best_fit_rows']:,} would do"
            why = "sources keep their share at the end of every step"
            yield f"{step['name']}: {told}, because {why}; a larger rows_per_step fills them"


def cut_documents(steps: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Yield a line for each mixture that has documents longer than a row, and one where steps have no label."""
    for step in steps:
        cut: dict[str, int] = {}
        for row in step["details"].get("sources", ()) if "steps_without_labels" in step["details"] else ():
            cut[row["source"]] = max(cut.get(row["source"], 0), row["cut_documents"])
        named = ", ".join(f"{source} {count:,}" for source, count in cut.items() if count)
        if named:
            told = "longer than a row, so later pieces are trained on without what stands before"
            yield f"{step['name']}: {told}: {named}"
        if step["details"].get("steps_without_labels"):
            found = f"{step['details']['steps_without_labels']:,} steps have no label, and no training takes them"
            yield f"{step['name']}: {found}; set a larger rows_per_step or row_tokens"
