"""The effective number of sources is that of its definition, whatever the order and the unit."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.formats.ledger import SCHEMA
from engine.mixture.accounts import effective_before_and_after, effective_sources


@pytest.mark.parametrize(
    ("amounts", "expected"), [([], 0.0), ([0, 0], 0.0), ([7], 1.0), ([5, 5, 5], 3.0), ([9, 0], 1.0)]
)
def test_effective_number_of_simple_cases(amounts: list[int], expected: float) -> None:
    assert effective_sources(amounts) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8))
def test_effective_number_is_that_of_the_definition_in_any_order(amounts: list[int]) -> None:
    whole = sum(amounts)
    entropy = -sum(a / whole * math.log(a / whole) for a in amounts if a)
    assert effective_sources(amounts) == pytest.approx(math.exp(entropy) if whole else 0.0, abs=1e-4)
    assert effective_sources(amounts) == effective_sources(amounts[::-1])


def ledger(rows: list[tuple[str, str, str | None, int, int, int | None]]) -> pl.DataFrame:
    return pl.DataFrame([("selection", *row) for row in rows], schema=SCHEMA, orient="row")


def test_before_is_what_came_in_and_after_is_what_was_kept_in_every_unit() -> None:
    rows: list[tuple[str, str, str | None, int, int, int | None]] = [
        ("web", "in", None, 9, 90, 10),
        ("web", "kept", None, 1, 10, 10),
        ("web", "over_budget", "cap", 8, 80, 0),
        ("books", "in", None, 1, 90, 0),
        ("books", "kept", None, 1, 90, 0),
    ]
    assert effective_before_and_after(ledger(rows)) == {
        "documents": {"before": 1.3841, "after": 2.0},
        "bytes": {"before": 2.0, "after": 1.3841},
        "tokens": {"before": 1.0, "after": 1.0},
    }
    uncounted = [(*row[:-1], None) for row in rows]
    assert set(effective_before_and_after(ledger(uncounted))) == {"documents", "bytes"}


def test_nothing_has_no_effective_number() -> None:
    assert effective_before_and_after(ledger([])) == {}
