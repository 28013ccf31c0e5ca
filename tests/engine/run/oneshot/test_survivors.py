"""Survivors: every row is offered once under its number, in order; other columns may be added, other texts put in."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.run.oneshot import survivors
from engine.run.oneshot.inputs import Input, read_inputs
from engine.run.oneshot.survivors import only, write_survivors


@pytest.fixture
def files(tmp_path: Path) -> list[Input]:
    """Two files of three row groups each: documents 0 to 5 and 6 to 11."""
    for number, name in enumerate(["one", "two"]):
        rows = range(6 * number, 6 * number + 6)
        table = pa.table({"text": [f"text {row}" for row in rows], "row": list(rows)})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=2)
    return read_inputs([tmp_path / "one.parquet", tmp_path / "two.parquet"], (), {"text": "text"}, tmp_path)


def rows_of(folder: Path) -> dict[str, list[int]]:
    return {path.name: pq.read_table(path)["row"].to_pylist() for path in sorted(folder.iterdir())}


def test_only_those_that_stay_are_written_under_the_names_of_their_files(tmp_path: Path, files: list[Input]) -> None:
    stays = np.isin(np.arange(12), [0, 5, 6, 7])
    write_survivors(tmp_path / "out", files, only(stays), 2)
    assert rows_of(tmp_path / "out") == {"00000-000-one.parquet": [0, 5], "00001-000-two.parquet": [6, 7]}


def test_large_files_become_several_parts(tmp_path: Path, files: list[Input], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survivors, "PART_BYTES", 1)
    write_survivors(tmp_path / "out", files[1:], only(np.ones(12, dtype=np.bool_)), 3)
    assert list(rows_of(tmp_path / "out").values()) == [[6, 7], [8, 9], [10, 11]]


def test_change_gets_every_row_under_its_number_and_may_add_columns(tmp_path: Path, files: list[Input]) -> None:
    def numbered(first: int, rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows.append_column("number", pa.array(range(first, first + rows.num_rows), pa.int64()))

    write_survivors(tmp_path / "out", files, numbered, 2, [pa.field("number", pa.int64())])
    for path in (tmp_path / "out").iterdir():
        table = pq.read_table(path)
        assert table.schema.names == ["text", "row", "number"]
        assert table["number"].to_pylist() == table["row"].to_pylist()
