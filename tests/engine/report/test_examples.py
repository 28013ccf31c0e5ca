"""Examples are shown by reason in the order of the rules, and their text never becomes markup."""

from pathlib import Path

from engine.report import report
from engine.report.evidence import open_evidence
from engine.report.examples import examples


def test_examples_stand_in_the_order_of_the_rules_and_cuts_come_last(balanced: Path) -> None:
    found = examples(open_evidence(balanced))
    titles = ["no_text", "exact_duplicate", "over budget: sources", "cut out by contamination"]
    assert [group.title for group in found] == titles
    assert found[0].documents[0].excerpt == "(no text)"
    assert found[3].documents[0].excerpt == "the passage"


def test_selection_that_saved_no_examples_shows_none(finished: Path) -> None:
    assert examples(open_evidence(finished)) == []


def test_page_shows_balance_tags_and_examples(balanced: Path, tmp_path: Path) -> None:
    page = Path(report(balanced, out=tmp_path / "page.html")["path"]).read_text(encoding="utf-8")
    assert '<section id="balance">' in page
    assert '<tr class="marked"><td class="name"><span>source = medquad</span>' in page
    assert "<summary>over budget: sources</summary>" in page
    assert "<blockquote>&lt;script&gt;alert(" in page
    assert "<script" not in page
    assert "From all tokens to the kept ones" in page
