"""Measured recall on the page: what the stage's receipt says."""

from pathlib import Path

from engine.report.duplicate_recall import MeasuredRecall, measured_recalls, recall_table
from engine.report.evidence import open_evidence
from engine.report.numbers import gather
from engine.report.page import render


def test_both_measurements_are_rows_with_their_interval(finished: Path) -> None:
    recalls = measured_recalls(open_evidence(finished))
    assert recalls == (
        MeasuredRecall("near_dup", "planted copies", 0.8, 1000, 991, (0.9831, 0.9952)),
        MeasuredRecall("near_dup", "brute-force sample", 0.8, 0, 0, None),
    )
    found = recall_table(recalls)
    assert found is not None
    assert found.rows == (
        ("near_dup", "planted copies", "0.8", "1,000", "991", "99.1 %", "98.3 to 99.5 %"),
        ("near_dup", "brute-force sample", "0.8", "0", "0", "-", "-"),
    )
    assert recall_table(()) is None


def test_page_shows_the_recall_in_the_section_of_duplicates(finished: Path) -> None:
    evidence = open_evidence(finished)
    page = render(evidence, gather(evidence), [])
    section = page[page.index('<section id="duplicates">') :]
    assert "Recall of the search for near-duplicates" in section[: section.index("</section>")]
