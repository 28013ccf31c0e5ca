"""What `provender mixture diff` looks like in a terminal; narrow ones too."""

from collections.abc import Iterator, Mapping
from typing import Any

from engine.base.terminal import one_line, table, terminal_width, wrapped

_ADDED = {
    "over_budget": "was over budget",
    "taken_down": "had been taken down",
    "source_not_in_mixture": "source was not in the mixture",
    "not_in_source": "new in the source",
    "unknown": "unknown: artifacts of the old version are gone",
}
_REMOVED = {
    "over_budget": "over budget",
    "taken_down": "taken down",
    "source_not_in_mixture": "source is not in the mixture",
    "not_in_source": "no longer in the source",
    "unknown": "unknown: artifacts of the new version are gone",
}
_CHANGED = {"other_text": "another text", "other_tokens": "the same text, other tokens"}
_TITLES = {
    "added": "added",
    "removed": "removed",
    "moved": "moved (tokens: after less before)",
    "changed": "changed (tokens: after less before)",
}
_SHOWN_TERMS = 40


def show_diff(result: Mapping[str, Any]) -> str:
    """Return sums per source, then what was added, removed, moved and changed, with examples, then the terms."""
    old, new = result["from"], result["to"]
    width = terminal_width()
    if result["is_same"]:
        return wrapped(f"{old['reference']} and {new['reference']} have the same content ({new['digest'][:12]})", width)
    parts = [f"{old['reference']} ({old['recipe']}) -> {new['reference']} ({new['recipe']})", _sums(result)]
    for group, title in _TITLES.items():
        rows = [
            (row["source"], reason_told(group, row["reason"]), f"{row['documents']:,}", f"{row['tokens']:,}")
            for row in result[group]
        ]
        if rows:
            parts += ["", table(("source", title, "documents", "tokens"), rows), *_examples(result, group, width)]
    if not any(result[group] for group in _TITLES):
        parts.append("the same documents, as often, in the same phases and roles")
    if result["is_reordered"]:
        parts += ["", wrapped("the documents that stayed in their place follow one another in another order", width)]
    return "\n".join([*parts, *_terms(result["contract"], width)])


def reason_told(group: str, reason: str) -> str:
    """Return a reason of `mixture diff` in words."""
    words = {"added": _ADDED, "removed": _REMOVED, "changed": _CHANGED}.get(group, {})
    if reason in words:
        return words[reason]
    decision, _, why = reason.partition(": ")
    names = {"dropped": "dropped", "held_out": "held out", "over_budget": "over budget of"}
    if decision in names and group in ("added", "removed"):
        return f"{'was ' if group == 'added' else ''}{names[decision]}{':' if decision == 'dropped' else ''} {why}"
    return reason


def _sums(result: Mapping[str, Any]) -> str:
    rows = []
    for row in result["sources"]:
        rows += [(row["source"], "documents", *_amounts(row, "documents")), ("", "tokens", *_amounts(row, "tokens"))]
        share = [f"{100 * row[f'share_{when}']:.1f} %" for when in ("before", "after")]
        rows.append(("", "share", share[0], "", "", "", share[1]))
    return table(("source", "", "before", "added", "removed", "moved", "after"), rows)


def _amounts(row: Mapping[str, Any], unit: str) -> tuple[str, ...]:
    moved = row[f"{unit}_moved"] + row[f"{unit}_changed"]
    told = f"{moved:+,}" if unit == "tokens" else f"{moved:,}"
    plain = [row[f"{unit}_{when}"] for when in ("before", "added", "removed", "after")]
    before, added, removed, after = (f"{number:,}" for number in plain)
    return before, f"+{added}", f"-{removed}", told, after


def _examples(result: Mapping[str, Any], group: str, width: int) -> Iterator[str]:
    for one in result["examples"][group]:
        text = one["excerpt"] if one["excerpt"] is not None else f"({one['problem']})"
        line = f"{one['doc_id'][:8]} {one['source']}, {reason_told(group, one['reason'])}: {one_line(text)}"
        yield "  " + (line if len(line) <= width - 2 else line[: width - 5] + "...")


def _terms(terms: list[dict[str, Any]], width: int) -> Iterator[str]:
    if terms:
        yield "\nterms of the contract that differ:"
    for term in terms[:_SHOWN_TERMS]:
        told = [_value(term[end]) for end in ("from", "to")]
        yield wrapped(f"{term['key']}: {told[0]} -> {told[1]}", width, 2)
    if len(terms) > _SHOWN_TERMS:
        yield f"  and {len(terms) - _SHOWN_TERMS:,} more (--json shows all)"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    text = ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)
    is_digest = len(text) == 32 and all(character in "0123456789abcdef" for character in text)
    return text[:12] if is_digest else one_line(text, 80)
