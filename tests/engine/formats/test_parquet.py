"""Our Parquet files keep 128-bit ids, and the same frame gives the same bytes."""

from pathlib import Path

import duckdb
import polars as pl
import pytest

from engine.base.errors import InputError
from engine.formats.parquet import read_parquet, write_parquet, write_parquet_parts


def test_ids_are_uuids_for_duckdb_and_16_bytes_for_polars(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    ids = [bytes(range(16)), bytes(16)]
    write_parquet(path, pl.DataFrame({"doc_id": ids, "kept_id": [None, ids[0]], "n": [1, 2]}))
    assert read_parquet(path)["doc_id"].to_list() == ids
    rows = duckdb.sql(f"SELECT typeof(doc_id), kept_id::text FROM '{path}' ORDER BY n").fetchall()
    assert rows == [("UUID", None), ("UUID", "00010203-0405-0607-0809-0a0b0c0d0e0f")]


def test_the_same_frame_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_parquet(tmp_path / name, pl.DataFrame({"doc_id": [bytes(16)] * 100, "x": range(100)}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_truncated_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    write_parquet(path, pl.DataFrame({"x": range(1000)}))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"f\.parquet: cannot be read .* Fix:"):
        read_parquet(path)


def test_parts_stand_one_after_the_other_and_no_part_gives_a_file_with_its_columns(tmp_path: Path) -> None:
    path, schema = tmp_path / "f.parquet", {"doc_id": pl.Binary, "n": pl.Int64}
    parts = [pl.DataFrame({"doc_id": [bytes(16)], "n": [n]}, schema=schema) for n in range(3)]
    assert write_parquet_parts(path, iter(parts), schema) == 3
    assert read_parquet(path)["n"].to_list() == [0, 1, 2]
    assert write_parquet_parts(path, iter([]), schema) == 0
    assert read_parquet(path).schema == pl.Schema(schema)
