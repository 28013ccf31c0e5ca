"""The user's SQL reads the workspace and its sources, and nothing it does changes or leaves either."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from engine.base.errors import InputError
from engine.catalog import sql


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below `folder` with its content and the time it changed."""
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def serialised(statement: str) -> str:
    """The statement as json_execute_serialized_sql takes it, quoted."""
    found = duckdb.connect().execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
    assert found is not None
    return "'" + found[0].replace("'", "''") + "'"


ATTEMPTS: dict[str, Callable[[str, str], str]] = {
    "copy": lambda ws, data: f"COPY documents TO '{ws}/stolen.parquet'",
    "copy in a CTE": lambda ws, data: f"WITH i AS (COPY (SELECT 42 AS x) TO '{ws}/new.parquet') SELECT * FROM i",
    "copy over an input": lambda ws, data: (
        f"WITH i AS (COPY (SELECT 42 AS x) TO '{data}/web.parquet' (USE_TMP_FILE false)) SELECT * FROM i"
    ),
    "serialised copy over an input": lambda ws, data: (
        "FROM json_execute_serialized_sql("
        + serialised(f"WITH i AS (COPY (SELECT 42 AS x) TO '{data}/web.parquet' (USE_TMP_FILE false)) SELECT * FROM i")
        + ")"
    ),
    "serialised copy, qualified and in capitals": lambda ws, data: (
        'SELECT (FROM system.main."JSON_Execute_Serialized_SQL"('
        + serialised(f"WITH i AS (COPY (SELECT 42 AS x) TO '{ws}/new.parquet') SELECT * FROM i")
        + "))"
    ),
    "nested query": lambda ws, data: f"FROM query('FROM query(''COPY documents TO ''''{ws}/x.csv'''''')')",
    "insert returning in a CTE": lambda ws, data: (
        "WITH i AS (INSERT INTO stored.runs VALUES ('x', true, '{}') RETURNING run) FROM i"
    ),
    "delete": lambda ws, data: "DELETE FROM stored.runs",
    "drop": lambda ws, data: "DROP VIEW documents",
    "create": lambda ws, data: "CREATE TABLE t AS SELECT 1",
    "attach": lambda ws, data: f"ATTACH '{ws}/new.db' AS other",
    "export": lambda ws, data: f"EXPORT DATABASE '{ws}/export'",
    "install": lambda ws, data: "INSTALL httpfs",
    "load": lambda ws, data: "LOAD httpfs",
    "set": lambda ws, data: "SET enable_external_access = true",
    "unlock": lambda ws, data: "RESET lock_configuration",
    "pragma": lambda ws, data: "PRAGMA enable_external_access = true",
    "two statements": lambda ws, data: f"SELECT 1; COPY documents TO '{ws}/x.parquet'",
    "closing the parenthesis": lambda ws, data: f"SELECT 1); COPY documents TO '{ws}/x.csv'; SELECT * FROM (SELECT 1",
    "explain analyze": lambda ws, data: f"EXPLAIN ANALYZE COPY documents TO '{ws}/x.parquet'",
    "log to a file": lambda ws, data: f"FROM enable_logging(storage = 'file', storage_path = '{ws}/log')",
    "profile to a file": lambda ws, data: f"FROM enable_profiling('json', save_location = '{ws}/profile.json')",
    "database as a table": lambda ws, data: f"FROM read_duckdb('{ws}/new.db')",
    "database by its name": lambda ws, data: f"FROM '{ws}/new.duckdb'",
    "pointer": lambda ws, data: "FROM arrow_scan(1::POINTER, 2::POINTER, 3::POINTER)",
    "password file": lambda ws, data: "SELECT * FROM read_text('/etc/passwd')",
    "list of files": lambda ws, data: "SELECT * FROM glob('/etc/*')",
    "parent folder": lambda ws, data: f"SELECT * FROM read_text('{ws}/../secret.txt')",
    "sibling with the same beginning": lambda ws, data: f"SELECT * FROM read_text('{ws}2/secret.txt')",
    "link to a file": lambda ws, data: f"SELECT * FROM read_text('{ws}/link.txt')",
    "link to a folder": lambda ws, data: f"SELECT * FROM read_text('{ws}/linked/secret.txt')",
    "beside a link's target": lambda ws, data: f"FROM read_text('{ws}/linked/../secret.txt')",
    "beside a link's target, in a list": lambda ws, data: f"FROM read_text(['{ws}/linked/../secret.txt'])",
    "beside a link's target, as a table": lambda ws, data: f"FROM '{ws}/linked/../secret.csv'",
    "beside a link's target, as a name in two parts": lambda ws, data: f'FROM "{ws}/linked/"."./secret.csv"',
    "beside a link's target, as a name": lambda ws, data: f'FROM read_text("{ws}/linked/"."./secret.txt")',
    "beside a link's target, put together": lambda ws, data: f"FROM read_text('{ws}/linked/.' || './secret.txt')",
    "beside a link's target, from bytes": lambda ws, data: (
        f"FROM read_text('{ws}/linked/\\x2E\\x2E/secret.txt'::BLOB::VARCHAR)"
    ),
    "beside a link's target, by pattern": lambda ws, data: f"FROM read_text('{ws}/linked/[.][.]/secret.txt')",
    "beside a link's target, summarized": lambda ws, data: f"SUMMARIZE '{ws}/linked/../secret.csv'",
    "files behind a link, by pattern": lambda ws, data: f"FROM read_text('{ws}/link*/*')",
    "list of files behind a link": lambda ws, data: f"SELECT * FROM glob('{ws}/link*/*')",
    "list of files of the workspace": lambda ws, data: f"SELECT * FROM glob('{ws}/**')",
    "function in front of which stands a name": lambda ws, data: "SELECT '/etc/passwd'.read_text()",
    "call in a CTE": lambda ws, data: "WITH x AS (CALL enable_logging()) FROM x",
    "neighbour of an input": lambda ws, data: f"SELECT * FROM read_text('{data}/secret.txt')",
    "neighbour of an input by pattern": lambda ws, data: f"SELECT * FROM read_text('{data}/*')",
    "copy behind a comment": lambda ws, data: f"/* SELECT */ -- FROM\nCOPY documents TO '{ws}/x.parquet'",
    "explain analyze behind a comment": lambda ws, data: f"/**/EXPLAIN ANALYZE COPY documents TO '{ws}/x.parquet'",
    "explain analyze of a copy in a CTE": lambda ws, data: (
        f"EXPLAIN ANALYZE WITH i AS (COPY (SELECT 1) TO '{ws}/x.parquet') SELECT * FROM i"
    ),
    "explain of two statements": lambda ws, data: f"EXPLAIN SELECT 1; COPY documents TO '{ws}/x.parquet'",
    "explain analyze of the password file": lambda ws, data: "EXPLAIN ANALYZE FROM read_text('/etc/passwd')",
    "temporary folder": lambda ws, data: f"SET temp_directory = '{ws}'",
    "variable": lambda ws, data: "SET VARIABLE x = 1",
    "network": lambda ws, data: "SELECT * FROM read_csv('https://example.com/x.csv')",
    "python variable": lambda ws, data: "SELECT * FROM python_frame",
    "environment": lambda ws, data: "SELECT getenv('HOME')",
}


