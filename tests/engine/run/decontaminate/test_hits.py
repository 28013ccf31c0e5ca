"""What is found, under which name, in which order; and the sheet that says what could have been found."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from .corpora import (
    CAPITAL,
    CLIPS,
    FILLER,
    GSM,
    ORCHARD,
    QUIZ,
    SHORT,
    benchmark,
    coverage,
    found,
    hits,
    run,
    write,
)  # fmt: skip


def test_each_kind_of_item_is_found_with_its_evidence(tmp_path: Path) -> None:
    texts = [
        FILLER[0],
        f"{FILLER[1]} {CLIPS}",
        f"Q: {ORCHARD}\nA: it is 364\n{FILLER[2]}",
        f"{CAPITAL} I should know.",
        f"{SHORT} Nothing but garlic and bright daylight.",
        SHORT,
    ]
    path = write(tmp_path / "in.parquet", texts)
    benchmarks = [benchmark(tmp_path / "gsm.jsonl"), benchmark(tmp_path / "quiz.jsonl", QUIZ)]
    run([path], benchmarks, tmp_path / "out", id_column="uid")
    assert found(tmp_path / "out") == [
        ("d1", "gsm", "0", "question"),
        ("d2", "gsm", "1", "question+answer"),
        ("d3", "quiz", "river", "question"),
        ("d4", "quiz", "fear", "question+answer"),
    ]
    rows = hits(tmp_path / "out")
    assert list(rows[0]) == ["id", "benchmark", "item", "kind", "score", "evidence"]
    assert rows[0]["evidence"] == CLIPS.removesuffix("?")
    assert rows[3]["evidence"] == "What do vampires fear ... garlic and bright daylight"
    assert {row["score"] for row in rows} == {1.0}


def test_hits_of_a_document_stand_best_first_and_documents_by_name(tmp_path: Path) -> None:
    almost = CLIPS.replace("and May?", "and June?")
    paths = [write(tmp_path / f"{name}.parquet", [f"{almost} {ORCHARD}"] * 11) for name in "ba"]
    run(paths, [benchmark(tmp_path / "gsm.jsonl")], tmp_path / "out")
    rows = hits(tmp_path / "out")
    names = [f"{tmp_path}/{name}.parquet#{row}" for name in "ab" for row in range(11)]
    assert [row["id"] for row in rows] == [name for name in names for _ in range(2)]
    assert [row["item"] for row in rows[:2]] == ["1", "0"]
    assert rows[0]["score"] == 1.0 > rows[1]["score"] >= 0.8


def test_benchmarks_may_be_named_given_as_a_folder_and_given_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [CLIPS, FILLER[0], FILLER[1]])
    benchmark(tmp_path / "sets" / "one" / "test.jsonl", GSM[:1])
    benchmark(tmp_path / "sets" / "two" / "test.jsonl", GSM[1:])
    quiz = benchmark(tmp_path / "q.jsonl", QUIZ)
    report = run([path], [tmp_path / "sets", f"quiz={quiz}"], tmp_path / "out", id_column="uid")
    assert list(coverage(tmp_path / "out")) == ["one_test", "quiz", "two_test"]
    assert found(tmp_path / "out") == [("d0", "one_test", "0", "question")]
    assert [one["benchmark"] for one in report["benchmarks"]] == ["one_test", "two_test", "quiz"]


def test_coverage_says_what_could_be_found_and_unmatchable_what_not(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [f"{CAPITAL} the Bode", *FILLER])
    run([path], [benchmark(tmp_path / "quiz.jsonl", QUIZ)], tmp_path / "out")
    row = coverage(tmp_path / "out")["quiz"]
    assert list(row)[:3] == ["benchmark", "items", "matchable_items"]
    assert (row["items"], row["matchable_items"], row["flagged_documents"]) == (3, 2, 1)
    assert row["planted_recall"] == 1.0
    left = pq.read_table(tmp_path / "out" / "unmatchable.parquet").to_pylist()
    assert [(one["benchmark"], one["item"]) for one in left] == [("quiz", "one")]
    assert "1 words" in left[0]["why"]


def test_report_says_what_was_passed_over_and_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", FILLER)
    benchmark(tmp_path / "sets" / "gsm.jsonl", [*GSM, GSM[0]])
    (tmp_path / "sets" / "other.csv").write_text("a,b\n1,2\n")
    report = run([path], [tmp_path / "sets"], tmp_path / "out")
    assert report["benchmarks"][0]["items"] == 2
    assert "1 row (2)" in report["benchmarks"][0]["notes"][0]
    assert list(report["passed_over"]) == [str(tmp_path / "sets" / "other.csv")]
    assert json.loads((tmp_path / "out" / "report.json").read_text()) | {"out": report["out"]} == report


def test_item_of_five_megabytes_is_searched_for(tmp_path: Path) -> None:
    passage = " ".join(f"w{number % 7919}x{number % 104729}" for number in range(500_000))
    assert len(passage) > 5_000_000
    path = write(tmp_path / "in.parquet", [passage, *FILLER])
    items = [{"passage": passage, "question": CLIPS, "answer": "72"}]
    report = run([path], [benchmark(tmp_path / "long.jsonl", items)], tmp_path / "out", id_column="uid")
    assert found(tmp_path / "out") == [("d0", "long", "0", "passage")]
    assert report["benchmarks"][0]["matchable_items"] == 1


@pytest.mark.parametrize(("times", "flagged"), [(10, 10), (11, 0)])
def test_run_of_words_in_more_than_ten_documents_is_no_hit_without_its_answer(
    tmp_path: Path, times: int, flagged: int
) -> None:
    path = write(tmp_path / "in.parquet", [f"{CAPITAL} {number}" for number in range(times)] + FILLER * 10)
    report = run([path], [benchmark(tmp_path / "quiz.jsonl", QUIZ)], tmp_path / "out")
    assert report["flagged"] == flagged
