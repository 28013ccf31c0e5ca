"""What `provender run --dry-run` says about changed rules, in a terminal; narrow ones too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.base.terminal import one_line, terminal_width, wrapped
from engine.run.examples import SHOWN_CHARS
from engine.run.what_if.changes import ADDED, REMOVED
from engine.run.what_if.examples import CHANGED_SIDES


def show_what_if(found: Mapping[str, Any], table: Any, width: int | None = None) -> str:
    """Return the changed rules, what would be kept, the reasons, what the guard would say, and the examples.

    table: engine.run.show.table; width: columns of the terminal (default: this one's).
    """
    width = width or terminal_width()
    compared = found["compared_with"]
    parts = ["what the rules would keep, as nothing was selected before:"]
    if compared is not None:
        parts = [wrapped(f"what the rules would keep, against the selection of {compared['finished']}:", width)]
        parts += _rules(found, width)
    parts.append(table(*_sources(found)))
    reasons = _reasons(found["reasons"], compared is not None)
    if reasons:
        head = ("reason", "before", "now") if compared is not None else ("reason", "documents")
        parts.append(table(head, reasons))
    tags = _tags(found["tags"], compared is not None)
    if tags:
        parts.append(table(("tag", "before", "now") if compared is not None else ("tag", "documents"), tags))
    parts += [wrapped(f"the removal guard would stop this run: {message}", width) for message in found["guard"]]
    for border in found["borders"]:
        rule = f"{border['column']} {border['sign']} {border['threshold']}"
        parts.append(wrapped(f"border of {border['reason']}: {rule}", width))
        parts += _documents(border, ("passes", "fails"), width)
    for changed in found["changed_documents"]:
        if any(changed[side] for side in CHANGED_SIDES):
            parts.append(wrapped(f"changed by {changed['reason']}:", width))
            parts += _documents(changed, CHANGED_SIDES, width)
    return "\n".join(parts)


def _rules(found: Mapping[str, Any], width: int) -> list[str]:
    lines = []
    for rule in found["rules"]:
        lines.append(wrapped(f"rule {rule['reason']}: {rule['change']}", width))
        before, now = rule["before"] or {}, rule["now"] or {}
        if rule["change"] != ADDED:
            lines.append(wrapped(f"before: {_said(before, now)}", width, 2))
        if rule["change"] != REMOVED:
            lines.append(wrapped(f"now: {_said(now, before)}", width, 2))
    if found["order_changed"]:
        lines.append(wrapped("the rules stand in another order; the first that applies is the reason", width))
    moved = found["total"] and any(found["total"][part]["documents"] for part in ("newly_kept", "newly_lost"))
    nothing = "columns, sources or the split did" if moved else "every document is decided on as before"
    return lines or [wrapped(f"no rule changed; {nothing}", width)]


def _said(rule: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return what a rule says; of a rule of balance only its groups and what the other does not say."""
    said = [f"{key} {_value(key, value, other.get(key))}" for key, value in rule.items() if _is_said(key, rule, other)]
    return ", ".join([*said, *(["only tags"] if rule.get("action") == "tag" else [])]) or "members of held-out groups"


def _is_said(key: str, rule: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return key != "action" and ("by" not in rule or key == "by" or rule[key] != other.get(key))


def _value(key: str, value: Any, other: Any) -> str:
    if key == "quotas":
        own = [quota for quota in value if quota not in (other or ())]
        return (
            "; ".join(f"{', '.join(map(str, quota['group'].values()))}: {quota['amount']:,}" for quota in own) or "none"
        )
    return ", ".join(value) if key == "by" else str(value)


def _sources(found: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    rows = [*found["sources"], {"source": "(all)", **found["total"]}] if found["total"] else []
    unit = "tokens" if rows and rows[0]["kept_now"]["tokens"] is not None else "bytes"
    if found["compared_with"] is None:
        head: tuple[str, ...] = ("source", "in", "kept", f"kept {unit}")
        return head, [(r["source"], _n(r["documents"]), *_counts(r["kept_now"], unit)) for r in rows]
    head = ("source", "kept before", "kept now", "newly kept", "newly lost", f"{unit} before", f"{unit} now")
    return head, [
        (
            row["source"],
            *(_n(row[part]["documents"]) for part in ("kept_before", "kept_now", "newly_kept", "newly_lost")),
            *(_n(row[part][unit]) for part in ("kept_before", "kept_now")),
        )
        for row in rows
    ]


def _counts(part: Mapping[str, Any], unit: str) -> tuple[str, str]:
    return _n(part["documents"]), _n(part[unit])


def _reasons(rows: Iterable[Mapping[str, Any]], has_earlier: bool) -> list[tuple[str, ...]]:
    """Return the counts over all sources, the most frequent reason first."""

    def name_of(row: Mapping[str, Any]) -> str:
        outcome = str(row["outcome"]).replace("_", " ")
        return str(row["reason"]) if outcome == "dropped" else f"{row['reason']} ({outcome})"

    return _summed([(name_of(row), row) for row in rows], has_earlier)


def _tags(rows: Iterable[Mapping[str, Any]], has_earlier: bool) -> list[tuple[str, ...]]:
    """Return the kept documents of each tag over all sources, the most frequent first."""
    return _summed([(row["reason"], row) for row in rows], has_earlier)


def _summed(rows: Iterable[tuple[str, Mapping[str, Any]]], has_earlier: bool) -> list[tuple[str, ...]]:
    sums: dict[str, list[int]] = {}
    for name, row in rows:
        before, now = sums.setdefault(name, [0, 0])
        sums[name] = [before + (row["documents_before"] or 0), now + row["documents_now"]]
    ordered = sorted(sums.items(), key=lambda item: (-max(item[1]), item[0]))
    return [(name, _n(before), _n(now)) if has_earlier else (name, _n(now)) for name, (before, now) in ordered]


def _documents(sides: Mapping[str, Any], names: Sequence[str], width: int) -> list[str]:
    lines = []
    for side in names:
        for document in sides[side]:
            value = "" if document["value"] is None else f" {document['value']:,}"
            lines.append(
                wrapped(f"{side.replace('_', ' ')}{value}  {document['source']}  {document['doc_id']}", width, 2)
            )
            lines.append(
                wrapped(one_line(document["excerpt"], SHOWN_CHARS, document["num_chars"]) or "(no text)", width, 4)
            )
    return lines


def _n(count: int) -> str:
    return f"{count:,}"
