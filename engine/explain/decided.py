"""Why a document was decided as it was: the rule of its reason, those of its tags, its group of balance."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from engine.formats.annotation import Annotation, read_columns
from engine.formats.find import Place, plain
from engine.formats.selection import HELD_OUT, KEPT, OVER_BUDGET, Selection
from engine.formats.takedowns import TAKEDOWN
from engine.select.grouping import grouping, stored_columns


def rules_behind(
    found: dict[str, Any], selection: Selection, place: Place, annotations: Sequence[Annotation]
) -> dict[str, Any]:
    """Return `rule`, the words for what decided; `tagged`, tag -> why; `balance`, the group that was full.

    found: decision, reason and tags of the document. balance: null, or the group's row of the view `balance`, with
    nulls where the selection does not say it.
    """
    said = selection.rules()
    rules, balance = said.get("rules", []), said.get("balance", [])
    group = None
    if found["decision"] == OVER_BUDGET:
        group = _group(found["reason"], balance, selection, place, annotations)
    return {
        "rule": _rule_text(found, rules, group),
        "tagged": {tag: _tagged(tag, rules, balance) for tag in found.get("tags") or ()},
        "balance": group,
    }


def _rule_text(found: dict[str, Any], rules: Sequence[dict[str, Any]], group: dict[str, Any] | None) -> str:
    reason = found["reason"]
    if found["decision"] == KEPT:
        return "rules that apply only tag it" if found.get("tags") else "no rule applied"
    if found["decision"] == HELD_OUT:
        return f"it belongs to a group of the held-out set '{reason}'"
    if group is not None:
        return f"balance left it over: {_figures(group)}"
    if reason == TAKEDOWN:
        return "it was taken down (`provender mixture takedown --list` says when and why)"
    condition = _condition(reason, rules)
    if condition is not None:
        return f"dropped {condition}"
    return "it has no text" if reason == "no_text" else f"the row could not be read: {reason}"


def _tagged(tag: str, rules: Sequence[dict[str, Any]], balance: Sequence[dict[str, Any]]) -> str | None:
    for rule in rules:
        if rule["reason"] == tag and rule.get("action") == "tag":
            keep = rule.get("keep")
            is_one = keep and not re.search(r"\b(AND|OR)\b", keep, re.IGNORECASE)
            said = rule["drop"] if keep is None else f"not {keep}" if is_one else f"not ({keep})"
            return f"{said} (this rule only tags)"
    condition = _condition(tag, [*rules, *balance])
    return condition and f"it would go {condition}"


def _condition(reason: str, rules: Iterable[dict[str, Any]]) -> str | None:
    for rule in rules:
        if rule["reason"] == reason and rule.get("drop"):
            return f"where {rule['drop']}"
        if rule["reason"] == reason and rule.get("keep"):
            return f"unless {rule['keep']}"
        if rule["reason"] == reason and rule.get("by"):
            return "because balance had no room for it"
    return None


def _group(
    reason: str,
    rules: Iterable[dict[str, Any]],
    selection: Selection,
    place: Place,
    annotations: Sequence[Annotation],
) -> dict[str, Any]:
    """Return what balance.parquet says of the group that a document is in, for the rule of this reason."""
    rows = selection.balance().filter(pl.col("rule") == reason)
    for rule in rules:
        if rule["reason"] == reason:
            name = _name_of_group(rule["by"], place, annotations)
            of_group = rows.filter(pl.col("group") == name)
            if of_group.height:
                return plain(of_group.row(0, named=True), "balance")
    return dict.fromkeys(rows.columns) | {"rule": reason}


def _name_of_group(by: Sequence[str], place: Place, annotations: Sequence[Annotation]) -> str:
    stored = read_columns(place.shard, list(stored_columns(by)), annotations)[place.row]
    values = stored.select(grouping(name).alias(name) for name in by).row(0, named=True)
    return ", ".join(f"{name} = {_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _figures(group: dict[str, Any]) -> str:
    if group["group"] is None:
        return f"rule {group['rule']} had no room for it"
    limit = f"{'a quota' if group['is_quota'] else 'a cap'} of {group['asked']:,}"
    kept = f"{group['kept']:,} of {group['available']:,} {group['unit']} of {group['group']} were kept"
    missing = f", {group['missing']:,} missing: no more fitted, or later rules took of it" if group["missing"] else ""
    return f"{kept} ({limit}, rule {group['rule']}{missing})"
