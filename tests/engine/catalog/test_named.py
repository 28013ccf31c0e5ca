"""A catalog made for a query gives the answer of the whole catalog, from fewer files."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from engine.catalog import query as module
from engine.catalog import sql
from engine.catalog.fence import require_reading_only
from engine.catalog.named import EVERYTHING, Named, named_in

small_workspace = runpy.run_path(str(Path(__file__).parents[1] / "small_workspace.py"))["small_workspace"]

QUERIES = [
    "SELECT source, count(*) FROM documents GROUP BY ALL ORDER BY ALL",
    "SELECT count(*) FROM corpus",
    "SELECT text FROM corpus WHERE decision = 'kept'",
    "SELECT documents FROM documents",
    "SELECT d FROM documents AS d",
    "SELECT d.* EXCLUDE (text) FROM documents d",
    "SELECT DOC_ID, Heuristics__Num_Words FROM Annotations",
    "SELECT a.near_dup__similarity, d.text FROM annotations a JOIN documents d USING (doc_id) ORDER BY a.doc_id",
    "SELECT count(*) FROM documents NATURAL JOIN decisions",
    "SELECT count(*) FROM documents a NATURAL JOIN corpus b",
    "WITH documents AS (SELECT text FROM corpus) SELECT * FROM documents",
    "SELECT columns('.*words') FROM annotations",
    "SELECT source FROM source_web",
    "SELECT near_dup__similarity, heuristics__num_words FROM corpus POSITIONAL JOIN decisions",
    "SELECT doc_id FROM decisions WHERE reason IN (SELECT 'too_short' FROM annotations) ORDER BY doc_id",
    "SELECT l.text_changed FROM labels l",
    "SELECT (SELECT max(num_chars) FROM documents d WHERE d.source = m.source) FROM mixture_documents m ORDER BY 1",
    "SELECT count(DISTINCT text) FROM (FROM documents)",
    "UNPIVOT (SELECT num_bytes, num_chars FROM corpus) ON num_bytes, num_chars",
    "SELECT table_name FROM duckdb_views() WHERE NOT internal ORDER BY 1",
    "DESCRIBE corpus",
    "SELECT step FROM stored.spans ORDER BY 1",
]


@pytest.mark.parametrize("query", QUERIES)
def test_answer_is_that_of_the_whole_catalog(
    small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    lean = sql(query, small_workspace.root)
    monkeypatch.setattr(module, "named_in", lambda tree: EVERYTHING)
    assert lean == sql(query, small_workspace.root)


def named(query: str) -> Named:
    return named_in(require_reading_only(duckdb.connect(), query))


def test_plain_columns_are_told_from_whole_rows() -> None:
    assert named("SELECT a, t.B FROM T WHERE c > 1") == Named(frozenset({"t"}), frozenset({"a", "t", "b", "c"}))
    for whole in ("SELECT * FROM t", "SELECT t FROM t", "SELECT x FROM t AS x", "SELECT 1 FROM t NATURAL JOIN u"):
        assert named(whole).columns is None, whole
    assert named("DESCRIBE t") == named("FROM duckdb_tables()") == EVERYTHING


def test_question_about_sources_opens_no_text_and_no_annotation(small_workspace: SimpleNamespace) -> None:
    (small_workspace.data / "web.parquet").unlink()
    for path in (small_workspace.root / "annotations").rglob("*.parquet"):
        path.unlink()
    found = sql("SELECT source, count(*) FROM corpus GROUP BY ALL ORDER BY ALL", small_workspace.root)
    assert found["rows"] == [["books", 4], ["web", 5]]


def test_pieces_of_a_source_keep_their_order(small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.catalog import source_files

    query = "SELECT doc_id, text, decision, near_dup__similarity FROM corpus"
    whole = sql(query, small_workspace.root)
    monkeypatch.setattr(source_files, "PIECE_ROWS", 1)
    assert sql(query, small_workspace.root) == whole
