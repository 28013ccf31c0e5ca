"""Sources before and after: counts, shares, licences, effective number of sources."""

from pathlib import Path

from engine.report.evidence import open_evidence
from engine.report.sources import licenses_table, sources, sources_table


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


def test_protected_source_is_marked(balanced: Path) -> None:
    names = [row[0] for row in sources_table(sources(open_evidence(balanced))).rows]
    assert names == ["stdlib_docs", "medquad", "code (protected)", "licenses", "all"]
