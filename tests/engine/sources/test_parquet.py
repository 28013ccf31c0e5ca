"""Parquet in place: runs of row groups by size, columns and strings checked before anything is made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.base.errors import InputError
from engine.sources.parquet import Config, cleaned, invalid_rows, read_columns, read_run, require_utf8, runs


def config(**options: Any) -> Config:
    return Config(name="web", path="*.parquet", **options)


def file(folder: Path, columns: Any, row_group_size: int = 2, **options: Any) -> Path:
    path = folder / "web.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size, **options)
    return path


def damaged_strings(*values: bytes) -> pa.Array:
    """A string column of any bytes, as a careless writer leaves it."""
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def test_runs_of_row_groups_reach_the_size_and_cover_the_file(tmp_path: Path) -> None:
    path = file(
        tmp_path, {"text": ["x" * 1000 + str(n) for n in range(10)]}, use_dictionary=False, write_statistics=False
    )
    assert runs(path, config()) == [(0, 1, 2, 3, 4)]
    assert runs(path, config(), shard_bytes=3500) == [(0, 1), (2, 3), (4,)]
    assert runs(path, config(), shard_bytes=1) == [(0,), (1,), (2,), (3,), (4,)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_any_kind_of_string_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    path = file(tmp_path, {"text": pa.array(["a", "b", None]).cast(kind)})
    (run,) = runs(path, config())
    assert read_run(path, run, ["text"]).column(0).cast(pa.large_string()).to_pylist() == ["a", "b", None]


def test_a_missing_column_lists_the_columns_and_the_fix(tmp_path: Path) -> None:
    path = file(tmp_path, {"body": ["a"], "n": [1]})
    with pytest.raises(InputError, match=r"no column 'text'.*have: body, n.*columns: \{text: body\}"):
        runs(path, config())
    with pytest.raises(InputError, match="no column 'key'"):
        runs(path, config(columns={"text": "body", "id": "key"}))
    assert runs(path, config(columns={"text": "body"})) == [(0,)]


def test_a_text_column_of_numbers_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column 'text' holds int64.*strings"):
        runs(file(tmp_path, {"text": [1, 2]}), config())


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_an_input_error(tmp_path: Path, share: float) -> None:
    path = file(tmp_path, {"text": ["one"] * 1000})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"cannot be read.*copy or download it again"):
        runs(path, config())


def test_damaged_pages_are_an_input_error(tmp_path: Path) -> None:
    path = file(tmp_path, {"text": [f"text {n}" for n in range(1000)]}, row_group_size=1000, compression="zstd")
    data = bytearray(path.read_bytes())
    data[10:200] = bytes(190)
    path.write_bytes(data)
    (run,) = runs(path, config())
    with pytest.raises(InputError, match="cannot be read"):
        read_run(path, run)


def test_invalid_utf8_names_file_and_row_over_row_groups(tmp_path: Path) -> None:
    path = file(tmp_path, {"text": damaged_strings(b"one", b"two", b"three", b"\xff\xfe")}, row_group_size=2)
    with pytest.raises(InputError, match=f"{path}, row 3: a string that is not UTF-8"):
        require_utf8(path, config())
    assert require_utf8(path, config(on_bad_row="drop")) is False


def test_only_columns_that_are_read_are_checked(tmp_path: Path) -> None:
    path = file(tmp_path, {"text": ["a"], "url": damaged_strings(b"\xff"), "other": damaged_strings(b"\xff")})
    assert read_columns(path, config()) == ["text", "url"]
    with pytest.raises(InputError, match="row 0"):
        require_utf8(path, config())
    path = file(tmp_path, {"text": ["a"], "other": damaged_strings(b"\xff")})
    assert require_utf8(path, config()) is True


def test_invalid_strings_are_found_in_dictionaries_and_slices() -> None:
    values = damaged_strings(b"a", b"\xff", b"c")
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 2]), values)
    assert invalid_rows(pa.table({"text": coded})).tolist() == [False, True, True, False]
    assert invalid_rows(pa.table({"text": values}).slice(2)).tolist() == [False]


def test_a_cleaned_copy_holds_no_damaged_string_and_names_the_rows() -> None:
    table = pa.table({
        "text": damaged_strings(b"one", b"\xff", b"three"),
        "url": ["u1", "u2", "u3"],
        "other": damaged_strings(b"\xfe", b"fine", b"fine"),
    })  # fmt: skip
    assert cleaned(table, ["text", "url"]).to_pydict() == {
        "text": ["one", None, "three"],
        "url": ["u1", None, "u3"],
        "other": [None, "fine", "fine"],
        "read_problem": [None, "invalid_utf8", None],
    }
