"""Conditions that compare a column with a number are recognised; nothing else is."""

from typing import Any

import polars as pl
import pytest

from engine.select.conditions import parse_condition
from engine.select.presets import HEURISTICS, PRESETS
from engine.select.thresholds import threshold_of


def seen(condition: str) -> tuple[Any, ...] | None:
    found = threshold_of(condition)
    return None if found is None else (found.column, found.sign, found.number)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("n >= 20", ("n", ">=", 20)),
        ("(n) > 20", ("n", ">", 20)),
        ("n < 0.25", ("n", "<", 0.25)),
        ("n <= -1.5", ("n", "<=", -1.5)),
        ("n > -3", ("n", ">", -3)),
        ("n >= 1e-3", ("n", ">=", 0.001)),
        ("20 <= n", ("n", ">=", 20)),
        ("0.5 > n", ("n", "<", 0.5)),
        ("COALESCE(n >= 20, FALSE)", ("n", ">=", 20)),
        ("COALESCE((n <= 0.1), TRUE)", ("n", "<=", 0.1)),
        ("NOT COALESCE((l = 'en'), FALSE) OR COALESCE(n >= 50, FALSE)", ("n", ">=", 50)),
        ("NOT COALESCE((m > 0.5), FALSE) OR n < 0.5", ("n", "<", 0.5)),
        ("n >= 20 OR l = 'code'", ("n", ">=", 20)),
    ],
)
def test_comparisons_with_a_number_are_thresholds(condition: str, expected: tuple[Any, ...]) -> None:
    assert seen(condition) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "n >= m",
        "n = 3",
        "n <> 3",
        "n BETWEEN 1 AND 2",
        "n >= 1 OR m >= 2",
        "n >= 1 AND l = 'en'",
        "n + 1 >= 2",
        "l = 'en'",
        "l > 'en'",
        "n IS NULL",
        "NOT n >= 1",
        "COALESCE(n, 0) >= 1",
        "1 < 2",
        "TRUE",
        "b",
    ],
)
def test_other_conditions_are_none(condition: str) -> None:
    assert seen(condition) is None


def test_every_rule_of_a_preset_is_a_threshold() -> None:
    rules = [rule for preset in PRESETS.values() for rule in preset]
    found = [threshold_of(rule.keep.format(h=HEURISTICS)) for rule in rules]
    assert len(found) == 30
    assert all(one is not None and one.column.startswith("heuristics__") for one in found)


def test_where_the_threshold_judges_it_says_what_the_condition_says() -> None:
    condition = "NOT COALESCE((l = 'en'), FALSE) OR COALESCE(n >= 0.5, FALSE)"
    rows = pl.DataFrame(
        {"l": ["en", "en", "en", "de", None], "n": [0.5, 0.4999, None, 0.1, 0.1]},
        schema={"l": pl.String, "n": pl.Float64},
    )
    found = threshold_of(condition)
    assert found is not None
    said = rows.select(found.judges.alias("judges"), found.holds.alias("holds"), keep=parse_condition(condition))
    assert said["judges"].to_list() == [True, True, True, False, False]
    assert said["holds"].to_list() == [True, False, None, False, False]
    assert said["keep"].to_list() == [True, False, False, True, True]
