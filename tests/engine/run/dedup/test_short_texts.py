"""Texts of few words or none: one shingle below five words; compared only exactly without words."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from .corpora import Removal, kept_ids, pairs, removed, run, write


def kept(folder: Path, texts: Sequence[str | None], **options: float) -> set[str]:
    run([write(folder / "in.parquet", texts)], folder / "out", id_column="uid", **options)
    return kept_ids(folder / "out")


@pytest.mark.parametrize("text", ["one", "one two three four", "one two three four five", "a b c d e f"])
def test_equal_short_texts_are_exact_duplicates(tmp_path: Path, text: str) -> None:
    assert len(kept(tmp_path, [text, "something else", text])) == 2
    assert {row[1:] for row in removed(tmp_path / "out").values()} == {("exact_dup", 1.0)}


@pytest.mark.parametrize("text", ["one", "one two three four", "one two three four five", "a b c d e f"])
def test_short_texts_of_the_same_words_are_near_duplicates_of_similarity_1(tmp_path: Path, text: str) -> None:
    assert kept(tmp_path, [text, text.upper().replace(" ", ", ") + "!!!"]) == {"d1"}
    assert removed(tmp_path / "out") == {"d0": ("d1", "near_dup", 1.0)}


@pytest.mark.parametrize(
    "texts",
    [
        ("one", "two"),
        ("one two three four", "one two three fore"),
        ("one two three four", "four three two one"),
        # Four words are one shingle of four, five are one of five: nothing in common.
        ("one two three four", "one two three four five"),
        ("one two three four five", "one two three four six"),
        ("one two three", "one two three three"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("threshold", [0.1, 0.8])
def test_different_texts_of_up_to_five_words_share_nothing(
    tmp_path: Path, texts: tuple[str, str], threshold: float
) -> None:
    assert kept(tmp_path, texts, threshold=threshold) == {"d0", "d1"}
    assert pairs(tmp_path / "out") == {}


def test_six_words_are_two_shingles(tmp_path: Path) -> None:
    # "a b c d e" and "b c d e f" against "a b c d e" alone: 1 of 2.
    assert kept(tmp_path, ["a b c d e f", "a b c d e"], threshold=0.5) == {"d0"}
    assert removed(tmp_path / "out") == {"d1": ("d0", "near_dup", 0.5)}


def test_only_punctuation_is_compared_only_exactly(tmp_path: Path) -> None:
    texts = ["...", "....", "?!", "...", "_", "-- -- --", "__"]
    stays = kept(tmp_path, texts)
    assert stays - {"d0", "d3"} == {"d1", "d2", "d4", "d5", "d6"}
    assert len(stays) == 6
    assert [(row.reason, row.similarity) for row in removed(tmp_path / "out").values()] == [("exact_dup", 1.0)]
    assert pairs(tmp_path / "out") == {}


def test_rows_without_text_all_stay_and_resemble_nothing(tmp_path: Path) -> None:
    # null, nothing, white space: in a recipe these fall for `no_text`, never as duplicates.
    assert kept(tmp_path, [None, "one two", None, "", "", " \n", " \n"]) == {f"d{row}" for row in range(7)}
    assert pairs(tmp_path / "out") == {}


@pytest.mark.parametrize("texts", [[None, None, None], ["", ""], ["!"]])
def test_corpus_without_any_word_is_fine(tmp_path: Path, texts: list[str | None]) -> None:
    assert len(kept(tmp_path, texts)) == len(texts)


@pytest.mark.parametrize("texts", [["one"], ["word " * 1000]])
def test_one_document_stays(tmp_path: Path, texts: list[str]) -> None:
    assert kept(tmp_path, texts) == {"d0"}


def test_white_space_and_underscores_separate_words_and_nothing_else_counts(tmp_path: Path) -> None:
    texts = ["snake case and\u00a0line\nbreak or\ttab here", "Snake_case and line break -- or [tab] here!!!!"]
    assert kept(tmp_path, texts) == {"d1"}
    assert removed(tmp_path / "out") == {"d0": Removal("d1", "near_dup", 1.0)}


def test_many_different_short_texts_all_stay(tmp_path: Path) -> None:
    texts = [f"{kind} number {number}" for kind in ("house", "street", "town", "river") for number in range(500)]
    assert len(kept(tmp_path, texts)) == 2000
    assert pairs(tmp_path / "out") == {}


def test_short_equal_texts_with_other_case_are_one_after_exact_duplicates_went(tmp_path: Path) -> None:
    assert kept(tmp_path, ["yes", "Yes.", "yes", "Yes.", "YES!!", "no"]) == {"d4", "d5"}
    found = removed(tmp_path / "out")
    assert {row.kept_id for row in found.values()} == {"d4"}
    assert {row.similarity for row in found.values()} == {1.0}
    assert sorted(row.reason for row in found.values()) == ["exact_dup", "exact_dup", "near_dup", "near_dup"]
