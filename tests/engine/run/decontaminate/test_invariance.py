"""The same hits, and the same sheet, for any number of jobs, any cut into row groups and files, any order of files."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .corpora import CAPITAL, CLIPS, FILLER, ORCHARD, QUIZ, SHORT, SOLUTION, benchmark, run, survivors

RESULTS = ("hits.parquet", "coverage.parquet", "unmatchable.parquet")


def corpus() -> list[dict[str, Any]]:
    """Four hundred documents with ids, of which some hold items whole, in part, or often."""
    draw = random.Random(5)
    texts: list[str | None] = [
        None,
        "",
        " \n",
        CLIPS,
        CLIPS,
        f"{ORCHARD} 364",
        f"{CLIPS}\n{SOLUTION} {ORCHARD.upper()}",
    ]
    texts += [f"{SHORT} It is garlic and bright daylight."] + [f"{CAPITAL} {number}" for number in range(9)]
    while len(texts) < 400:
        words = " ".join(draw.sample(" ".join([CLIPS, ORCHARD, *FILLER]).split(), draw.randrange(3, 60)))
        texts.append(words if draw.random() < 0.8 else f"{words} {draw.choice([CLIPS, ORCHARD, CAPITAL])}")
    return [{"uid": f"u{number}", "text": text} for number, text in enumerate(texts)]


def write(path: Path, rows: list[dict[str, Any]], rows_per_group: int) -> Path:
    schema = pa.schema([("uid", pa.string()), ("text", pa.string())])
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=rows_per_group)
    return path


@pytest.fixture
def benchmarks(tmp_path: Path) -> list[Path]:
    return [benchmark(tmp_path / "gsm.jsonl"), benchmark(tmp_path / "quiz.jsonl", QUIZ)]


def results(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in RESULTS]


@pytest.mark.parametrize("action", ["drop", "cut", "tag"])
def test_nothing_depends_on_jobs_cuts_and_order_of_files(tmp_path: Path, benchmarks: list[Path], action: str) -> None:
    rows = corpus()
    options: dict[str, Any] = {"id_column": "uid", "action": action}
    whole = write(tmp_path / "whole.parquet", rows, 1000)
    report = run([whole], benchmarks, tmp_path / "one", **options, jobs=1)
    assert report["flagged"] > 50
    expected = results(tmp_path / "one")
    for number, (num_files, rows_per_group, jobs) in enumerate([(1, 7, 4), (5, 20, 2), (40, 3, 3)]):
        order = list(rows)
        random.Random(number).shuffle(order)
        size = -(-len(order) // num_files)
        files = [
            write(tmp_path / f"{number}-{start}.parquet", order[start : start + size], rows_per_group)
            for start in range(0, len(order), size)
        ]
        run(files, benchmarks, tmp_path / f"many{number}", **options, jobs=jobs)
        assert results(tmp_path / f"many{number}") == expected
        kept = [sorted(map(str, survivors(tmp_path / name))) for name in (f"many{number}", "one")]
        assert kept[0] == kept[1]


def test_without_ids_the_order_in_which_files_are_given_changes_nothing(tmp_path: Path, benchmarks: list[Path]) -> None:
    rows = corpus()
    files = [write(tmp_path / f"{number}.parquet", rows[number::3], 50) for number in range(3)]
    run(files, benchmarks, tmp_path / "one", jobs=2)
    run(files[::-1], benchmarks[::-1], tmp_path / "two", jobs=2)
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_memory_changes_nothing(tmp_path: Path, benchmarks: list[Path]) -> None:
    path = write(tmp_path / "in.parquet", corpus(), 50)
    run([path], benchmarks, tmp_path / "one", memory="600MB")
    run([path], benchmarks, tmp_path / "two")
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_another_result_over_a_result_of_this_verb_is_its_own(tmp_path: Path, benchmarks: list[Path]) -> None:
    """What was found once is not found again: survivors are clean, also with the other documents gone."""
    path = write(tmp_path / "in.parquet", corpus(), 50)
    run([path], benchmarks, tmp_path / "one", action="drop")
    assert run([tmp_path / "one"], benchmarks, tmp_path / "two")["flagged"] == 0
