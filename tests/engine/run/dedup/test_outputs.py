"""What stands in OUT: survivors with all their columns, removals that name a survivor, pairs, the report."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.recipe import check_recipe

from .corpora import pairs, removed, run, span, survivors, write

BASE = span(0, 60, "word")
LONGER = BASE + " and a little more"
OTHER = span(0, 60, "other")
# 56 5-grams in BASE, 60 in LONGER: 56 / 60.
SIMILAR = 0.9333


def test_longest_of_its_kind_survives_with_all_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [BASE, LONGER, OTHER, BASE, None, ""], votes=[0, 1, 2, 3, 4, 5])
    report = run([path], tmp_path / "out", id_column="uid")
    assert survivors(tmp_path / "out") == [
        {"uid": "d1", "text": LONGER, "votes": 1},
        {"uid": "d2", "text": OTHER, "votes": 2},
        {"uid": "d4", "text": None, "votes": 4},
        {"uid": "d5", "text": "", "votes": 5},
    ]
    assert (report["documents"], report["kept"]) == (6, 4)


def test_removal_names_the_final_survivor_and_the_similarity_to_it(tmp_path: Path) -> None:
    run([write(tmp_path / "in.parquet", [BASE, LONGER, OTHER, BASE])], tmp_path / "out", id_column="uid")
    found = removed(tmp_path / "out")
    assert {name: (row.kept_id, row.similarity) for name, row in found.items()} == {
        "d0": ("d1", SIMILAR),
        "d3": ("d1", SIMILAR),
    }
    assert {row.reason for row in found.values()} == {"near_dup", "exact_dup"}


def test_equal_texts_are_exact_duplicates_of_similarity_1(tmp_path: Path) -> None:
    run([write(tmp_path / "in.parquet", [BASE, OTHER, BASE, BASE])], tmp_path / "out", id_column="uid")
    found = removed(tmp_path / "out")
    assert len(found) == 2
    (stays,) = {"d0", "d2", "d3"} - set(found)
    assert set(found.values()) == {(stays, "exact_dup", 1.0)}
    assert pairs(tmp_path / "out") == {}


def test_tables_have_the_columns_that_are_documented(tmp_path: Path) -> None:
    run([write(tmp_path / "in.parquet", [BASE, LONGER, BASE])], tmp_path / "out", id_column="uid")
    names = {name: pq.read_schema(tmp_path / "out" / name).names for name in ("removed.parquet", "pairs.parquet")}
    assert names == {
        "removed.parquet": ["id", "kept_id", "reason", "similarity"],
        "pairs.parquet": ["id", "other_id", "similarity"],
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "pairs.parquet", "removed.parquet", "report.json", "survivors"
    ]  # fmt: skip


def test_tables_of_a_corpus_without_duplicates_are_empty_with_the_same_columns(tmp_path: Path) -> None:
    run([write(tmp_path / "in.parquet", [BASE, OTHER])], tmp_path / "out", id_column="uid")
    assert removed(tmp_path / "out") == {}
    assert pairs(tmp_path / "out") == {}
    assert pq.read_schema(tmp_path / "out" / "removed.parquet").names == ["id", "kept_id", "reason", "similarity"]


def test_pairs_are_verified_and_at_or_above_the_threshold(tmp_path: Path) -> None:
    # 28 shared of 84 between the last two: below 0.8.
    texts = [BASE, LONGER, OTHER, span(28, 88, "other") + "!"]
    report = run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    assert pairs(tmp_path / "out") == {frozenset(("d0", "d1")): SIMILAR}
    assert report["pairs"]["verified"] == 1


def test_survivors_keep_every_type_of_column(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            pa.field("uid", pa.string(), nullable=False),
            pa.field("text", pa.string()),
            pa.field("turns", pa.list_(pa.struct([("role", pa.string()), ("words", pa.int32())]))),
            pa.field("origin", pa.struct([("host", pa.string()), ("depth", pa.int8())])),
            pa.field("language", pa.dictionary(pa.int32(), pa.string())),
            pa.field("seen", pa.timestamp("us", tz="UTC")),
            pa.field("price", pa.decimal128(7, 2)),
            pa.field("raw", pa.binary()),
            pa.field("score", pa.float32()),
        ]
    )
    row = {
        "turns": [{"role": "user", "words": 3}, None],
        "origin": {"host": "example.org", "depth": None},
        "language": "en",
        "seen": datetime(2024, 2, 29, 12, tzinfo=UTC),
        "price": Decimal("10.50"),
        "raw": b"\x00\xff",
        "score": 0.5,
    }
    empty = dict.fromkeys(row)
    rows = [{"uid": "a", "text": LONGER, **row}, {"uid": "b", "text": BASE, **row}, {"uid": "c", "text": None, **empty}]
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, tmp_path / "in.parquet")
    run([tmp_path / "in.parquet"], tmp_path / "out", id_column="uid")
    found = pq.read_table(tmp_path / "out" / "survivors")
    assert found.schema.equals(pq.read_table(tmp_path / "in.parquet").schema)
    assert found.to_pylist() == [rows[0], rows[2]]


def test_survivors_stand_in_the_order_of_the_input(tmp_path: Path) -> None:
    texts = [span(100 * number, 100 * number + 40) for number in range(50)]
    path = write(tmp_path / "in.parquet", texts + texts[:10], rows_per_group=7)
    run([path], tmp_path / "out", id_column="uid", jobs=2)
    found = [row["text"] for row in survivors(tmp_path / "out")]
    assert len(found) == 50
    left = iter(texts + texts[:10])
    assert all(text in left for text in found)


def test_files_of_one_name_in_two_folders_both_have_their_survivors(tmp_path: Path) -> None:
    files = [write(tmp_path / "a" / "x.parquet", [BASE, LONGER]), write(tmp_path / "b" / "x.parquet", [OTHER], 10)]
    run(files, tmp_path / "out", id_column="uid")
    assert {row["uid"] for row in survivors(tmp_path / "out")} == {"d1", "d10"}


def test_where_nothing_survives_the_survivors_are_a_table_without_rows(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.parquet", [LONGER]), write(tmp_path / "new.parquet", [BASE], votes=[1])
    run([new], tmp_path / "out", against=[old])
    table = pq.read_table(tmp_path / "out" / "survivors")
    assert (table.num_rows, table.column_names) == (0, ["uid", "text", "votes"])


def test_decisions_only_writes_the_same_decisions_and_no_survivors(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [BASE, LONGER, OTHER, BASE])
    whole = run([path], tmp_path / "whole", id_column="uid")
    only = run([path], tmp_path / "only", id_column="uid", decisions_only=True)
    assert sorted(path.name for path in (tmp_path / "only").iterdir()) == [
        "pairs.parquet", "removed.parquet", "report.json"
    ]  # fmt: skip
    assert removed(tmp_path / "only") == removed(tmp_path / "whole")
    assert (only["kept"], only["removed"]) == (whole["kept"], whole["removed"])


def test_report_has_counts_times_and_the_recipe_it_amounts_to(tmp_path: Path) -> None:
    texts = [BASE, LONGER, OTHER, BASE, None, "caf\u00e9"]
    out = tmp_path / "out"
    report = run([write(tmp_path / "in.parquet", texts)], out, id_column="uid")
    assert report == {"out": str(out), **json.loads((out / "report.json").read_text())}
    assert report["documents"] == 6
    assert report["bytes"] == sum(len(text.encode()) for text in texts if text is not None)
    assert report["kept"] == 4
    assert report["removed"] == {"exact_dup": 1, "near_dup": 1}
    assert set(report["pairs"]) >= {"proposed", "verified", "skipped"}
    assert report["pairs"]["proposed"] >= report["pairs"]["verified"] == 1
    assert report["pairs"]["skipped"] == 0
    assert report["seconds"]["total"] >= max(report["seconds"].values()) > 0
    assert len(report["seconds"]) > 1
    assert report["megabytes_per_second"] >= 0
    assert report["peak_memory_bytes"] > 1_000_000
    check_recipe(report["recipe"], tmp_path / "recipe.yaml")


@pytest.mark.parametrize("jobs", [1, 2])
def test_out_may_exist_if_it_is_empty(tmp_path: Path, jobs: int) -> None:
    (tmp_path / "out").mkdir()
    assert run([write(tmp_path / "in.parquet", [BASE, BASE])], tmp_path / "out", jobs=jobs)["kept"] == 1
