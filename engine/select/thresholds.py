"""Thresholds: conditions that compare one column with one number, recognised in whatever way they are written.

    heuristics__num_words >= 20
    COALESCE(heuristics__hash_fraction <= 0.1, TRUE)
    NOT COALESCE((language__top = 'en'), FALSE) OR COALESCE(heuristics__num_words >= 50, FALSE)

The last is what a preset with `where` says: the comparison judges only documents for which the rest is not true. The
tree that Polars makes of the condition is looked at, not its text, so brackets and spelling do not matter.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

import polars as pl

from engine.select.conditions import parse_condition

_FLIPPED = {"Gt": "Lt", "GtEq": "LtEq", "Lt": "Gt", "LtEq": "GtEq"}
_SIGNS = {"Gt": ">", "GtEq": ">=", "Lt": "<", "LtEq": "<="}


@dataclass(frozen=True)
class Threshold:
    """A comparison of a column with a number, and whom it judges."""

    column: str
    sign: str
    """How the column is compared with the number: >, >=, < or <=."""
    number: int | float
    holds: pl.Expr
    """The comparison: Boolean, null where the column is null."""
    judges: pl.Expr
    """Whether the outcome of the condition hangs on the comparison: Boolean, never null."""

    @property
    def is_least(self) -> bool:
        """Whether larger values satisfy it."""
        return self.sign in (">", ">=")


def threshold_of(condition: str) -> Threshold | None:
    """Return the threshold a condition consists of, None where it is of another form; ValueError where it is no SQL."""
    tree = json.loads(parse_condition(condition).meta.serialize(format="json"))
    judges = pl.lit(True)
    alternatives = _binary(tree, ("Or",))
    if alternatives is not None:
        _, *sides = alternatives
        found = [_comparison(side) for side in sides]
        if (found[0] is None) == (found[1] is None):
            return None
        other = sides[0] if found[0] is None else sides[1]
        judges = ~_expression(other).fill_null(False)
        tree = sides[1] if found[0] is None else sides[0]
    compared = _comparison(tree)
    if compared is None:
        return None
    column, operation, number, holds = compared
    return Threshold(column, _SIGNS[operation], number, _expression(holds), judges)


def _comparison(tree: Any) -> tuple[str, str, int | float, Any] | None:
    """Return column, operation, number and tree of a comparison, also of one inside COALESCE(..., TRUE or FALSE)."""
    inner = tree.get("Function", {}) if isinstance(tree, dict) else {}
    if inner.get("function") == "Coalesce" and len(inner["input"]) == 2 and isinstance(_value(inner["input"][1]), bool):
        tree = inner["input"][0]
    parts = _binary(tree, tuple(_SIGNS))
    if parts is None:
        return None
    operation, left, right = parts
    if _column(left) is None:
        operation, left, right = _FLIPPED[operation], right, left
    column, number = _column(left), _value(right)
    if column is None or isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return column, operation, number, tree


def _binary(tree: Any, operations: tuple[str, ...]) -> tuple[str, Any, Any] | None:
    """Return operation, left and right side of a node with one of these operations."""
    if not isinstance(tree, dict):
        return None
    node, call = tree.get("BinaryExpr"), tree.get("Function", {})
    if node is not None and node["op"] in operations:
        return node["op"], node["left"], node["right"]
    # Comparisons with numbers that have a decimal point come as calls.
    sql = call["function"].get("Sql", {}) if isinstance(call.get("function"), dict) else {}
    operation = sql.get("Binary") if isinstance(sql, dict) else None
    return (operation, *call["input"]) if operation in operations else None


def _column(tree: Any) -> str | None:
    return tree["Column"] if isinstance(tree, dict) and isinstance(tree.get("Column"), str) else None


def _value(tree: Any) -> Any:
    """Return the value of a constant, such as -1.5, None of what reads a column."""
    if not isinstance(tree, dict) or "Column" in set(_keys(tree)):
        return None
    value = pl.select(_expression(tree)).to_series()
    if len(value) != 1:
        return None
    return value.cast(pl.Float64).item() if value.dtype.is_decimal() else value.item()


def _keys(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, inner in tree.items():
            yield key
            yield from _keys(inner)
    elif isinstance(tree, list):
        for inner in tree:
            yield from _keys(inner)


def _expression(tree: Any) -> pl.Expr:
    return pl.Expr.deserialize(StringIO(json.dumps(tree)), format="json")
