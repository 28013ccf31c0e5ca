"""Examples of every reason, as the selection saved them."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from engine.formats.doc_ids import id_text
from engine.formats.selection import CUT, OVER_BUDGET
from engine.report.evidence import Evidence
from engine.report.wording import count


@dataclass(frozen=True)
class Example:
    """One document."""

    doc_id: str
    source: str
    num_chars: str
    excerpt: str


@dataclass(frozen=True)
class Examples:
    """The saved documents of one reason, over all sources."""

    title: str
    documents: tuple[Example, ...]


def examples(evidence: Evidence) -> list[Examples]:
    """Return the examples by reason, in the order of the selection's rules; nothing where nothing was selected."""
    if evidence.selection is None:
        return []
    said = evidence.selection.rules()
    order = {rule["reason"]: place for place, rule in enumerate([*said.get("rules", []), *said.get("balance", [])])}
    saved = evidence.selection.examples()
    place = pl.col("reason").replace_strict(order, default=-1, return_dtype=pl.Int64)
    end = (pl.col("decision") == CUT).cast(pl.Int64)
    found = []
    for (decision, reason), rows in saved.sort([end, place], maintain_order=True).group_by(
        "decision", "reason", maintain_order=True
    ):
        documents = tuple(_example(row) for row in rows.iter_rows(named=True))
        found.append(Examples(_title(str(decision), str(reason)), documents))
    return found


def _example(row: dict[str, Any]) -> Example:
    excerpt = row["excerpt"] or "(no text)"
    is_beginning = row["decision"] != CUT and row["num_chars"] > len(excerpt)
    return Example(
        doc_id=id_text(row["doc_id"]),
        source=row["source"],
        num_chars=count(row["num_chars"]),
        excerpt=f"{excerpt} ..." if is_beginning else excerpt,
    )


def _title(decision: str, reason: str) -> str:
    if decision == OVER_BUDGET:
        return f"over budget: {reason}"
    return f"cut out by {reason}" if decision == CUT else reason
