"""Whatever is wrong with options, --out or --against: exit 1, one line that says so, and nothing left behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.base.errors import ProvenderError
from engine.cli import main
from engine.run.dedup import dedup

from .corpora import run, span, write
from .refusals import refused, table

BASE = span(0, 60)


def good(folder: Path) -> str:
    return str(write(folder / "one.parquet", [BASE, BASE], votes=[1, 2]))


def threshold_0(folder: Path) -> list[str]:
    return [good(folder), "--threshold", "0"]


def threshold_above_1(folder: Path) -> list[str]:
    return [good(folder), "--threshold", "1.1"]


def threshold_nan(folder: Path) -> list[str]:
    return [good(folder), "--threshold", "nan"]


def threshold_of_five_digits(folder: Path) -> list[str]:
    return [good(folder), "--threshold", "0.80001"]


def no_words_in_a_shingle(folder: Path) -> list[str]:
    return [good(folder), "--ngram-words", "0"]


def no_worker(folder: Path) -> list[str]:
    return [good(folder), "--jobs", "0"]


def memory_without_number(folder: Path) -> list[str]:
    return [good(folder), "--memory", "much"]


def unknown_keep(folder: Path) -> list[str]:
    return [good(folder), "--keep", "shortest"]


def best_without_column(folder: Path) -> list[str]:
    return [good(folder), "--keep", "best:"]


def best_of_unknown_column(folder: Path) -> list[str]:
    return [good(folder), "--keep", "best:vote"]


def best_of_a_list(folder: Path) -> list[str]:
    return [table(folder / "in.parquet", text=["a"], marks=[[1, 2]]), "--keep", "best:marks"]


def missing_old(folder: Path) -> list[str]:
    return [good(folder), "--against", str(folder / "absent.parquet")]


def broken_old(folder: Path) -> list[str]:
    (folder / "old.parquet").write_bytes(b"PAR1 and then nothing")
    return [good(folder), "--against", str(folder / "old.parquet")]


def old_folder_without_parquet(folder: Path) -> list[str]:
    (folder / "old").mkdir()
    return [good(folder), "--against", str(folder / "old")]


def old_without_text(folder: Path) -> list[str]:
    return [good(folder), "--against", table(folder / "old.parquet", body=["a"])]


def old_result_without_survivors(folder: Path) -> list[str]:
    earlier = write(folder / "earlier.parquet", [BASE])
    run([earlier], folder / "old", decisions_only=True)
    return [good(folder), "--against", str(folder / "old")]


CASES: dict[Callable[[Path], list[str]], tuple[str, ...]] = {
    threshold_0: ("--threshold: got 0.", "above 0, at most 1"),
    threshold_above_1: ("--threshold: got 1.1.", "above 0, at most 1"),
    threshold_nan: ("--threshold: got nan.", "above 0, at most 1"),
    threshold_of_five_digits: ("--threshold: got 0.80001.", "at most 4 digits"),
    no_words_in_a_shingle: ("--ngram-words: got 0.", "1 to 100 words"),
    no_worker: ("--jobs", "0", "at least 1"),
    memory_without_number: ("--memory", "much"),
    unknown_keep: ("keep", "shortest", "longest", "first", "best:"),
    best_without_column: ("keep", "best:"),
    best_of_unknown_column: ("vote", "votes", "uid"),
    best_of_a_list: ("marks", "list"),
    missing_old: ("absent.parquet",),
    broken_old: ("old.parquet",),
    old_folder_without_parquet: ("old",),
    old_without_text: ("old.parquet", "'text'", "body"),
    old_result_without_survivors: ("old", "survivors"),
}


@pytest.mark.parametrize("spoil", CASES, ids=lambda case: case.__name__)
def test_it_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], list[str]]
) -> None:
    refused(spoil(tmp_path), CASES[spoil], tmp_path, capsys)


@pytest.mark.parametrize("spoil", [threshold_0, unknown_keep, no_worker, best_of_unknown_column, broken_old])
def test_failed_run_makes_no_parents_of_out(tmp_path: Path, spoil: Callable[[Path], list[str]]) -> None:
    arguments = spoil(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["dedup", *arguments, "--out", str(tmp_path / "new" / "deep" / "out")]) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_parents_of_out_that_were_there_stay_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert main(["dedup", *broken_old(tmp_path), "--out", str(tmp_path / "there" / "new" / "out")]) == 1
    assert list((tmp_path / "there").iterdir()) == []


def test_parents_of_out_are_made(tmp_path: Path) -> None:
    dedup([good(tmp_path)], tmp_path / "new" / "deep" / "out")
    assert [path.name for path in (tmp_path / "new" / "deep").iterdir()] == ["out"]


def test_folder_that_holds_foreign_files_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ProvenderError, match="out"):
        dedup([good(tmp_path)], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_out_that_is_a_file_stays_that_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ProvenderError, match="out"):
        dedup([good(tmp_path)], tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
