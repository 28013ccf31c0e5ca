"""What `sql` returns, and what it says when it cannot."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.base.errors import InputError, RecipeError
from engine.catalog import sql


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'00000000-0000-0000-0000-00000000002a'::UUID", "00000000-0000-0000-0000-00000000002a"),
        ("DATE '2026-05-01'", "2026-05-01"),
        ("TIMESTAMP '2026-05-01 10:00:00'", "2026-05-01T10:00:00"),
        ("TIMESTAMPTZ '2026-05-01 10:00:00+02'", "2026-05-01 08:00:00+00"),
        ("[{'at': TIMESTAMPTZ '2026-05-01 10:00:00+02', 'n': 1}]", [{"at": "2026-05-01 08:00:00+00", "n": 1}]),
        ("NULL::TIMESTAMPTZ", None),
        ("TIME '10:30:00'", "10:30:00"),
        ("'\\xAA\\x01'::BLOB", "aa01"),
        ("12345678901234567890::HUGEINT", 12345678901234567890),
        ("1.50::DECIMAL(10,2)", 1.5),
        ("3.00::DECIMAL(10,2)", 3),
        ("0.9::FLOAT", 0.9),
        ("'nan'::DOUBLE", "nan"),
        ("'-inf'::DOUBLE", "-inf"),
        ("'inf'::FLOAT", "inf"),
        ("NULL", None),
        ("true", True),
        ("[1, NULL]", [1, None]),
        ("{'day': DATE '2026-05-01', 'x': 'nan'::DOUBLE}", {"day": "2026-05-01", "x": "nan"}),
        ("MAP {1: 'a'}", {"1": "a"}),
        ("INTERVAL 36 HOUR", "1 day, 12:00:00"),
    ],
)
def test_value_is_plain(tmp_path: Path, expression: str, value: object) -> None:
    result = sql(f"SELECT {expression} AS v", tmp_path)
    assert result["rows"] == [[value]]
    json.dumps(result, allow_nan=False)


def test_times_with_a_zone_keep_order_type_and_the_other_columns(tmp_path: Path) -> None:
    query = "SELECT range AS x, TIMESTAMPTZ '2026-05-01 10:00:00+02' AS at FROM range(30000) ORDER BY x DESC"
    result = sql(query, tmp_path, limit=2)
    assert result["rows"] == [[29999, "2026-05-01 08:00:00+00"], [29998, "2026-05-01 08:00:00+00"]]
    assert (result["types"], result["is_cut"]) == (["BIGINT", "TIMESTAMP WITH TIME ZONE"], True)
    for shape in ("csv", "parquet"):
        assert sql(query, tmp_path, out=tmp_path / f"rows.{shape}")["num_rows"] == 30000


def test_limit_keeps_the_order_and_says_that_rows_were_left_out(tmp_path: Path) -> None:
    query = "SELECT range AS x FROM range(100000) ORDER BY x DESC"
    result = sql(query, tmp_path, limit=2)
    assert (result["rows"], result["is_cut"]) == ([[99999], [99998]], True)
    assert sql("FROM range(2)", tmp_path, limit=2)["is_cut"] is False
    assert sql("FROM range(2)", tmp_path, limit=0) == {
        "columns": ["range"],
        "types": ["BIGINT"],
        "rows": [],
        "is_cut": True,
    }


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "FROM annotation",
            r"query, line 1, column 6: no view 'annotation' \(have: annotations, .*Fix: did you mean 'annotations'\?$",
        ),
        (
            "SELECT near_dup__similarit FROM annotations",
            r"query, line 1, column 8: no column 'near_dup__similarit'\. Fix: use 'near_dup__similarity' of .*annot",
        ),
        (
            "SELECT near_dup__similarity FROM documents",
            r"query, line 1, column 8: no column 'near_dup__similarity' in the views .*read it from .*annotations",
        ),
        (
            "EXPLAIN SELECT near_dup__similarit FROM annotations",
            r"query, line 1, column 16: no column 'near_dup__similar",
        ),
        ("explain\n analyze SELECT 1 FROM annotation", r"query, line 2, column 24: no view 'annotation'"),
        ("EXPLAIN SELECT 1 +* 2 FROM", r"syntax error.*\(line 1, column "),
        ("SELECT a.zzzzzz FROM annotations AS a", r"no column 'zzzzzz' in any view\. Fix: `provender sql --list`"),
        ("SELECT FROM WHERE", r"query: syntax error.*Needed: a single SELECT"),
        ("DROP TABLE x", r"query: it is not a SELECT that could be checked\. Needed: a single SELECT"),
        ("SELECT 1; SELECT 2", r"query: 2 statements\. Needed: a single SELECT"),
        ("SELECT 'a'::INTEGER", r"query: Conversion Error: Could not convert string 'a'"),
        ("SELECT sum(text) FROM documents", r"query: Binder Error"),
        (
            "FROM query_table('documents')",
            r"query: no table function 'query_table' here\. Needed: a function that only reads",
        ),
        ("@funel", r"query: no named query 'funel' \(have: .*did you mean 'funnel'\?$"),
    ],
)
def test_mistake_is_explained_in_one_line(read_workspace: SimpleNamespace, query: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        sql(query, read_workspace.root)
    assert "\n" not in str(error.value)
    assert "query(?)" not in str(error.value)


def test_mistake_is_told_where_a_file_the_query_does_not_name_is_damaged(small_workspace: SimpleNamespace) -> None:
    for path in (small_workspace.root / "annotations").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(InputError, match=r"^query: .*[Cc]olumn \"sorce\" not found") as error:
        sql("SELECT sorce FROM documents", small_workspace.root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("query", [None, "  "])
def test_no_query_is_an_error(read_workspace: SimpleNamespace, query: str | None) -> None:
    with pytest.raises(RecipeError, match=r"there is none.*provender sql --list"):
        sql(query, read_workspace.root)


def test_negative_limit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"--limit: -1\. Needed: 0 rows or more"):
        sql("SELECT 1", tmp_path, limit=-1)


def test_no_workspace_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such workspace"):
        sql("SELECT 1", tmp_path / "none")


def test_expression_nested_too_deeply_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="query: "):
        sql("SELECT " + "+".join(["1"] * 5000), tmp_path)
