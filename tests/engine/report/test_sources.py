"""Sources before and after: counts, shares, licences, effective number of sources."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.report.evidence import open_evidence
from engine.report.sources import effective_number, licenses_table, sources, sources_table


def test_counts_are_those_of_documents_and_decisions(finished: Path) -> None:
    found = sources(open_evidence(finished))
    assert found.rows.select("source", "documents", "kept_documents").rows() == [
        ("stdlib_docs", 120, 100),
        ("medquad", 90, 73),
        ("code", 60, 45),
        ("licenses", 30, 9),
    ]
    kept = open_evidence(finished).store
    assert kept is not None
    assert found.rows.get_column("tokens").sum() == kept.meta.num_tokens


def test_licence_that_nobody_states_is_unknown(finished: Path) -> None:
    rows = {row[0]: row[2] for row in licenses_table(sources(open_evidence(finished))).rows}
    assert rows == {"PSF-2.0": "120", "CC-BY-4.0": "90", "unknown": "60", "MIT": "30"}


def test_last_row_of_the_table_is_the_sum(finished: Path) -> None:
    *rows, total = sources_table(sources(open_evidence(finished))).rows
    assert total[0] == "all"
    for column in (1, 4, 7):
        numbers = [int(row[column].replace(",", "")) for row in [*rows, total]]
        assert numbers[-1] == sum(numbers[:-1])


@pytest.mark.parametrize(
    ("amounts", "expected"), [([], 0.0), ([0, 0], 0.0), ([7], 1.0), ([5, 5, 5], 3.0), ([9, 0], 1.0)]
)
def test_effective_number_of_simple_cases(amounts: list[int], expected: float) -> None:
    assert effective_number(amounts) == pytest.approx(expected)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8))
def test_effective_number_is_that_of_the_definition_in_any_order(amounts: list[int]) -> None:
    whole = sum(amounts)
    entropy = -sum(a / whole * math.log(a / whole) for a in amounts if a)
    assert effective_number(amounts) == pytest.approx(math.exp(entropy) if whole else 0.0)
    assert effective_number(amounts) == effective_number(amounts[::-1])
