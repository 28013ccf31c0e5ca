"""Corpora of awkward shapes: chains, texts inside texts, templates, cliques, everything equal."""

import random
import time
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import pytest

from .corpora import kept_ids, pairs, removed, run, span, survivors, write
from .oracle import similarity

CHAIN = {"a": span(0, 200), "b": span(15, 215), "c": span(30, 230)}
"""a ~ b ~ c: 181 of 211 each; a and c: 166 of 226, which is 0.7345."""


@pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
def test_chain_is_cut_where_a_kept_document_ends_it(tmp_path: Path, order: tuple[str, str, str]) -> None:
    # The first of `order` is the longest.
    length = max(map(len, CHAIN.values()))
    texts = [CHAIN[name].ljust(length + 3 - order.index(name), "!") for name in "abc"]
    run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    gone = {"abc"[int(name[1:])]: "abc"[int(row.kept_id[1:])] for name, row in removed(tmp_path / "out").items()}
    if order[0] == "b":
        assert gone == {"a": "b", "c": "b"}
    else:
        assert set(gone) == {"b"}
        assert gone["b"] in "ac"
    assert pairs(tmp_path / "out") == {frozenset(("d0", "d1")): 0.8578, frozenset(("d1", "d2")): 0.8578}


def test_long_chain_keeps_documents_all_along_it(tmp_path: Path) -> None:
    texts = [span(15 * link, 15 * link + 200).ljust(2000 - link, ".") for link in range(40)]
    run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    # Each kept one takes its next neighbour along, and the one after that is too far from it.
    assert kept_ids(tmp_path / "out") == {f"d{link}" for link in range(0, 40, 2)}
    assert {row.similarity for row in removed(tmp_path / "out").values()} == {0.8578}


@pytest.mark.parametrize(("words", "kept"), [(199, {"d0"}), (180, {"d0"}), (150, {"d0", "d1"}), (100, {"d0", "d1"})])
def test_text_inside_another_falls_only_if_it_is_most_of_it(tmp_path: Path, words: int, kept: set[str]) -> None:
    texts = [span(0, 200), span(5, 5 + words) if words < 195 else span(1, 200)]
    run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    assert kept_ids(tmp_path / "out") == kept


def test_text_twice_in_a_row_is_a_near_duplicate_of_itself(tmp_path: Path) -> None:
    # 4 5-grams more, where the end meets the beginning: 96 of 100.
    run([write(tmp_path / "in.parquet", [span(0, 100), f"{span(0, 100)} {span(0, 100)}"])], tmp_path / "out")
    assert [row.similarity for row in removed(tmp_path / "out").values()] == [0.96]


def template_texts(num_documents: int) -> list[str]:
    """54 words that all share and 25 of their own: J = 50 / 100 and less."""
    shared = span(0, 54, "template")
    return [f"{shared} {span(0, 25, f'd{number}x')}" for number in range(num_documents)]


@pytest.mark.alone
def test_documents_of_one_template_all_stay_and_quickly(tmp_path: Path) -> None:
    texts = template_texts(3000)
    assert similarity(texts[0], texts[2999]) == Fraction(1, 2)
    started = time.perf_counter()
    report = run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    assert time.perf_counter() - started < 30
    assert report["kept"] == 3000
    assert report["pairs"]["verified"] == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_documents_of_one_template_all_stay(tmp_path: Path) -> None:
    texts = template_texts(100_000)
    draw = random.Random(1)
    copies = [texts[number] + " once more" for number in draw.sample(range(100_000), 500)]
    report = run([write(tmp_path / "in.parquet", [*texts, *copies])], tmp_path / "out", id_column="uid")
    # 75 of 77 5-grams are shared with the copy; what fell is right, and hot buckets cost few of the copies.
    gone = removed(tmp_path / "out")
    assert {row.similarity for row in gone.values()} == {0.974}
    assert 490 <= len(gone) <= 500
    assert report["pairs"]["verified"] == len(gone)


def test_one_of_equal_documents_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [span(0, 100)] * 3000, rows_per_group=500)
    report = run([path], tmp_path / "out", id_column="uid", jobs=2)
    assert report["removed"] == {"exact_dup": 2999, "near_dup": 0}
    (stays,) = kept_ids(tmp_path / "out")
    assert set(removed(tmp_path / "out").values()) == {(stays, "exact_dup", 1.0)}
    assert report["pairs"]["proposed"] == 0


def test_one_of_very_similar_documents_stays_without_comparing_all_pairs(tmp_path: Path) -> None:
    texts = [f"{span(0, 150)} {number}".ljust(2000, ".") for number in range(6000)]
    longest = random.Random(2).randrange(6000)
    texts[longest] += "."
    report = run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    assert kept_ids(tmp_path / "out") == {f"d{longest}"}
    # 146 of 148.
    assert set(removed(tmp_path / "out").values()) == {(f"d{longest}", "near_dup", 0.9864)}
    assert report["pairs"]["proposed"] < 6000 * 5999 // 2 // 4
    assert report["pairs"]["skipped"] > 0


def test_groups_inside_a_template_are_still_found(tmp_path: Path) -> None:
    """Licence headers: what is alike beside them decides."""
    header = span(0, 54, "licence")
    files = [f"{header} {span(0, 80 + number, f'f{number}x')}" for number in range(600)]
    copies = [f"{files[number]} changed" for number in range(0, 600, 6)]
    run([write(tmp_path / "in.parquet", files + copies)], tmp_path / "out", id_column="uid")
    assert set(removed(tmp_path / "out")) == {f"d{number}" for number in range(0, 600, 6)}
    assert len(survivors(tmp_path / "out")) == 600
