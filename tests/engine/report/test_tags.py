"""Tags are counted by reason and source, and what protection kept is told from what a rule only tags."""

from pathlib import Path

from engine.report.evidence import open_evidence
from engine.report.tags import Tags, tags, tags_findings, tags_table


def found(workspace: Path) -> Tags:
    numbers = tags(open_evidence(workspace))
    assert numbers is not None
    return numbers


def test_tags_are_counted_by_reason_and_source(balanced: Path) -> None:
    table = tags_table(found(balanced))
    assert table is not None
    assert [row[:3] for row in table.rows] == [
        ("too_short", "code (protected)", "5"),
        ("odd", "medquad", "2"),
        ("odd", "stdlib_docs", "2"),
        ("odd", "code (protected)", "1"),
    ]


def test_rule_that_only_tags_would_have_dropped_nobody(balanced: Path) -> None:
    # One document of `code` is odd, which only tags; five are too short, which drops elsewhere.
    assert found(balanced).spared == {"code": 5}


def test_recipe_without_tags_and_protection_says_nothing(finished: Path) -> None:
    assert tags(open_evidence(finished)) is None
    assert list(tags_findings(None)) == []
