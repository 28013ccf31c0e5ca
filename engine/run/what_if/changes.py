"""Which rules of a selection changed since an earlier one, told apart by their reasons."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from engine.base.stage import StrictModel
from engine.select.balance import Rule as BalanceRule
from engine.select.decide import Rule

SAME, ADDED, CHANGED, REMOVED = "same", "added", "changed", "removed"
_Key = tuple[str, int]
_Rule = TypeVar("_Rule", Rule, BalanceRule)


@dataclass(frozen=True)
class RuleChange:
    """One rule, before and now."""

    reason: str
    change: str
    before: dict[str, Any] | None
    """What it said: keep or drop and action, or of balance everything; None where it was added."""
    now: dict[str, Any] | None
    position: int | None = None
    """Its place among the rules of now; None of one that is gone, and of balance."""

    @classmethod
    def of(cls, position: int, rule: Rule) -> "RuleChange":
        """Return a rule that is as it was."""
        return cls(rule.reason, SAME, _said(rule), _said(rule), position)

    def shown(self) -> dict[str, Any]:
        """Return reason, change, before and now."""
        return {"reason": self.reason, "change": self.change, "before": self.before, "now": self.now}


def rule_changes(
    earlier: Mapping[str, Any] | None, rules: Sequence[Rule], balance: Sequence[BalanceRule]
) -> list[RuleChange]:
    """Return the rules that were added, changed or removed, in the order of now, those removed last.

    earlier: what selection.json says; without it nothing changed. Rules of one reason are told apart by their order.
    """
    if earlier is None:
        return []
    filters = _compared(_rules(earlier), _keyed(rules), has_position=True)
    found = [*filters, *_compared(_balance(earlier), _keyed(balance), has_position=False)]
    return sorted(found, key=lambda change: change.change == REMOVED)


def order_changed(earlier: Mapping[str, Any] | None, rules: Sequence[Rule], balance: Sequence[BalanceRule]) -> bool:
    """Return whether rules that stand in both stand in another order; the first that applies is the reason."""
    if earlier is None:
        return False
    pairs = ((list(_rules(earlier)), list(_keyed(rules))), (list(_balance(earlier)), list(_keyed(balance))))
    return any([key for key in before if key in now] != [key for key in now if key in before] for before, now in pairs)


def _rules(earlier: Mapping[str, Any]) -> dict[_Key, Rule]:
    return _keyed([Rule.model_validate(rule) for rule in earlier["rules"]])


def _balance(earlier: Mapping[str, Any]) -> dict[_Key, BalanceRule]:
    return _keyed([BalanceRule.model_validate(rule) for rule in earlier.get("balance", [])])


def _keyed(rules: Iterable[_Rule]) -> dict[_Key, _Rule]:
    found: dict[_Key, _Rule] = {}
    for rule in rules:
        found[rule.reason, sum(reason == rule.reason for reason, _ in found)] = rule
    return found


def _compared(
    before: Mapping[_Key, StrictModel], now: Mapping[_Key, StrictModel], has_position: bool
) -> list[RuleChange]:
    found = []
    for position, (key, rule) in enumerate(now.items()):
        if before.get(key) != rule:
            change = CHANGED if key in before else ADDED
            place = position if has_position else None
            found.append(RuleChange(key[0], change, _said(before.get(key)), _said(rule), place))
    found += [RuleChange(key[0], REMOVED, _said(rule), None) for key, rule in before.items() if key not in now]
    return found


def _said(rule: StrictModel | None) -> dict[str, Any] | None:
    return None if rule is None else rule.model_dump(mode="json", exclude={"reason"}, exclude_none=True)
