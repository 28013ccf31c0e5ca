"""Benchmark files that are not what they have to be: an error that names the place, or a note that counts the rows."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.base.errors import InputError
from engine.sources._benchmarks import Benchmark, find_benchmarks, read_benchmark


def read(folder: Path, *rows: Any, name: str = "test.jsonl") -> Benchmark:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_benchmark(folder / name)


def refused(path: Path, **fields: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_benchmark(path, fields or None)
    return str(caught.value)


BROKEN = {
    "a_broken_line": ("a.jsonl", b'{"question": "a"}\n{"question": \n', ", line 2: broken JSON"),
    "a_line_of_another_kind": ("a.jsonl", b'{"question": "a"}\n["b"]\n', ", line 2: list instead of an object"),
    "bytes": ("a.jsonl", b'{"question": "a"}\n\n{"question": "\xff"}\n', ", line 3: byte 15 of the line is not UTF-8"),
    "broken_json": ("a.json", b'[\n{"question": "a"},\n', ": broken JSON (EOF"),
    "row_of_json": ("a.json", b'[{"question": "a"}, "b"]', ", row 1: str instead of an object"),
    "two_lists": ("a.json", b'{"dev": [{"q": 1}], "test": [{"q": 1}]}', ": several lists of objects: dev, test"),
    "a_number": ("a.json", b"5", ": JSON without a list of objects"),
    "a_short_row": ("a.csv", b"question,answer\na,b\nc\n", ", line 3: 1 fields, the first line has 2"),
    "broken_quotes": ("a.csv", b'question,answer\n"a" b,c\n', ", line 2: broken quotes"),
    "bytes_in_csv": ("a.csv", b"question,answer\na,b\n\xff,c\n", ", line 3: byte 1 of the line is not UTF-8"),
    "a_name_twice": ("a.csv", b"question,question\na,b\n", ": the header has 'question' more than once"),
    "no_parquet": ("a.parquet", b"PAR1", ": cannot be read"),
    "damaged_gzip": ("a.jsonl.gz", b"\x1f\x8b\x08\x00", ": cannot be read"),
    "worked_examples_with_a_rest": (
        "a.json",
        json.dumps({"x": "Q: a?\n(A) b (B) c\nA: So. The answer is (A).\n\nQ: cut of"}).encode(),
        ", x: text that is no worked example: 'Q: cut of'",
    ),
    "empty": ("a.jsonl", b"", ": an empty file"),
    "blank_lines": ("a.jsonl", b"\n \n", ": an empty file"),
    "empty_json": ("a.json", b"[]", ": an empty file"),
    "only_a_header": ("a.csv", b"question,answer\n", ": an empty file"),
    "unknown_kind": ("a.xlsx", b"x", ": a file of an unknown kind ('.xlsx'). Needed: one of .jsonl, "),
    "questions_without_text": (
        "a.jsonl",
        b'{"question": " "}\n{"question": null}\n',
        ": no row has a text in 'question'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_bad_file_is_an_error_that_names_the_place(tmp_path: Path, case: str) -> None:
    name, content, finding = BROKEN[case]
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name).startswith(f"{tmp_path / name}{finding}")


def test_strings_of_parquet_that_are_not_utf8_are_an_error(tmp_path: Path) -> None:
    bad = pa.StringArray.from_buffers(1, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff"))
    pq.write_table(pa.table({"question": bad}), tmp_path / "a.parquet")
    assert "not UTF-8" in refused(tmp_path / "a.parquet")


def test_a_file_without_a_question_field_names_what_it_has_and_the_closest(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"questions_en": "a", "body": "b"}\n')
    message = refused(tmp_path / "a.jsonl")
    assert "no question field (have: questions_en, body)" in message
    assert "Needed: the field of the question, one of question, prompt, query, " in message
    assert message.endswith("Fix: name it: --fields NAME.question=questions_en, in a recipe benchmark_fields.")


def test_a_named_field_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"frage": "a", "body": "b"}\n')
    assert "no field 'fragen' (have: body, frage). Fix: did you mean 'frage'?" in refused(
        tmp_path / "a.jsonl", question="fragen"
    )


def test_a_named_part_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"frage": "a"}\n')
    assert "no part of an item 'querstion'" in refused(tmp_path / "a.jsonl", querstion="frage")


def test_only_choices_may_have_several_fields(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"frage": "a", "b": "c"}\n')
    assert "fields, question: 2 fields. Needed: the name of one field" in refused(
        tmp_path / "a.jsonl", question=["frage", "b"]
    )


def test_rows_without_a_question_are_left_out_and_counted(tmp_path: Path) -> None:
    silent = [{"question": value, "answer": "x"} for value in (None, "", " \n", {"stem": 1}, [])]
    found = read(tmp_path, {"question": "a"}, *silent, {"question": "b"})
    assert found.items["item"].to_list() == ["0", "6"]
    assert found.notes == ("left out, no question: 5 rows (1, 2, 3 ...)",)


def test_items_that_repeat_are_kept_once_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path, {"question": "a"}, {"question": "b"}, {"question": "a"}, {"question": "a", "answer": "c"})
    assert found.items["item"].to_list() == ["0", "1", "3"]
    assert found.notes == ("left out, says the same as an earlier row: 1 row (2)",)


def test_ids_that_repeat_give_way_to_rows(tmp_path: Path) -> None:
    found = read(tmp_path, *({"id": name, "question": f"q{n}"} for n, name in enumerate(("x", "y", "x"))))
    assert found.items["item"].to_list() == ["0", "1", "2"]
    assert found.notes == ("the ids in 'id' repeat (x): items are named by their row, from 0",)


def test_ids_that_are_missing_give_way_to_rows(tmp_path: Path) -> None:
    found = read(tmp_path, {"id": "x", "question": "a"}, {"id": None, "question": "b"}, {"question": "c"})
    assert found.items["item"].to_list() == ["0", "1", "2"]
    assert found.notes == ("the ids in 'id' are missing 2 times: items are named by their row, from 0",)


def test_a_repeated_row_does_not_make_its_id_ambiguous(tmp_path: Path) -> None:
    found = read(tmp_path, {"id": "x", "question": "a"}, {"id": "x", "question": "a"}, {"id": "y", "question": "b"})
    assert found.items["item"].to_list() == ["x", "y"]


def test_answers_that_name_no_choice_are_counted(tmp_path: Path) -> None:
    answers = [0, 1, 7, "neither of them"]
    rows = [{"question": f"q{n}", "choices": ["a", "b"], "answer": answer} for n, answer in enumerate(answers)]
    numbers, words = read(tmp_path, *rows[:3]), read(tmp_path, {**rows[0], "answer": "b"}, rows[3])
    assert numbers.items["gold"].to_list() == [0, 1, None]
    assert numbers.items["answer"].to_list() == ["a", "b", None]
    assert numbers.notes == ("the answer names none of the choices: 1 row (2)",)
    assert words.items["gold"].to_list() == [1, None]
    assert words.items["answer"].to_list() == ["b", "neither of them"]


@pytest.mark.parametrize(
    "row",
    [
        {"context_options": "x", "continuation": "y", "gold": 0},
        {"query": ["x"], "choices": None, "gold": "?"},
        {"context": None, "continuation": 5},
        {"turns": None},
        {"turns": "only one"},
        {"question": "q", "mc1_targets": []},
        {"question": "q", "mc1_targets": {"choices": "a", "labels": 1}},
        {"question": {"stem": None, "choices": 3}, "answerKey": {}},
    ],
)
def test_fields_of_another_kind_never_end_in_a_crash(tmp_path: Path, row: dict[str, Any]) -> None:
    good = {
        "context_options": ["a b", "a c"],
        "query": "q",
        "context": "c",
        "choices": ["x", "y"],
        "gold": 0,
        "continuation": "d",
        "turns": ["t"],
        "question": {"stem": "s", "choices": []},
        "mc1_targets": {"choices": ["x"], "labels": [1]},
        "answerKey": "A",
    }
    found = read(tmp_path, {name: good[name] for name in row}, row)
    assert found.items.height in (1, 2)


@pytest.mark.alone
@pytest.mark.parametrize("name", ["question", "query", "context"])
def test_an_item_of_5_mb_is_read_in_two_seconds(tmp_path: Path, name: str) -> None:
    text = "Passage: " + "a word \n" * 640_000 + "\nQuestion: so?"
    rest = {"choices": ["a", "b"], "gold": 0} if name == "query" else {"continuation": "b"}
    started = time.process_time()
    item = read(tmp_path, {name: text} | rest).items.row(0, named=True)
    assert time.process_time() - started < 2
    assert sum(len(item[part] or "") for part in ("question", "passage")) > 5_000_000


def test_items_of_one_word_are_items(tmp_path: Path) -> None:
    assert read(tmp_path, {"question": "Why?"}).items["question"].to_list() == ["Why?"]


def folder_of(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"question": f"from {name}?"}) + "\n")
    return folder


def names(*specs: object) -> list[str]:
    return [benchmark.name for benchmark in find_benchmarks([str(spec) for spec in specs]).benchmarks]


def test_a_benchmark_is_called_like_its_file(tmp_path: Path) -> None:
    folder_of(tmp_path, "HumanEval.jsonl", "open book.v2.json")
    assert names(tmp_path) == ["HumanEval", "open_book.v2"]


def test_files_of_one_name_get_their_folders_before_it(tmp_path: Path) -> None:
    folder_of(tmp_path, "gsm8k/test.jsonl", "x/arc/test.jsonl", "y/arc/test.jsonl", "mbpp.jsonl")
    assert names(tmp_path) == ["gsm8k_test", "mbpp", "x_arc_test", "y_arc_test"]


def test_two_formats_of_one_file_are_an_error_that_names_both(tmp_path: Path) -> None:
    folder_of(tmp_path, "arc.jsonl", "arc.json")
    with pytest.raises(
        InputError, match=r"^arc: two benchmarks with this name, .*arc\.json and .*arc\.jsonl\. .* Fix: .*NAME=PATH"
    ):
        names(tmp_path)


def test_a_name_may_be_given(tmp_path: Path) -> None:
    folder_of(tmp_path, "gsm8k/test.jsonl", "arc/test.jsonl", "arc/dev.jsonl")
    assert names(f"math={tmp_path}/gsm8k", f"ARC={tmp_path}/arc") == ["math", "ARC_dev", "ARC_test"]
    assert names(f"math={tmp_path}/gsm8k/test.jsonl") == ["math"]


def test_a_given_name_stays_where_a_file_is_called_the_same(tmp_path: Path) -> None:
    folder_of(tmp_path, "a/math.jsonl", "b/other.jsonl")
    assert names(tmp_path / "a", f"math={tmp_path}/b/other.jsonl") == ["a_math", "math"]


def test_a_file_that_two_paths_reach_is_one_benchmark(tmp_path: Path) -> None:
    folder_of(tmp_path, "a.jsonl", "b.jsonl")
    assert names(tmp_path, tmp_path / "a.jsonl") == ["a", "b"]
    assert names(tmp_path, f"A1={tmp_path}/a.jsonl") == ["b", "A1"]


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    folder_of(tmp_path, "split=test.jsonl")
    assert names(tmp_path / "split=test.jsonl") == ["split_test"]


@pytest.mark.parametrize(
    ("specs", "finding"),
    [
        (["x={}/a.jsonl", "X={}/b.jsonl"], "X: two benchmarks with this name"),
        (["{}/none.jsonl"], "none.jsonl: there is no such file or folder"),
        (["..=a.jsonl"], "'..' cannot be the name of a benchmark"),
        (["{}/empty"], "empty: no data file in this folder"),
        (["{}/texts"], "texts: no benchmark in this folder (a.jsonl: no question field (have: body)"),
    ],
)
def test_wrong_paths_and_names_are_errors(tmp_path: Path, specs: list[str], finding: str) -> None:
    folder_of(tmp_path, "a.jsonl", "b.jsonl", "empty/README.md")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text('{"body": "a"}\n')
    with pytest.raises(InputError) as caught:
        names(*(spec.format(tmp_path) for spec in specs))
    assert finding in str(caught.value)


def test_files_of_a_folder_that_hold_no_items_are_passed_over_with_a_reason(tmp_path: Path) -> None:
    folder_of(tmp_path, "a.jsonl", "LICENSE", "SHA256SUMS", "SOURCES.md", ".hidden/b.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "people.json").write_text('[{"full_text": "Ann", "spans": []}]')
    found = find_benchmarks([str(tmp_path)])
    assert [benchmark.name for benchmark in found.benchmarks] == ["a"]
    reasons = {path.name: reason.partition(".")[0] for path, reason in found.passed_over.items()}
    assert reasons == {"empty.jsonl": "an empty file", "people.json": "no question field (have: full_text, spans)"}


def test_a_damaged_file_of_a_folder_is_an_error(tmp_path: Path) -> None:
    folder_of(tmp_path, "a.jsonl")
    (tmp_path / "b.jsonl").write_text('{"question": "a"}\n{"quest')
    with pytest.raises(InputError, match=r"b\.jsonl, line 2: broken JSON"):
        find_benchmarks([str(tmp_path)])


def test_fields_may_be_named_for_a_path(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"frage": "a"}\n')
    found = find_benchmarks([f"x={tmp_path}/a.jsonl"], {"x": {"question": "frage"}})
    assert found.benchmarks[0].items["question"].to_list() == ["a"]
