"""Every SQL file does what its head says and what its cases show: tables given, rows expected.

A case file tests/sql/<group>/<name>.yaml is a list of {why, given: {table: [rows]}, expect: [[values]]}. Columns of
ids (doc_id, other_id, group_id, item_id) are written as small integers, lists of structs as lists of mappings. A
column nobody gives a value is null text.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
import yaml

from engine.base.sql_files import ANY_COLUMNS, SqlFile, parse_sql, read_sql, sql_folder, sql_names

HERE = Path(__file__).parent
FILES = [
    (group.name, name) for group in sorted(sql_folder().iterdir()) if group.is_dir() for name in sql_names(group.name)
]
ID_COLUMNS = {"doc_id", "other_id", "group_id", "item_id"}
TYPES = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR"}


def case_path(group: str, name: str) -> Path:
    return HERE / group / f"{name}.yaml"


def cases() -> list[Any]:
    found = []
    for group, name in FILES:
        if case_path(group, name).is_file():
            for number, case in enumerate(yaml.safe_load(case_path(group, name).read_text())):
                found.append(pytest.param(read_sql(group, name), case, id=f"{group}/{name}-{number}"))
    return found


def create_given(connection: duckdb.DuckDBPyConnection, file: SqlFile, given: dict[str, list[dict[str, Any]]]) -> None:
    """Create the tables the head says are read, with the columns it says and no others."""
    connection.execute("CREATE SCHEMA stored")
    for table, head_columns in file.reads.items():
        rows = given.get(table, [])
        declared = [column for column in head_columns if column != ANY_COLUMNS]
        more = [column for row in rows for column in row if column not in declared]
        assert not more or ANY_COLUMNS in head_columns, f"{more} are not in the head of {file.name}"
        columns = list(dict.fromkeys(declared + more))
        types = [type_of(column, [row.get(column) for row in rows]) for column in columns]
        body = ", ".join(f'"{column}" {dtype}' for column, dtype in zip(columns, types, strict=True))
        connection.execute(f"CREATE TABLE {table} ({body})")
        for row in rows:
            values = [as_id(column, row.get(column)) for column in columns]
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", values)


def type_of(column: str, values: list[Any]) -> str:
    if column in ID_COLUMNS:
        return "UUID"
    if nested := [value for value in values if isinstance(value, list) and value]:
        if isinstance(nested[0][0], str):
            return "VARCHAR[]"
        fields = ", ".join(f'"{name}" {TYPES[type(value)]}' for name, value in nested[0][0].items())
        return f"STRUCT({fields})[]"
    known = {TYPES[type(value)] for value in values if value is not None}
    return "DOUBLE" if known == {"BIGINT", "DOUBLE"} else known.pop() if known else "VARCHAR"


def as_id(column: str, value: Any) -> Any:
    return UUID(int=value) if column in ID_COLUMNS and value is not None else value


@pytest.mark.parametrize(("file", "case"), cases())
def test_query_yields_the_expected_rows(file: SqlFile, case: dict[str, Any]) -> None:
    assert set(case) <= {"why", "given", "params", "expect"}
    assert case["why"].endswith(".")
    assert set(case["given"]) <= set(file.reads)
    connection = duckdb.connect()
    create_given(connection, file, case["given"])
    defaults = {name: one.default for name, one in file.parameters.items() if not one.is_required}
    result = connection.execute(file.statement, defaults | case.get("params", {}))
    columns = [name for name, *_ in result.description]
    rows = [[value.int if isinstance(value, UUID) else value for value in row] for row in result.fetchall()]
    expected_columns = [column for column in file.yields if column != ANY_COLUMNS]
    assert columns[: len(expected_columns)] == expected_columns
    assert len(columns) == len(expected_columns) or ANY_COLUMNS in file.yields
    assert rows == case["expect"]


@pytest.mark.parametrize(("group", "name"), FILES)
def test_file_has_a_case(group: str, name: str) -> None:
    assert case_path(group, name).is_file(), f"write tests/sql/{group}/{name}.yaml"


@pytest.mark.parametrize("name", sql_names("audits"))
def test_audit_has_a_good_and_a_bad_case(name: str) -> None:
    found = [bool(case["expect"]) for case in yaml.safe_load(case_path("audits", name).read_text())]
    assert set(found) == {True, False}


def test_case_without_a_file_is_an_error() -> None:
    assert {(path.parent.name, path.stem) for path in HERE.glob("*/*.yaml")} <= set(FILES)


@pytest.mark.parametrize(("group", "name"), FILES)
def test_file_is_one_select(group: str, name: str) -> None:
    statements = duckdb.extract_statements(read_sql(group, name).statement)
    assert [statement.type for statement in statements] == [duckdb.StatementType.SELECT]


def test_named_queries_have_names_of_their_own() -> None:
    names = [name for group in ("statistics", "audits") for name in sql_names(group)]
    assert len(names) == len(set(names))


def test_readme_shows_the_views_and_named_queries_there_are() -> None:
    """Where it does not: python -m benchmarks.sql_reference."""
    from benchmarks.sql_reference import README, written

    text = README.read_text(encoding="utf-8")
    assert written(text) == text


HEAD = """\
-- Pairs that share one band.
-- reads:  signatures(doc_id, band), more(a,
--           b)
-- yields: pairs(doc_id, other_id)
-- grain:  one row per pair
-- params: $max_documents  documents; larger buckets are skipped
SELECT doc_id, $max_documents AS other_id FROM signatures
"""


def test_head_is_parsed() -> None:
    file = parse_sql("near_dup", "pairs", HEAD)
    assert file.what == "Pairs that share one band."
    assert file.reads == {"signatures": ("doc_id", "band"), "more": ("a", "b")}
    assert file.yields == ("doc_id", "other_id")
    assert file.grain == "one row per pair"
    assert file.params == {"max_documents": "documents; larger buckets are skipped"}
    assert file.statement == "SELECT doc_id, $max_documents AS other_id FROM signatures"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-- grain:  one row per pair\n", "", "the head has 4 fields"),
        ("one band.", "one band", "needed: a sentence"),
        ("yields: pairs(", "yields: others(", "the file is named pairs"),
        ("$max_documents  documents; larger buckets are skipped", "none", r"parameters of the statement \['max_doc"),
        ("$max_documents AS", "1 AS", r"of the head \['max_documents'\]"),
        ("-- reads:  sig", "-- read:  sig", "where 'reads: ...' is expected"),
        ("FROM signatures", "FROM signatures;", "a semicolon"),
        ("more(a,", "more a,", "is not a list of table"),
        ("$max_documents  documents; larger buckets are skipped", "$max_documents", "needs the form"),
    ],
)
def test_wrong_head_is_named(old: str, new: str, message: str) -> None:
    assert old in HEAD
    with pytest.raises(ValueError, match=message):
        parse_sql("near_dup", "pairs", HEAD.replace(old, new))


def test_files_are_found_in_an_installed_package(tmp_path: Path) -> None:
    """As in the wheel: engine/_sql inside the package, and no sql/ beside it."""
    root = sql_folder().parent
    shutil.copytree(root / "engine/base", tmp_path / "engine/base")
    shutil.copy(root / "engine/__init__.py", tmp_path / "engine")
    shutil.copytree(sql_folder(), tmp_path / "engine/_sql")
    code = "from engine.base.sql_files import *; print(*(read_sql('audits', n).name for n in sql_names('audits')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == sql_names("audits")
