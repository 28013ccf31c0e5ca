"""Measured recall on the page: what the stage's receipt says, and nothing where it says nothing."""

from pathlib import Path

from engine.base.atomic import read_json, write_json
from engine.report.duplicate_recall import MeasuredRecall, measured_recalls, recall_table
from engine.report.evidence import open_evidence
from engine.report.numbers import gather
from engine.report.page import render

MEASURED = {
    "planted": 1000, "found": 991, "share": 0.991, "interval_95": [0.9831, 0.9952], "mean_similarity": 0.8021,
    "brute_force_sample": {
        "pairs": 0, "found": 0, "share": None, "interval_95": None,
        "sampled_documents": 512, "compared_documents": 8192,
    },
}  # fmt: skip


def measure(workspace: Path) -> None:
    (path,) = workspace.glob("annotations/near_dup/*/_corpus/*/receipt.json")
    write_json(path, {**read_json(path), "details": {"floor": 0.8, "measured_recall": MEASURED}})


def test_both_measurements_are_rows_with_their_interval(workspace: Path) -> None:
    measure(workspace)
    recalls = measured_recalls(open_evidence(workspace))
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


def test_page_shows_the_recall_in_the_section_of_duplicates(workspace: Path) -> None:
    measure(workspace)
    evidence = open_evidence(workspace)
    page = render(evidence, gather(evidence), [])
    section = page[page.index('<section id="duplicates">') :]
    assert "Recall of the search for near-duplicates" in section[: section.index("</section>")]


def test_workspace_made_before_recall_was_measured_has_no_table(finished: Path) -> None:
    recalls = measured_recalls(open_evidence(finished))
    assert recalls == ()
    assert recall_table(recalls) is None
