"""The real benchmark files of the shared data: how many items each has, and nothing lost silently."""

import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.base.stage import stage_names
from engine.sources._benchmarks import FoundBenchmarks, find_benchmarks

ITEMS_OF = {
    "test": 1319,
    "train": 7473,
    "HumanEval": 164,
    "copa": 100,
    "openbook_qa": 500,
    "piqa": 1838,
    "lambada_openai": 5151,
    "winogrande": 1267,
    "boolq": 3270,
    "arc_challenge": 1172,
    "arc_easy": 2376,
    "mbpp": 974,
    "_cot_prompts": 281,
    "question": 80,
    "TruthfulQA": 817,
}
WITH_CHOICES = {
    "copa",
    "openbook_qa",
    "piqa",
    "winogrande",
    "boolq",
    "arc_challenge",
    "arc_easy",
    "_cot_prompts",
    "TruthfulQA",
}


@pytest.fixture(scope="module")
def found(shared_data: Path) -> FoundBenchmarks:
    return find_benchmarks([str(shared_data / "benchmarks")])


@pytest.fixture(scope="module")
def items(found: FoundBenchmarks) -> dict[str, pl.DataFrame]:
    return {benchmark.name: benchmark.items for benchmark in found.benchmarks}


def test_every_file_has_its_items(items: dict[str, pl.DataFrame]) -> None:
    assert {name: frame.height for name, frame in items.items()} == ITEMS_OF
    assert sum(ITEMS_OF.values()) == 26782


def test_what_was_left_out_is_said(found: FoundBenchmarks) -> None:
    assert {benchmark.name: benchmark.notes for benchmark in found.benchmarks if benchmark.notes} == {
        "lambada_openai": ("left out, says the same as an earlier row: 2 rows (1889, 3624)",),
        "_cot_prompts": ("left out, says the same as an earlier row: 1 row (52)",),
    }
    assert sorted(path.name for path in found.passed_over) == ["generated_small.json", "synth_dataset_v2.json"]


def test_every_answer_is_known_where_the_authors_give_one(items: dict[str, pl.DataFrame]) -> None:
    unknown = {name: frame["answer"].null_count() for name, frame in items.items() if frame["answer"].null_count()}
    assert unknown == {"question": 42}
    for name, frame in items.items():
        assert frame["gold"].null_count() == (0 if name in WITH_CHOICES else frame.height), name
        right = frame.drop_nulls("gold").select(pl.col("choices").list.get(pl.col("gold")) == pl.col("answer"))
        assert right.to_series().all(), name


def test_labels_of_prompts_are_gone_and_passages_stand_apart(items: dict[str, pl.DataFrame]) -> None:
    for name, frame in items.items():
        assert not frame["question"].str.contains(r"^(Question|Passage|Q):").any(), name
        assert frame["passage"].null_count() == (0 if name == "boolq" else frame.height), name
    assert items["winogrande"]["blank"].null_count() == 0


def test_gsm8k_names_the_number_its_solution_ends_with(items: dict[str, pl.DataFrame]) -> None:
    for name in ("test", "train"):
        assert items[name]["other_answers"].list.len().unique().to_list() == [1]


@pytest.mark.alone
def test_all_files_are_read_in_three_seconds(shared_data: Path) -> None:
    seconds = []
    for _ in range(2):
        started = time.process_time()  # other work on the machine does not count
        find_benchmarks([str(shared_data / "benchmarks")])
        seconds.append(time.process_time() - started)
    assert min(seconds) < 3


LITERAL: dict[tuple[str, str], dict[str, Any]] = {
    ("arc_easy", "1"): {
        "question": "Which piece of safety equipment is used to keep mold spores from entering the respiratory system?",
        "choices": ["safety goggles", "breathing mask", "rubber gloves", "lead apron"],
        "gold": 1,
        "answer": "breathing mask",
    },
    ("winogrande", "0"): {
        "question": "Sarah was a much better surgeon than Maria so _ always got the easier cases.",
        "choices": ["Sarah", "Maria"],
        "gold": 1,
        "answer": "Maria",
        "blank": 46,
    },
    ("piqa", "1"): {
        "question": "dresser",
        "choices": ["replace drawer with bobby pin", "finish, woodgrain with  bobby pin"],
        "gold": 1,
        "answer": "finish, woodgrain with  bobby pin",
    },
    ("mbpp", "1"): {
        "question": "Write a function to find the minimum cost path to reach (m, n) from (0, 0) for the given cost "
        "matrix cost[][] and a position (m, n) in cost[][].",
    },
    ("_cot_prompts", "college_chemistry/3"): {
        "choices": ["4", "3", "6", "24", "8"],
        "gold": 4,
        "answer": "8",
    },
}


@pytest.mark.parametrize(("name", "item"), LITERAL)
def test_some_items_word_by_word(items: dict[str, pl.DataFrame], name: str, item: str) -> None:
    row = items[name].filter(pl.col("item") == item).row(0, named=True)
    assert {column: row[column] for column in LITERAL[name, item]} == LITERAL[name, item]


def test_benchmarks_are_not_offered_as_a_source_of_documents() -> None:
    assert not [name for name in stage_names("engine.sources") if "benchmark" in name]
