"""Items of benchmarks: what is written is what is read, and the same questions have the same digest anywhere."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.base.errors import InputError
from engine.formats.items import ITEMS, benchmark_digest, filled, item_digests, read_items, write_items

PLANETS = {
    "item": "7",
    "question": "Which planet has rings?",
    "choices": ["Mars", "Saturn"],
    "gold": 1,
    "answer": "Saturn",
    "other_answers": [],
    "passage": None,
    "blank": None,
    "extra": [],
}
SUM = PLANETS | {"item": "8", "question": "2 + 2?", "choices": [], "gold": None, "answer": "2 + 2 = 4", "extra": ["t"]}


def items(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ITEMS)


def test_items_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_items(tmp_path / "items.parquet", items(PLANETS, SUM))
    assert read_items(tmp_path / "items.parquet").to_dicts() == [PLANETS, SUM]


def test_the_same_items_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_items(tmp_path / name, items(PLANETS, SUM))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_benchmark_keeps_its_digest_in_another_order_and_under_other_ids() -> None:
    renamed = items(SUM | {"item": "0"}, PLANETS | {"item": "1"})
    assert benchmark_digest(renamed) == benchmark_digest(items(PLANETS, SUM))


def test_digests_are_those_of_version_1() -> None:
    # Coverage sheets of old mixtures name these digests: another algorithm would make them all unknown.
    assert item_digests(items(PLANETS, SUM)) == ["237615e0a7ac13e434049b1907bf7902", "cde5678ec6e91f28b6552ac4005435d3"]
    assert benchmark_digest(items(PLANETS, SUM)) == "963acf96236a1a5ac8db4144ade72223"


CHANGES = {
    "question": "Which planet has no rings?",
    "choices": ["Saturn", "Mars"],
    "gold": 0,
    "answer": "Mars",
    "other_answers": ["Uranus"],
    "passage": "Saturn has rings.",
    "blank": 6,
    "extra": ["t"],
}


@pytest.mark.parametrize("column", CHANGES)
def test_whatever_an_item_says_is_in_its_digest(column: str) -> None:
    assert item_digests(items(PLANETS | {column: CHANGES[column]})) != item_digests(items(PLANETS))


def test_text_that_moves_from_one_column_to_another_changes_the_digest() -> None:
    one, other = SUM | {"answer": "4", "passage": None}, SUM | {"answer": None, "passage": "4"}
    assert item_digests(items(one)) != item_digests(items(other))


def test_a_choice_takes_the_place_of_the_blank() -> None:
    question = "Ann thanked Eve because _ had helped."
    assert filled(question, question.index("_"), "Eve") == "Ann thanked Eve because Eve had helped."


def test_another_table_is_an_error_that_names_what_was_expected(tmp_path: Path) -> None:
    pl.DataFrame({"item": ["0"], "text": ["?"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(
        InputError, match=r"columns item, text.*Needed: the items of a benchmark: item, question, choices"
    ):
        read_items(tmp_path / "items.parquet")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_items(tmp_path / "items.parquet")