@pytest.fixture
def surrounded(small_workspace: SimpleNamespace) -> SimpleNamespace:
    """The workspace with secrets around it, and links to them within."""
    root, top = small_workspace.root, small_workspace.root.parent
    (top / "ws2").mkdir()
    for folder in (top, top / "ws2", small_workspace.data):
        (folder / "secret.txt").write_text("secret")
        (folder / "secret.csv").write_text("a\nsecret\n")
    (root / "link.txt").symlink_to(top / "secret.txt")
    (root / "linked").symlink_to(top / "ws2")
    return small_workspace


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_attempt_is_refused_and_changes_nothing(surrounded: SimpleNamespace, attempt: str) -> None:
    import polars as pl

    python_frame = pl.DataFrame({"secret": [1]})
    before = snapshot(surrounded.root.parent)
    query = ATTEMPTS[attempt](str(surrounded.root), str(surrounded.data))
    with pytest.raises(InputError, match=r"query(, line 1, column [0-9]+)?: ") as error:
        sql(query, surrounded.root)
    assert "secret" not in re.sub(r"secret\.(txt|csv)", "", str(error.value))
    assert snapshot(surrounded.root.parent) == before
    assert python_frame.height == 1


def test_attempts_would_do_harm_without_the_fence(surrounded: SimpleNamespace) -> None:
    """The two worst of them work in a plain DuckDB, so the tests above do test something."""
    for attempt in ("copy over an input", "serialised copy over an input"):
        before = snapshot(surrounded.data)
        duckdb.connect().execute(ATTEMPTS[attempt](str(surrounded.root), str(surrounded.data))).fetchall()
        assert snapshot(surrounded.data) != before


