"""Benchmark files as their authors publish them: literal rows in, literal items out, one case a shape."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from engine.formats.items import ITEMS, benchmark_digest, filled
from engine.sources._benchmarks import read_benchmark

NOTHING = {
    "choices": [],
    "gold": None,
    "answer": None,
    "other_answers": [],
    "passage": None,
    "blank": None,
    "extra": [],
}
CAPITAL = {"question": "Capital of Peru?", "choices": ["Quito", "Lima", "La Paz"], "gold": 1, "answer": "Lima"}
LINE = json.dumps({"question": "Capital of Peru?", "answer": "Lima"}).encode()


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def items(path: Path, **fields: Any) -> list[dict[str, Any]]:
    return read_benchmark(path, fields or None).items.to_dicts()


SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "gsm8k": (
        {"question": "2 and 3 eggs?", "answer": "2+3=<<2+3=5>>5\n#### 5"},
        {"question": "2 and 3 eggs?", "answer": "2+3=<<2+3=5>>5\n#### 5", "other_answers": ["5"]},
        "fields: question=question, answer=answer",
    ),
    "humaneval": (
        {
            "task_id": "HumanEval/0",
            "prompt": "def f():\n",
            "canonical_solution": "    return 1\n",
            "test": "assert f()",
        },
        {"item": "HumanEval/0", "question": "def f():\n", "answer": "    return 1\n", "extra": ["assert f()"]},
        "humaneval: question=prompt, answer=canonical_solution, extra=test",
    ),
    "mbpp": (
        {"text": "Add two numbers.", "code": "def a(x, y): ...", "task_id": 11, "test_list": ["assert 1", "assert 2"]},
        {"item": "11", "question": "Add two numbers.", "answer": "def a(x, y): ...", "extra": ["assert 1", "assert 2"]},
        "mbpp: question=text, answer=code, extra=test_list",
    ),
    "mbpp_sanitized": (
        {"prompt": "Add two numbers.", "code": "def a(x, y): ...", "task_id": 11, "test_list": ["assert 1"]},
        {"item": "11", "question": "Add two numbers.", "answer": "def a(x, y): ...", "extra": ["assert 1"]},
        "mbpp sanitized: question=prompt, answer=code, extra=test_list",
    ),
    "truthfulqa_rows": (
        {"question": "Sky?", "best_answer": "Blue", "correct_answers": ["Blue", "Cyan"], "incorrect_answers": ["Red"]},
        {"question": "Sky?", "choices": ["Blue", "Red"], "gold": 0, "answer": "Blue", "other_answers": ["Cyan"]},
        "truthfulqa rows: question=question, answer=best_answer, others=correct_answers, wrong=incorrect_answers",
    ),
    "truthfulqa_choices": (
        {"question": "Sky?", "mc1_targets": {"choices": ["Red", "Blue"], "labels": [0, 1]}},
        {"question": "Sky?", "choices": ["Red", "Blue"], "gold": 1, "answer": "Blue"},
        "truthfulqa choices: question, mc1_targets",
    ),
    "arc_author": (
        {
            "id": "Mercury_1",
            "question": {
                "stem": "Capital of Peru?",
                "choices": [
                    {"text": "Quito", "label": "A"},
                    {"text": "Lima", "label": "B"},
                    {"text": "La Paz", "label": "C"},
                ],
            },
            "answerKey": "B",
        },
        CAPITAL | {"item": "Mercury_1"},
        "arc: question=question.stem, choices=question.choices, answer=answerKey",
    ),
    "arc_hub_with_labels_that_are_numbers": (
        {
            "id": "NYSEDREGENTS_2",
            "question": "Capital of Peru?",
            "choices": {"text": ["Quito", "Lima", "La Paz"], "label": ["1", "2", "3"]},
            "answerKey": "2",
        },
        CAPITAL | {"item": "NYSEDREGENTS_2"},
        "arc rows: question=question, choices=choices, answer=answerKey",
    ),
    "openbookqa": (
        {
            "question_stem": "Capital of Peru?",
            "choices": {"text": ["Quito", "Lima", "La Paz"], "label": ["A", "B", "C"]},
            "answerKey": "B",
        },
        CAPITAL,
        "openbookqa: question=question_stem, choices=choices, answer=answerKey",
    ),
    "piqa": (
        {"goal": "Open a jar", "sol1": "twist it", "sol2": "sing to it", "label": 1},
        {"question": "Open a jar", "choices": ["twist it", "sing to it"], "gold": 1, "answer": "sing to it"},
        "piqa: question=goal, choices=sol1+sol2, answer=label",
    ),
    "piqa_without_labels": (
        {"goal": "Open a jar", "sol1": "twist it", "sol2": "sing to it"},
        {"question": "Open a jar", "choices": ["twist it", "sing to it"]},
        "piqa: question=goal, choices=sol1+sol2, answer=label",
    ),
    "winogrande": (
        {
            "qID": "3Q-1",
            "sentence": "Ann thanked Eve as _ had helped.",
            "option1": "Ann",
            "option2": "Eve",
            "answer": "2",
        },
        {
            "item": "3Q-1",
            "question": "Ann thanked Eve as _ had helped.",
            "choices": ["Ann", "Eve"],
            "gold": 1,
            "answer": "Eve",
            "blank": 19,
        },
        "winogrande: question=sentence, choices=option1+option2, answer=answer",
    ),
    "winogrande_as_contexts": (
        {
            "context_options": ["Mark thanked Mary as Mark", "Mark thanked Mary as Mary"],
            "continuation": "had.",
            "gold": 1,
        },
        {
            "question": "Mark thanked Mary as _ had.",
            "choices": ["Mark", "Mary"],
            "gold": 1,
            "answer": "Mary",
            "blank": 21,
        },
        "llm-foundry contexts: context_options, continuation, gold",
    ),
    "boolq": (
        {"question": "is lima a city", "title": "Lima", "answer": True, "passage": "Lima is a city."},
        {
            "question": "is lima a city",
            "choices": ["no", "yes"],
            "gold": 1,
            "answer": "yes",
            "passage": "Lima is a city.",
        },
        "fields: question=question, answer=answer, passage=passage",
    ),
    "boolq_as_prompt": (
        {"query": "Passage: A.\nQuestion: B?\nQuestion: is it C?", "choices": ["no", "yes"], "gold": 0},
        {
            "question": "is it C?",
            "choices": ["no", "yes"],
            "gold": 0,
            "answer": "no",
            "passage": "A.\nQuestion: B?",
        },
        "llm-foundry choices: query, choices, gold",
    ),
    "piqa_as_prompt": (
        {"query": "Question: Open a jar\n", "choices": ["twist it", "sing to it"], "gold": 0},
        {"question": "Open a jar", "choices": ["twist it", "sing to it"], "gold": 0, "answer": "twist it"},
        "llm-foundry choices: query, choices, gold",
    ),
    "copa_as_prompt": (
        {"query": "He fell, because", "choices": ["the rug slipped.", "he sang."], "gold": 0},
        {
            "question": "He fell, because",
            "choices": ["the rug slipped.", "he sang."],
            "gold": 0,
            "answer": "the rug slipped.",
        },
        "llm-foundry choices: query, choices, gold",
    ),
    "copa": (
        {"premise": "He fell.", "choice1": "The rug slipped.", "choice2": "He sang.", "question": "cause", "label": 0},
        {
            "question": "He fell.",
            "choices": ["The rug slipped.", "He sang."],
            "gold": 0,
            "answer": "The rug slipped.",
            "extra": ["cause"],
        },
        "copa: question=premise, choices=choice1+choice2, answer=label, extra=question",
    ),
    "lambada_as_continuation": (
        {"context": "She looked for the", "continuation": "signs"},
        {"question": "She looked for the", "answer": "signs"},
        "llm-foundry continuation: context, continuation",
    ),
    "squad_as_continuation": (
        {"context": "Context: Lima is in Peru.\nQuestion: Where is Lima?\nAnswer:", "continuation": "Peru"},
        {"question": "Where is Lima?", "answer": "Peru", "passage": "Lima is in Peru."},
        "llm-foundry continuation: context, continuation",
    ),
    "mmlu": (
        {"question": "Capital of Peru?", "choices": ["Quito", "Lima", "La Paz"], "answer": 1, "subject": "geography"},
        CAPITAL,
        "fields: question=question, choices=choices, answer=answer",
    ),
    "mt_bench": (
        {"question_id": 81, "turns": ["Write a poem.", "Shorter."], "reference": ["Roses", "Rose"]},
        {"item": "81", "question": "Write a poem.", "answer": "Roses", "extra": ["Shorter.", "Rose"]},
        "mt_bench: turns",
    ),
    "hellaswag": (
        {"ind": 24, "ctx": "Capital of Peru?", "endings": ["Quito", "Lima", "La Paz"], "label": "1"},
        CAPITAL | {"item": "24"},
        "fields: question=ctx, choices=endings, answer=label",
    ),
    "siqa": (
        {
            "context": "Ann gave a talk.",
            "question": "Capital of Peru?",
            "answerA": "Quito",
            "answerB": "Lima",
            "answerC": "La Paz",
            "label": "B",
        },
        CAPITAL | {"passage": "Ann gave a talk."},
        "fields: question=question, choices=answerA+answerB+answerC, answer=label, passage=context",
    ),
    "squad": (
        {"id": "5a", "context": "Peru.", "question": "Where?", "answers": {"text": ["Peru", "Peru", "In Peru"]}},
        {"item": "5a", "question": "Where?", "answer": "Peru", "other_answers": ["In Peru"], "passage": "Peru."},
        "fields: question=question, answer=answers, passage=context",
    ),
    "options_by_letter": (
        {"Question": "Capital of Peru?", "Options": {"A": "Quito", "B": "Lima", "C": "La Paz"}, "Answer": "B"},
        CAPITAL,
        "fields: question=Question, choices=Options, answer=Answer",
    ),
    "answer_in_words": (
        {"question": "Capital of Peru?", "choices": ["Quito", "Lima", "La Paz"], "answer": "Lima"},
        CAPITAL,
        "fields: question=question, choices=choices, answer=answer",
    ),
    "several_right_choices": (
        {"question": "Capital of Peru?", "choices": ["Quito", "Lima", "La Paz"], "answer": ["B", "C"]},
        CAPITAL | {"other_answers": ["La Paz"]},
        "fields: question=question, choices=choices, answer=answer",
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_rows_of_every_shape_become_items(tmp_path: Path, case: str) -> None:
    row, expected, shape = SHAPES[case]
    benchmark = read_benchmark(lines(tmp_path / "test.jsonl", row))
    assert benchmark.items.to_dicts() == [{"item": "0"} | NOTHING | expected]
    assert (benchmark.name, benchmark.shape, benchmark.notes) == ("test", shape, ())
    assert dict(benchmark.items.schema) == ITEMS


def test_lambada_asks_for_the_last_word(tmp_path: Path) -> None:
    path = lines(tmp_path / "lambada_test.jsonl", {"text": "She looked for the signs"})
    assert items(path) == [{"item": "0"} | NOTHING | {"question": "She looked for the", "answer": "signs"}]


def test_truthfulqa_csv_separates_answers_by_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "TruthfulQA.csv"
    path.write_text(
        "Type,Question,Best Answer,Correct Answers,Incorrect Answers\n"
        'Adversarial,"Sky, by day?",Blue,Blue; Cyan; Light blue,Red; Green; \n'
    )
    assert items(path) == [
        {"item": "0"}
        | NOTHING
        | {
            "question": "Sky, by day?",
            "choices": ["Blue", "Red", "Green"],
            "gold": 0,
            "answer": "Blue",
            "other_answers": ["Cyan", "Light blue"],
        }
    ]


def test_mmlu_csv_of_the_authors_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / "geography_test.csv"
    path.write_text("Capital of Peru?,Quito,Lima,La Paz,,B\nSum of 1 and 1?,2,3,4,5,A\n")
    benchmark = read_benchmark(path)
    assert benchmark.shape == "mmlu: question=question, choices=A+B+C+D, answer=answer"
    sums = {"question": "Sum of 1 and 1?", "choices": ["2", "3", "4", "5"], "gold": 0, "answer": "2"}
    assert benchmark.items.to_dicts() == [{"item": "0"} | NOTHING | CAPITAL, {"item": "1"} | NOTHING | sums]


def test_mmlu_csv_with_a_header_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_text("question,A,B,C,D,answer\nSum of 1 and 1?,2,3,4,5,A\n")
    assert [row["answer"] for row in items(path)] == ["2"]


def test_worked_examples_of_mmlu_become_one_item_each(tmp_path: Path) -> None:
    text = (
        "The following are multiple choice questions about sums.\n\n"
        "Q: 1 + 1?\n(A) 2 (B) 3\nA: Let's think. (B) is too much. The answer is (A).\n\n"
        "2 + 2, or (A) doubled?\n(A) 3\n(B) 4 (A) 5\nA: Four. The answer is (B).\n\n"
    )
    path = tmp_path / "_cot_prompts.json"
    path.write_text(json.dumps({"sums": text}))
    assert items(path) == [
        {"item": "sums/0"}
        | NOTHING
        | {
            "question": "1 + 1?",
            "choices": ["2", "3"],
            "gold": 0,
            "answer": "2",
            "extra": ["Let's think. (B) is too much. The answer is (A)."],
        },
        {"item": "sums/1"}
        | NOTHING
        | {
            "question": "2 + 2, or (A) doubled?",
            "choices": ["3", "4 (A) 5"],
            "gold": 1,
            "answer": "4 (A) 5",
            "extra": ["Four. The answer is (B)."],
        },
    ]


def test_fields_the_caller_names_go_before_what_would_be_found(tmp_path: Path) -> None:
    row = {
        "question": "number 5",
        "frage": "Capital of Peru?",
        "x": "Quito",
        "y": "Lima",
        "z": "La Paz",
        "richtig": "y",
    }
    path = lines(tmp_path / "test.jsonl", row)
    benchmark = read_benchmark(path, {"question": "frage", "choices": ["x", "y", "z"], "answer": "richtig"})
    assert benchmark.items.to_dicts() == [{"item": "0"} | NOTHING | CAPITAL]
    assert benchmark.shape == "fields: question=frage, choices=x+y+z, answer=richtig"


def test_what_the_caller_does_not_name_is_found_by_its_name(tmp_path: Path) -> None:
    path = lines(tmp_path / "test.jsonl", {"frage": "Where?", "answer": "Peru", "context": "Lima is in Peru."})
    assert items(path, question="frage") == [
        {"item": "0"} | NOTHING | {"question": "Where?", "answer": "Peru", "passage": "Lima is in Peru."}
    ]


@pytest.mark.parametrize(
    ("answers", "golds"),
    [([0, 1, 2], [0, 1, 2]), ([1, 2, 3], [0, 1, 2]), (["1", "2", "3"], [0, 1, 2]), ([2, 1, 1], [2, 1, 1])],
)
def test_whether_answers_count_from_0_or_1_shows_in_the_whole_file(
    tmp_path: Path, answers: list[Any], golds: list[int]
) -> None:
    rows = [{"question": f"q{n}", "choices": ["a", "b", "c"], "answer": answer} for n, answer in enumerate(answers)]
    assert [row["gold"] for row in items(lines(tmp_path / "test.jsonl", *rows))] == golds


def test_answers_that_are_numbers_among_the_choices_are_texts(tmp_path: Path) -> None:
    rows = [{"question": f"{n} + 5?", "choices": ["5", "6", "7"], "answer": str(n + 5)} for n in range(3)]
    assert [row["answer"] for row in items(lines(tmp_path / "test.jsonl", *rows))] == ["5", "6", "7"]


def test_unknown_answers_are_null(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "choices": ["a", "b"], "answer": a} for n, a in enumerate([0, -1, None, 1])]
    benchmark = read_benchmark(lines(tmp_path / "test.jsonl", *rows))
    assert benchmark.items["answer"].to_list() == ["a", None, None, "b"]
    assert benchmark.notes == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"\xef\xbb\xbf" + LINE + b"\n\n" + LINE.replace(b"Peru", b"Chile")),
        ("a.jsonl.gz", gzip.compress(LINE + b"\n" + LINE.replace(b"Peru", b"Chile"))),
        ("a.jsonl.zst", zstandard.compress(LINE + b"\n" + LINE.replace(b"Peru", b"Chile"))),
        ("lines.json", LINE + b"\n" + LINE.replace(b"Peru", b"Chile")),
        ("list.json", b"[" + LINE + b",\n" + LINE.replace(b"Peru", b"Chile") + b"]"),
        ("under_a_key.json", b'{"version": 1, "data": [' + LINE + b"," + LINE.replace(b"Peru", b"Chile") + b"]}"),
        ("columns.json", b'{"question": ["Capital of Peru?", "Capital of Chile?"], "answer": ["Lima", "Lima"]}'),
        ("a.csv", b"question,answer\r\nCapital of Peru?,Lima\r\n\r\nCapital of Chile?,Lima\r\n"),
        ("a.tsv.gz", gzip.compress(b"question\tanswer\nCapital of Peru?\tLima\nCapital of Chile?\tLima\n")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_same_items_in_any_format_have_the_same_digest(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    expected = {"question": ["Capital of Peru?", "Capital of Chile?"], "answer": ["Lima", "Lima"]}
    pq.write_table(pa.table(expected), tmp_path / "a.parquet")
    benchmark = read_benchmark(tmp_path / name)
    assert benchmark.items.select("question", "answer").to_dict(as_series=False) == expected
    assert benchmark_digest(benchmark.items) == benchmark_digest(read_benchmark(tmp_path / "a.parquet").items)


def test_objects_under_their_ids_are_items_with_these_ids(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"peru": ' + LINE + b', "chile": ' + LINE.replace(b"Peru", b"Chile") + b"}")
    assert [row["item"] for row in items(tmp_path / "a.json")] == ["peru", "chile"]


def test_lists_in_cells_of_a_csv_are_choices(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'question,choices,answer\nFirst?,"[""x"", ""y""]",0\nSecond?,"[\'it\'\'s\', \'y\']",1\n'.replace("''", "")
    )
    assert [(row["choices"], row["answer"]) for row in items(tmp_path / "a.csv")] == [
        (["x", "y"], "x"),
        (["its", "y"], "y"),
    ]


def test_lists_of_parquet_are_choices(tmp_path: Path) -> None:
    columns = {"id": [5], "question": ["Capital of Peru?"], "choices": [["Quito", "Lima", "La Paz"]], "answer": [1]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert items(tmp_path / "a.parquet") == [{"item": "5"} | NOTHING | CAPITAL]


def test_texts_stay_as_they_stand(tmp_path: Path) -> None:
    question = " \u201cWhy\u201d\u00a0\u2014\r\n\tso?  "
    assert items(lines(tmp_path / "a.jsonl", {"question": question, "answer": " x \n"}))[0]["question"] == question
    assert items(tmp_path / "a.jsonl")[0]["answer"] == " x \n"


def test_winogrande_of_both_forms_is_the_same_item(tmp_path: Path) -> None:
    one = {"sentence": "Ann thanked Anna as _ had helped.", "option1": "Ann", "option2": "Anna", "answer": "2"}
    other = {
        "context_options": ["Ann thanked Anna as Ann", "Ann thanked Anna as Anna"],
        "continuation": "had helped.",
        "gold": 1,
    }
    found = [read_benchmark(lines(tmp_path / f"{n}.jsonl", row)).items for n, row in enumerate((one, other))]
    assert benchmark_digest(found[0]) == benchmark_digest(found[1])
    item = found[1].row(0, named=True)
    sentence = filled(item["question"], item["blank"], item["answer"])
    assert sentence == f"{other['context_options'][1]} {other['continuation']}"
