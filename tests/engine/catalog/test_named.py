"""A catalog made for a query gives the answer of the whole catalog, from fewer files."""

from collections.abc import Iterator
from types import SimpleNamespace

import duckdb
import pytest

from engine.catalog import query as module
from engine.catalog import sql
from engine.catalog.fence import require_reading_only
from engine.catalog.named import EVERYTHING, Named, named_in
from engine.catalog.values import plain_rows

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
    "SELECT count(*) FROM duckdb_views() WHERE NOT internal",
    "DESCRIBE corpus",
    "SELECT step FROM stored.spans ORDER BY 1",
    "SELECT x FROM decisions AS t(i, s, x) ORDER BY ALL",
    "SELECT e FROM documents AS d(a, b, c, z, e) ORDER BY ALL",
    "SELECT c FROM annotations AS t(a, b, c) ORDER BY ALL",
    "SELECT z FROM (TABLE decisions) AS q(i, s, z) ORDER BY ALL",
    "WITH c(x, y, z, r, words) AS (FROM documents) SELECT words FROM c ORDER BY ALL",
    "WITH c AS (FROM documents) SELECT x FROM c AS d(a, b, f, g, x) ORDER BY ALL",
    "SELECT y FROM (decisions JOIN documents USING (doc_id)) AS j(x, y) ORDER BY ALL",
    "SELECT main.documents FROM documents",
    "SELECT memory.main.documents FROM memory.main.documents",
    "SELECT main.corpus FROM main.corpus",
    "SELECT (main.documents).text FROM documents",
    "SELECT (d).text FROM documents AS d",
    "SELECT struct_extract(d, 'text') FROM documents AS d",
    "SELECT d['text'] FROM documents AS d",
    "SELECT to_json(x) FROM (FROM documents) AS x",
    "SELECT unnest(d) FROM documents AS d",
    "SELECT D FROM documents AS d",
    'SELECT "Documents" FROM "DOCUMENTS"',
    'SELECT "D".text FROM documents AS "d"',
    "SELECT c FROM (SELECT text, source FROM documents) AS c",
    "WITH c AS (FROM documents) SELECT c FROM c",
    "WITH c AS (SELECT d FROM documents AS d) SELECT d.text, c.d.source FROM c",
    "SELECT list_transform([d], lambda x: x.text) FROM documents AS d",
    "SELECT list_transform([text], lambda x: upper(x)) FROM documents",
    "SELECT max_by(d, d.num_chars) FROM documents AS d",
    "SELECT count(DISTINCT d) FROM corpus AS d",
    "SELECT hash(corpus) FROM corpus",
    "SELECT list(d ORDER BY d.doc_id)[1].text FROM documents AS d",
    "SELECT (SELECT documents) FROM documents",
    "SELECT (SELECT d.text) FROM documents AS d",
    "SELECT d.text FROM corpus AS c, LATERAL (SELECT c.text) AS d",
    "SELECT c.source FROM corpus AS c WHERE EXISTS (SELECT d.text FROM documents AS d WHERE "
    "d.doc_id = c.doc_id AND d.text > 'm')",
    "SELECT count(*) FROM decisions WHERE EXISTS (FROM documents)",
    "SELECT #1, #5 FROM corpus",
    "SELECT text FROM corpus ORDER BY #1",
    "SELECT text, num_chars FROM documents ORDER BY 2, 1",
    "FROM documents SELECT text",
    "FROM documents",
    "TABLE documents",
    "SELECT count(*) FROM (FROM documents INTERSECT FROM documents)",
    "SELECT source FROM documents UNION BY NAME SELECT doc_id FROM decisions ORDER BY ALL",
    "FROM documents UNION ALL BY NAME FROM decisions",
    "SELECT text FROM documents EXCEPT SELECT reason FROM decisions ORDER BY ALL",
    "SELECT a.text, b.reason FROM documents AS a ASOF JOIN decisions AS b ON a.source = b.source "
    "AND a.doc_id >= b.doc_id",
    "SELECT a.text FROM documents AS a SEMI JOIN decisions AS b ON a.doc_id = b.doc_id AND b.decision = 'kept'",
    "SELECT text FROM documents JOIN annotations USING (doc_id, source) WHERE heuristics__num_words > 3",
    "SELECT corpus.num_chars FROM documents JOIN corpus USING (text) ORDER BY ALL",
    "SELECT COLUMNS('te.*') FROM corpus",
    "SELECT COLUMNS(lambda c: c = 'text') FROM documents",
    "SELECT COLUMNS(['text', 'source']) FROM documents",
    "SELECT min(COLUMNS(* EXCLUDE (messages))) FROM documents",
    "SELECT * REPLACE (upper(text) AS text) FROM documents",
    "SELECT * RENAME (text AS words) FROM documents",
    "SELECT * LIKE '%text%' FROM corpus",
    "SELECT d.* FROM documents AS d, decisions AS e WHERE d.doc_id = e.doc_id ORDER BY ALL",
    "SELECT memory.main.documents.text FROM documents",
    "SELECT u FROM documents, unnest(messages) AS m(u)",
    "SELECT u.role FROM documents AS d, unnest(d.messages) AS m(u)",
    "SELECT doc_id, row FROM documents AS text",
    "SELECT text FROM documents AS text",
    "SELECT text.text FROM documents AS text",
    "SELECT count(*) FROM (SELECT DISTINCT ON (source) source, text FROM documents)",
    "SELECT source, row_number() OVER (PARTITION BY source ORDER BY text) FROM documents ORDER BY ALL",
    "SELECT source FROM corpus QUALIFY lag(text) OVER (ORDER BY doc_id) IS NULL",
    "SELECT source, max(reason) FILTER (WHERE text > 'a') FROM corpus GROUP BY ROLLUP (source) ORDER BY ALL",
    "PIVOT decisions ON decision IN ('kept') USING count(*)",
    "PIVOT (SELECT source, decision, text FROM corpus) ON decision IN ('kept', 'dropped') USING "
    "max(text) GROUP BY source ORDER BY source",
    "SUMMARIZE decisions",
    "SUMMARIZE SELECT num_bytes FROM corpus",
    "WITH RECURSIVE r(n, t) AS (SELECT 1, min(text) FROM documents UNION ALL SELECT n + 1, t FROM r "
    "WHERE n < 3) FROM r",
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'main' ORDER BY ALL",
    "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY ALL",
    "SELECT viewname FROM pg_views WHERE schemaname IN ('main', 'stored') ORDER BY ALL",
    "SELECT count(*) FROM pg_catalog.pg_class",
    "SELECT count(*) FROM duckdb_views WHERE NOT internal",
    "SELECT name, type FROM pragma_table_info('corpus')",
    "SHOW TABLES",
    "SELECT doc_id FROM stored.corpus WHERE decision = 'kept'",
    "SELECT x FROM stored.decisions AS t(i, s, b, x) ORDER BY ALL",
    "SELECT s.stored FROM (SELECT stored.documents AS stored FROM stored.documents) AS s",
    "SELECT b.* FROM source_books AS b",
    "SELECT source_books FROM source_books",
    "SELECT a, b FROM source_web AS w(a, b)",
    'SELECT reason, "text" FROM corpus WHERE "TEXT" LIKE \'%page%\' ORDER BY ALL',
    'SELECT CASE WHEN t.text IS NULL THEN t.source ELSE t."Text" END FROM corpus AS t',
    "SELECT * FROM (VALUES (1, 'a')) AS v(n, t) JOIN (SELECT min(text) AS t FROM documents) AS d ON d.t > v.t",
    "SELECT to_json({'t': text, 'r': reason}) FROM corpus",
    "SELECT text AS t, upper(t) FROM corpus WHERE t IS NOT NULL ORDER BY t",
    "SELECT text.upper() FROM documents",
    "SELECT d.text.upper().len() FROM documents AS d",
    "SELECT documents.text.upper() FROM corpus AS documents WHERE decision.starts_with('k')",
    "SELECT d.to_json() FROM documents AS d",
    "SELECT documents.to_json() FROM documents",
    "SELECT source, text.max() FROM corpus GROUP BY source",
    "SELECT [x.upper() FOR x IN [text]] FROM documents",
    "SELECT text FROM documents WHERE num_chars.abs() > 5 ORDER BY text.len()",
    "SELECT count(*) FROM corpus c SEMI JOIN corpus d ON c.doc_id = d.doc_id AND d.decision = 'kept'",
    "SELECT source FROM documents ORDER BY COLUMNS('num_.*')",
]


