"""Rows as files and streams: types kept, whole or not there."""

import csv
import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from engine.base.errors import ProvenderError
from engine.catalog import show_sql, sql

QUERY = (
    "SELECT '00000000-0000-0000-0000-00000000002a'::UUID AS id, sum(range) AS n, NULL AS nothing, true AS yes, "
    "['a|b', 'c'] AS list, 'x,\ny' AS text FROM range(3)"
)


def test_csv_quotes_and_leaves_null_empty(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    assert sql(QUERY, tmp_path, out=out)["num_rows"] == 1
    with out.open(newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["id", "n", "nothing", "yes", "list", "text"],
            ["00000000-0000-0000-0000-00000000002a", "3", "", "true", '["a|b", "c"]', "x,\ny"],
        ]


def test_json_and_jsonl_hold_the_same_objects(tmp_path: Path) -> None:
    for name in ("rows.json", "rows.jsonl"):
        sql("SELECT range AS x, range::VARCHAR AS y FROM range(3)", tmp_path, out=tmp_path / name)
    expected = [{"x": n, "y": str(n)} for n in range(3)]
    assert json.loads((tmp_path / "rows.json").read_text()) == expected
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == expected


def test_parquet_keeps_ids_whole_numbers_and_nested_values(tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    result = sql(QUERY, tmp_path, out=out)
    assert show_sql(result) == f"1 row written to {out} (parquet)"
    table = pq.read_table(out)
    assert {name: str(table.schema.field(name).type) for name in ("id", "n", "yes", "list")} == {
        "id": "extension<arrow.uuid>",
        "n": "decimal128(38, 0)",
        "yes": "bool",
        "list": "list<element: string>",
    }
    assert str(table.column("id")[0].as_py()) == "00000000-0000-0000-0000-00000000002a"
    assert sql(f"SELECT typeof(id), n::INT FROM '{out}'", tmp_path)["rows"] == [["UUID", 3]]


@pytest.mark.parametrize("ending", ["parquet", "json"])
def test_the_second_of_two_columns_of_one_name_has_a_number(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"rows.{ending}"
    assert sql("SELECT 1 AS a, 2 AS a, 3 AS a_1", tmp_path, out=out)["columns"] == ["a", "a_1", "a_1_1"]
    assert (
        pl.read_parquet(out).row(0) == (1, 2, 3) if ending == "parquet" else json.loads(out.read_text())[0]["a_1"] == 2
    )


def test_markdown_escapes_bars_and_line_breaks(tmp_path: Path) -> None:
    text = show_sql(sql("SELECT 'a|b' AS x, 'c\nd' AS y", tmp_path, format="markdown"))
    assert text == "| x | y |\n|---|---|\n| a\\|b | c<br>d |"


def test_csv_streams_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = sql("FROM range(50000)", tmp_path, format="csv", limit=45_000)
    assert capsys.readouterr().out == "range\n" + "".join(f"{n}\n" for n in range(45_000))
    assert (result["num_rows"], show_sql(result)) == (45_000, None)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_failing_query_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    query = "SELECT CASE WHEN range < 90000 THEN 'x' ELSE error('bad row') END AS x FROM range(100000)"
    with pytest.raises(ProvenderError, match="bad row"):
        sql(query, tmp_path, out=tmp_path / name)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "old")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "cvs"}, r"--format: no format 'cvs' .*did you mean 'csv'\?"),
        ({"format": "parquet"}, "--format parquet: no file"),
        ({"format": "csv", "json": True}, "--format csv: with --json"),
        ({"out": "rows.xlsx"}, "'rows.xlsx' says no format"),
        ({"out": "."}, "--out: '' says no format"),
    ],
)
def test_wrong_output_is_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ProvenderError, match=message):
        sql("SELECT 1", tmp_path, **options)  # type: ignore[arg-type]