@pytest.mark.parametrize(
    "query",
    [
        "FROM documents",
        "TABLE decisions",
        "VALUES (1)",
        "DESCRIBE documents",
        "SUMMARIZE decisions",
        "SHOW TABLES",
        "SELECT 1;",
        "EXPLAIN SELECT * FROM documents",
        "explain analyze SELECT count(*) FROM decisions",
        "SELECT 1 -- a comment",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "PIVOT decisions ON decision IN ('kept', 'dropped') USING count(*) GROUP BY source",
        "FROM range(3)",
        "SELECT unnest(range(3))",
        "SELECT * FROM documents POSITIONAL JOIN annotations",
        "SELECT columns('near_dup__.*') FROM annotations",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t",
        "FROM duckdb_columns() WHERE NOT internal",
    ],
)
def test_honest_query_passes_and_changes_nothing(small_workspace: SimpleNamespace, query: str) -> None:
    before = snapshot(small_workspace.root.parent)
    assert sql(query, small_workspace.root)["rows"]
    assert snapshot(small_workspace.root.parent) == before


def test_pivot_without_its_values_is_told_to_name_them(read_workspace: SimpleNamespace) -> None:
    with pytest.raises(InputError, match=r"Fix: name PIVOT's values: ON column IN \(\.\.\.\)\.$"):
        sql("PIVOT decisions ON decision USING count(*)", read_workspace.root)


def test_files_of_the_workspace_and_inputs_can_be_read_by_path(read_workspace: SimpleNamespace) -> None:
    for path in (read_workspace.data / "web.parquet", read_workspace.root / "documents/web/aaaa/*.ids.parquet"):
        assert sql(f"SELECT count(*) FROM '{path}'", read_workspace.root)["rows"] == [[5]]


def test_input_whose_name_is_a_pattern_opens_no_other_file(small_workspace: SimpleNamespace) -> None:
    inputs = small_workspace.data / "web.parquet"
    odd = small_workspace.data / "we[b].parquet"
    inputs.rename(odd)
    (small_workspace.data / "web.parquet").write_bytes(odd.read_bytes())
    source = small_workspace.root / "documents/web/aaaa/source.json"
    source.write_text(source.read_text().replace("web.parquet", "we[b].parquet"))
    assert sql("SELECT count(text) FROM documents", small_workspace.root)["rows"] == [[8]]
    with pytest.raises(InputError, match="Permission"):
        sql(f"FROM '{small_workspace.data}/web.parquet'", small_workspace.root)


def test_workspace_may_be_reached_through_a_link(small_workspace: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "linked_workspace").symlink_to(small_workspace.root)
    assert sql("SELECT count(text) FROM documents", tmp_path / "linked_workspace")["rows"] == [[8]]


def test_folders_of_a_workspace_may_lie_on_another_disk(surrounded: SimpleNamespace, tmp_path: Path) -> None:
    """Links of any other name lead nowhere: linked/ is refused in the attempts above."""
    query = "SELECT text, heuristics__num_words FROM documents JOIN annotations USING (doc_id) ORDER BY doc_id"
    before = sql(query, surrounded.root)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/secret.txt").write_text("secret")
    for name in ("documents", "annotations", "mixtures"):
        (surrounded.root / name).rename(tmp_path / "disk" / name)
        (surrounded.root / name).symlink_to(tmp_path / "disk" / name)
    assert sql(query, surrounded.root) == before
    assert sql("SELECT count(*) FROM mixture_documents", surrounded.root)["rows"] == [[5]]
    for path in (tmp_path / "disk/secret.txt", surrounded.root / "documents/../secret.txt"):
        with pytest.raises(InputError, match=r"Permission|goes up"):
            sql(f"FROM read_text('{path}')", surrounded.root)


def test_path_as_a_value_is_read_and_does_not_go_up(surrounded: SimpleNamespace) -> None:
    query, root = "SELECT size FROM read_blob($path)", surrounded.root
    path = root / "recipes/small.json"
    assert sql(query, root, values=[f"path={path}"])["rows"] == [[path.stat().st_size]]
    with pytest.raises(InputError, match="goes up"):
        sql(query, root, values=[f"path={root}/linked/../secret.txt"])


def test_query_that_spills_leaves_nothing_behind(
    small_workspace: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.catalog import query as module

    opened = module.open_connection

    def small(temporary: Path) -> duckdb.DuckDBPyConnection:
        connection = opened(temporary)
        connection.execute("SET memory_limit = '60MB'")
        connection.execute("SET threads = 1")
        return connection

    monkeypatch.setattr(module, "open_connection", small)
    before = snapshot(small_workspace.root.parent)
    query = "SELECT count(*) FROM (SELECT hash(range) AS h, repeat('x', 100) FROM range(1_000_000) ORDER BY h)"
    assert sql(query, small_workspace.root)["rows"] == [[1_000_000]]
    assert snapshot(small_workspace.root.parent) == before
    assert not list(small_workspace.root.glob(".tmp-*"))
