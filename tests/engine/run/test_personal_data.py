"""What is replaced in a text before it becomes tokens, beside what is cut out of it."""

import re
from pathlib import Path

from engine.catalog import sql
from tests.engine.run.searched import TRAIN, prose, recipe, run_in, trained_texts, write_corpus, write_lines

MAIL = "ada.lovelace@analytical.org"
STAGES = [{"stage": "exact_dup"}, {"stage": "heuristics"}]
CUT = {"stage": "contamination", "action": "cut"}


def test_replacements_are_what_is_trained_on_and_the_same_everywhere(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    rows = [
        {"uid": "one", "text": f"Write to {MAIL} {prose(1)}"},
        {"uid": "two", "text": f"{prose(2)}\n\n{TRAIN}\n\n{prose(3)} {MAIL.upper()}"},
        *({"uid": f"d{number}", "text": prose(100 + number)} for number in range(60)),
    ]
    write_lines(corpus / "web.jsonl", rows)
    result = run_in(corpus, recipe(annotate=[*STAGES, CUT, {"stage": "pii", "action": "replace"}]))
    texts = trained_texts(corpus)
    assert not any("@" in text for text in texts)
    tags = [re.findall(r"<EMAIL-[0-9a-f]{8}>", text) for text in texts]
    (first,), (second,) = [found for found in tags if found]
    assert first == second
    assert any(text.startswith(f"Write to {first} ") for text in texts)
    assert not any("240 miles" in text for text in texts)
    # What is replaced is kept; only what is cut is not.
    sizes = {row["outcome"]: row["bytes"] for row in result["ledger"]}
    assert sizes["in"] == sizes["kept"] + sizes["cut"]
    assert len(TRAIN) <= sizes["cut"] <= len(TRAIN) + 4


def test_spans_alone_change_nothing(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    write_lines(corpus / "web.jsonl", [{"uid": f"d{n}", "text": f"{prose(n)} {MAIL}"} for n in range(60)])
    run_in(corpus, recipe(annotate=[*STAGES, CUT, {"stage": "pii"}]))
    assert all(MAIL in text for text in trained_texts(corpus))
    (row,) = sql("SELECT sum(pii__num_email)::BIGINT FROM annotations", corpus / "ws")["rows"]
    assert row[0] == 60