@pytest.fixture(scope="module")
def whole(read_workspace: SimpleNamespace) -> Iterator[duckdb.DuckDBPyConnection]:
    """The catalog with everything in it, opened once."""
    with module.open_catalog(read_workspace.root, named=EVERYTHING) as connection:
        yield connection


@pytest.mark.parametrize("query", QUERIES)
def test_answer_is_that_of_the_whole_catalog(
    read_workspace: SimpleNamespace, whole: duckdb.DuckDBPyConnection, query: str
) -> None:
    relation = whole.execute("SELECT * FROM query(?)", [query])
    types = [str(dtype) for _, dtype, *_ in relation.description or ()]
    expected = plain_rows(relation.fetchall(), types)
    found = sql(query, read_workspace.root)
    assert found["types"] == types
    assert sorted(found["rows"], key=repr) == sorted(expected, key=repr)


def named(query: str) -> Named:
    return named_in(require_reading_only(duckdb.connect(), query))


def test_plain_columns_are_told_from_whole_rows() -> None:
    plain = named("SELECT a, t.B FROM T WHERE c > 1 AND e.len() > 1")
    assert plain.tables == frozenset({"t"})
    assert [name for name in "abcdefgh" if plain.has_column(name)] == ["a", "b", "c", "e"]
    grouped = named("SELECT a, count(*) FROM t GROUP BY ALL ORDER BY ALL")
    assert grouped.has_column("a")
    assert not grouped.has_column("b", "c", "d")
    for whole in (
        "SELECT * FROM t",
        "SELECT t FROM t",
        "SELECT x FROM t AS x",
        "SELECT x.to_json() FROM t AS x",
        "SELECT 1 FROM t NATURAL JOIN u",
    ):
        assert named(whole).columns is None, whole
    assert named("DESCRIBE t") == named("FROM duckdb_tables()") == EVERYTHING


def test_question_about_sources_opens_no_text_and_no_annotation(small_workspace: SimpleNamespace) -> None:
    (small_workspace.data / "web.parquet").unlink()
    for path in (small_workspace.root / "annotations").rglob("*.parquet"):
        path.unlink()
    found = sql("SELECT source, count(*) FROM corpus GROUP BY ALL ORDER BY ALL", small_workspace.root)
    assert found["rows"] == [["books", 4], ["web", 5]]


def test_pieces_of_a_source_keep_their_order(read_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.catalog import source_files

    query = "SELECT doc_id, text, decision, near_dup__similarity FROM corpus"
    whole = sql(query, read_workspace.root)
    monkeypatch.setattr(source_files, "PIECE_ROWS", 1)
    assert sql(query, read_workspace.root) == whole
