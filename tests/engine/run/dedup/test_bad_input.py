"""Whatever is wrong with the input: exit 1, one line that says what is there, and nothing left behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine.run.dedup
from engine.base.errors import InputError, ProvenderError
from engine.cli import main
from engine.run.dedup import dedup
from engine.run.dedup.search import find_duplicates

from .corpora import span, write
from .refusals import refused, table

BASE = span(0, 60)


def two(folder: Path, **second: Any) -> list[str]:
    """A whole file with uid, text and votes, and another with these columns."""
    first = write(folder / "one.parquet", [BASE, BASE], votes=[1, 2])
    return [str(first), table(folder / "two.parquet", **second)]


def good(folder: Path) -> str:
    return str(write(folder / "one.parquet", [BASE, BASE], votes=[1, 2]))


def no_text_column(folder: Path) -> list[str]:
    return [table(folder / "in.parquet", body=["a"], title=["b"])]


def no_text_column_in_lines(folder: Path) -> list[str]:
    (folder / "in.jsonl").write_text('{"body": "a"}\n')
    return [str(folder / "in.jsonl")]


def text_that_is_a_number(folder: Path) -> list[str]:
    return [table(folder / "in.parquet", text=[1, 2])]


def no_id_column(folder: Path) -> list[str]:
    return [good(folder), "--id-column", "url"]


def null_ids(folder: Path) -> list[str]:
    ids = [None if row in (17, 23, 28, 29) else f"d{row}" for row in range(40)]
    return [table(folder / "in.parquet", text=["a"] * 40, uid=ids), "--id-column", "uid"]


def repeated_ids(folder: Path) -> list[str]:
    return [
        table(folder / "in.parquet", text=list("abcde"), uid=["anna", "bert", "carl", "bert", "anna"]),
        "--id-column",
        "uid",
    ]


def ids_repeated_across_files(folder: Path) -> list[str]:
    return [*two(folder, uid=["d7", "d1"], text=["a", "b"], votes=[3, 4]), "--id-column", "uid"]


def text_of_another_type(folder: Path) -> list[str]:
    return two(folder, uid=["d7"], text=[5], votes=[3])


def id_missing_in_one(folder: Path) -> list[str]:
    return [*two(folder, text=["a"], votes=[3]), "--id-column", "uid"]


def other_extra_columns(folder: Path) -> list[str]:
    return two(folder, uid=["d7"], text=["a"], stars=[3])


def extra_column_of_another_type(folder: Path) -> list[str]:
    return two(folder, uid=["d7"], text=["a"], votes=["three"])


def missing_file(folder: Path) -> list[str]:
    return [good(folder), str(folder / "absent.parquet")]


def folder_without_parquet(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return [str(folder / "empty")]


def no_parquet(folder: Path) -> list[str]:
    (folder / "in.parquet").write_text("this is no Parquet")
    return [str(folder / "in.parquet")]


def file_of_no_bytes(folder: Path) -> list[str]:
    (folder / "in.parquet").touch()
    return [str(folder / "in.parquet")]


def half_a_file(folder: Path) -> list[str]:
    path = Path(good(folder))
    path.write_bytes(path.read_bytes()[:-200])
    return [str(path)]


def damaged_pages(folder: Path) -> list[str]:
    path = write(folder / "in.parquet", [span(0, 50, f"x{row}") for row in range(500)])
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    middle = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size // 2
    data[middle : middle + 100] = bytes(100)
    path.write_bytes(data)
    return [str(path)]


def broken_line(folder: Path) -> list[str]:
    (folder / "in.jsonl").write_text('{"text": "one"}\n{"text": "two\n')
    return [str(folder / "in.jsonl")]


def no_rows_at_all(folder: Path) -> list[str]:
    return [table(folder / "in.parquet", text=pa.array([], pa.string()))]


CASES: dict[Callable[[Path], list[str]], tuple[str, ...]] = {
    no_text_column: ("in.parquet", "'text'", "body", "title", "--text-column"),
    no_text_column_in_lines: ("in.jsonl", "'text'", "body", "--text-column"),
    text_that_is_a_number: ("in.parquet", "text", "int64"),
    no_id_column: ("one.parquet", "url", "uid", "votes"),
    null_ids: ("in.parquet", "uid", "17", "23", "28"),
    repeated_ids: ("uid", "anna", "bert"),
    ids_repeated_across_files: ("uid", "d1"),
    text_of_another_type: ("two.parquet", "text", "int64"),
    id_missing_in_one: ("two.parquet", "uid"),
    other_extra_columns: ("two.parquet", "stars"),
    extra_column_of_another_type: ("two.parquet", "votes"),
    missing_file: ("absent.parquet",),
    folder_without_parquet: ("empty",),
    no_parquet: ("in.parquet",),
    file_of_no_bytes: ("in.parquet",),
    half_a_file: ("one.parquet",),
    damaged_pages: ("in.parquet",),
    broken_line: ("in.jsonl", "line 2"),
    no_rows_at_all: ("in.parquet",),
}


@pytest.mark.parametrize("spoil", CASES, ids=lambda case: case.__name__)
def test_it_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], list[str]]
) -> None:
    refused(spoil(tmp_path), CASES[spoil], tmp_path, capsys)


@pytest.mark.parametrize("spoil", [repeated_ids, damaged_pages, no_text_column], ids=lambda case: case.__name__)
def test_out_that_was_empty_is_empty_after_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], list[str]]
) -> None:
    (tmp_path / "out").mkdir()
    assert main(["dedup", *spoil(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("step", ["write_removed", "write_survivors"])
@pytest.mark.parametrize("which", ["one.parquet", "two.jsonl", "old.parquet"])
def test_file_that_changes_after_it_was_read_is_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, which: str
) -> None:
    one, old = write(tmp_path / "one.parquet", [BASE, BASE]), write(tmp_path / "old.parquet", [span(1, 60)])
    (tmp_path / "two.jsonl").write_text(json.dumps({"uid": "d9", "text": "more"}) + "\n")
    before = sorted(tmp_path.iterdir())
    original = getattr(engine.run.dedup, step)

    def after_a_change(*arguments: Any) -> Any:
        # One row less, or as many bytes as before a moment later.
        if which == "one.parquet":
            write(tmp_path / which, [BASE])
        else:
            (tmp_path / which).write_bytes((tmp_path / which).read_bytes())
        return original(*arguments)

    monkeypatch.setattr(engine.run.dedup, step, after_a_change)
    with pytest.raises(InputError, match=f"{which}: it was changed while it was read"):
        dedup([one, tmp_path / "two.jsonl"], tmp_path / "out", against=[old])
    assert sorted(tmp_path.iterdir()) == before


def test_file_that_goes_between_the_readings_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "one.parquet", [BASE, span(1, 60)])

    def gone(*arguments: Any) -> Any:
        path.unlink()
        return find_duplicates(*arguments)

    monkeypatch.setattr(engine.run.dedup, "find_duplicates", gone)
    with pytest.raises(InputError, match="it was changed while it was read"):
        dedup([path], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_no_input_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProvenderError):
        dedup([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_three_of_the_repeated_ids_are_named(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({"text": f"t{row}", "uid": f"name-{row % 5}"}) + "\n" for row in range(10))
    )
    with pytest.raises(ProvenderError) as caught:
        dedup([tmp_path / "in.jsonl"], tmp_path / "out", id_column="uid")
    assert sum(f"name-{number}" in str(caught.value) for number in range(5)) == 3


def test_advice_of_an_error_is_one_that_this_command_can_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dedup", *broken_line(tmp_path), "--out", str(tmp_path / "out")]) == 1
    # That is a key of a recipe.
    assert "on_bad_row" not in capsys.readouterr().err
