"""The audit reads the text of the token store: tags in front neither complete an item nor hide one."""

from pathlib import Path
from typing import Any

import polars as pl

from engine.formats.mixture import open_mixture
from engine.formats.workspace import Workspace
from tests.engine.run.searched import prose, recipe, run_in, write_lines

ITEM = prose(5, 11)
TAGS = [{"tag": "quality", "column": "heuristics__num_words", "ranges": {"high": [0, None]}}]


def run_with(folder: Path, question: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """A corpus with one document that begins with ITEM, every document tagged `<|quality:high|>`; the audit's hits."""
    clean = [{"uid": f"d{number}", "text": prose(number)} for number in range(100, 150)]
    write_lines(folder / "web.jsonl", [*clean, {"uid": "x", "text": f"{ITEM} {prose(9, 30)}"}])
    write_lines(folder / "quiz.jsonl", [{"question": question, "answer": "latel"}])
    result = run_in(folder, recipe("tag", control_tokens={"tags": TAGS, "drop_out": 0}))
    audit = open_mixture(Workspace(folder / "ws"), "all@latest").manifest.audit
    assert audit is not None
    return result, pl.read_parquet(Workspace(folder / "ws").audit(audit.digest) / "hits.parquet")


def test_a_tag_in_front_does_not_complete_an_item(tmp_path: Path) -> None:
    """With `quality high` of the tag before it, the document would hold the whole question."""
    _, hits = run_with(tmp_path, f"quality high {ITEM}")
    assert hits.height == 0


def test_a_tag_in_front_does_not_hide_an_item(tmp_path: Path) -> None:
    _, hits = run_with(tmp_path, ITEM)
    assert hits["item"].n_unique() == 1
    assert not hits["evidence"].str.contains("quality").any()
