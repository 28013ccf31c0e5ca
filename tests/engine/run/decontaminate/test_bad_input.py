"""Whatever is wrong with inputs, benchmarks or options: exit 1, one line that says so, and nothing left behind."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine.run.decontaminate
from engine.base.errors import InputError
from engine.cli import main
from engine.run.decontaminate import decontaminate

from .corpora import CLIPS, FILLER, GSM, benchmark, write

PROGRESS = re.compile(r"\.\.\.$|, [\d.,]+ s( left)?$")


def texts(folder: Path) -> str:
    return str(write(folder / "in.parquet", [CLIPS, *FILLER]))


def table(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def good(folder: Path) -> list[str]:
    return ["--benchmarks", str(benchmark(folder / "gsm.jsonl"))]


def unknown_action(folder: Path) -> list[str]:
    return [texts(folder), *good(folder), "--action", "mask"]


def no_worker(folder: Path) -> list[str]:
    return [texts(folder), *good(folder), "--jobs", "0"]


def too_little_memory(folder: Path) -> list[str]:
    return [texts(folder), *good(folder), "--memory", "1MB"]


def no_text_column(folder: Path) -> list[str]:
    return [table(folder / "in.parquet", body=["a"], title=["b"]), *good(folder)]


def null_ids(folder: Path) -> list[str]:
    path = table(folder / "in.parquet", uid=["a", None, "c", None], text=[*FILLER, CLIPS])
    return [path, *good(folder), "--id-column", "uid"]


def repeated_ids(folder: Path) -> list[str]:
    path = table(folder / "in.parquet", uid=["anna", "bert", "anna", "carl"], text=[*FILLER, CLIPS])
    return [path, *good(folder), "--id-column", "uid"]


def no_such_column_of_ids(folder: Path) -> list[str]:
    return [texts(folder), *good(folder), "--id-column", "uidd"]


def text_that_is_no_utf8(folder: Path) -> list[str]:
    damaged = pa.array([b"one", b"two", b"\xff"]).view(pa.string())
    return [table(folder / "in.parquet", text=damaged), *good(folder)]


def tag_of_a_column_that_is_there(folder: Path) -> list[str]:
    path = table(folder / "in.parquet", text=[CLIPS], contamination__item=["mine"])
    return [path, *good(folder), "--action", "tag"]


def missing_input(folder: Path) -> list[str]:
    return [str(folder / "absent.parquet"), *good(folder)]


def missing_benchmark(folder: Path) -> list[str]:
    return [texts(folder), "--benchmarks", str(folder / "absent.jsonl")]


def empty_benchmark(folder: Path) -> list[str]:
    (folder / "empty.jsonl").touch()
    return [texts(folder), "--benchmarks", str(folder / "empty.jsonl")]


def benchmark_without_questions(folder: Path) -> list[str]:
    return [texts(folder), "--benchmarks", str(benchmark(folder / "b.jsonl", [{"a": 1, "b": 2}]))]


def folder_without_benchmarks(folder: Path) -> list[str]:
    (folder / "sets").mkdir()
    return [texts(folder), "--benchmarks", str(folder / "sets")]


def two_benchmarks_of_one_name(folder: Path) -> list[str]:
    one, two = benchmark(folder / "a.jsonl"), benchmark(folder / "b.jsonl", GSM[:1])
    return [texts(folder), "--benchmarks", f"gsm={one}", f"gsm={two}"]


CASES: dict[Callable[[Path], list[str]], tuple[str, ...]] = {
    unknown_action: ("--action", "'mask'", "drop, cut or tag"),
    no_worker: ("--jobs", "at least 1"),
    too_little_memory: ("--memory", "1MB", "at least"),
    no_text_column: ("in.parquet", "'text'", "body", "--text-column"),
    null_ids: ("in.parquet", "uid", "1, 3"),
    repeated_ids: ("uid", "anna"),
    no_such_column_of_ids: ("in.parquet", "'uidd'", "uid"),
    text_that_is_no_utf8: ("in.parquet#2", "UTF-8"),
    tag_of_a_column_that_is_there: ("in.parquet", "'contamination__item'", "--action"),
    missing_input: ("absent.parquet",),
    missing_benchmark: ("absent.jsonl",),
    empty_benchmark: ("empty.jsonl", "empty file"),
    benchmark_without_questions: ("b.jsonl", "question"),
    folder_without_benchmarks: ("sets", "no data file"),
    two_benchmarks_of_one_name: ("gsm", "a.jsonl", "b.jsonl"),
}


@pytest.mark.parametrize("spoil", CASES, ids=lambda case: case.__name__)
def test_it_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], list[str]]
) -> None:
    arguments = spoil(tmp_path)
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    code = main(["decontaminate", *arguments, "--out", str(tmp_path / "out"), "--json"])
    shown = capsys.readouterr()
    assert code == 1, shown.err
    assert shown.out == ""
    (error,) = (line for line in shown.err.strip().splitlines() if not PROGRESS.search(line))
    for part in CASES[spoil]:
        assert part.lower() in error.lower()
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("missing", ["--benchmarks", "--out"])
def test_missing_option_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    arguments = [texts(tmp_path), *(good(tmp_path) if missing == "--out" else ["--out", "x"])]
    with pytest.raises(SystemExit) as caught:
        main(["decontaminate", *arguments])
    assert caught.value.code == 1
    assert missing in capsys.readouterr().err


def test_no_benchmark_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(engine.run.decontaminate.RecipeError, match="--benchmarks"):
        decontaminate([texts(tmp_path)], [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_out_that_holds_anything_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    code = main(["decontaminate", texts(tmp_path), *good(tmp_path), "--out", str(tmp_path / "out")])
    assert code == 1
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("step", ["write_hits", "write_changed"])
def test_file_that_changes_after_it_was_read_is_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = Path(texts(tmp_path))
    gsm = benchmark(tmp_path / "gsm.jsonl")
    original = getattr(engine.run.decontaminate, step)

    def after_a_change(*arguments: Any) -> Any:
        write(path, [CLIPS])
        return original(*arguments)

    monkeypatch.setattr(engine.run.decontaminate, step, after_a_change)
    with pytest.raises(InputError, match="it was changed while it was read"):
        decontaminate([path], [gsm], tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == [gsm, path]


def test_advice_of_an_error_is_one_that_this_command_can_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": CLIPS}) + '\n{"text": "two\n')
    code = main(["decontaminate", str(tmp_path / "in.jsonl"), *good(tmp_path), "--out", str(tmp_path / "out")])
    assert code == 1
    # That is a key of a recipe.
    assert "on_bad_row" not in capsys.readouterr().err
