"""index: the tables of n-grams find each n-gram of the targets, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate.contamination.index import Index, find_ngrams, load_index, make_index, write_index
from engine.text.loose import split_loose
from engine.text.words import ngram_hashes
from tests.engine.annotate.contamination.makers import array, frame_of, index_of, item, scores, words


def found(index: Index, text: str) -> list[tuple[int, int]]:
    """(place, number of the n-gram) in a text."""
    hashes = split_loose(array(text)).hashes
    out = np.empty((1_000, 2), np.int64)
    tables = (index.starts, index.lengths, index.slots, index.hashes)
    count = find_ngrams(hashes, *tables, np.empty(len(hashes), np.uint64), out)
    return [(int(place), int(ngram)) for place, ngram in out[:count]]


def test_each_ngram_of_a_question_is_found_at_its_place() -> None:
    index = index_of(item(words(0, 13)))
    assert [place for place, _ in found(index, f"before {words(0, 13)} after")] == [1, 2, 3, 4, 5, 6]
    assert sorted(ngram for _, ngram in found(index, words(0, 13))) == [0, 1, 2, 3, 4, 5]


def test_ngrams_of_several_lengths_are_found_at_one_place_the_shortest_first() -> None:
    index = index_of(item(words(0, 8)), item(words(0, 12)), item(words(0, 60)))
    assert index.lengths.tolist() == [8, 12, 13]
    ngrams = [ngram for _, ngram in found(index, words(0, 13))]
    assert len(ngrams) == 3
    assert ngrams == sorted(ngrams)


def test_a_text_shorter_than_any_ngram_holds_none() -> None:
    index = index_of(item(words(0, 8)))
    for count in range(8):
        assert found(index, words(0, count)) == []
    assert len(found(index, words(0, 8))) == 1


def test_all_are_counted_where_there_is_no_room_to_write_them() -> None:
    index = index_of(item(words(0, 13)))
    hashes = split_loose(array(words(0, 13))).hashes
    out = np.full((2, 2), -7, np.int64)
    tables = (index.starts, index.lengths, index.slots, index.hashes)
    assert find_ngrams(hashes, *tables, np.empty(len(hashes), np.uint64), out) == 6
    assert out[:, 0].tolist() == [0, 1]


def test_two_items_share_an_ngram_and_both_are_its_holders() -> None:
    index = index_of(item(words(0, 13)), item(words(0, 14)))
    assert index.num_ngrams == 7
    assert np.bincount(np.diff(index.offsets)).tolist() == [0, 1, 6]


def test_ngrams_of_a_target_are_those_that_it_holds() -> None:
    index = index_of(item(words(0, 13)), item(words(5, 19)), item(words(30, 39)))
    for target in range(3):
        own = [g for g in range(index.num_ngrams) if target in index.holders[index.offsets[g] : index.offsets[g + 1]]]
        assert index.ngrams_of(target).tolist() == own


def test_an_index_without_any_target_finds_nothing() -> None:
    index = index_of(item("why"), item())
    assert (index.targets.height, index.num_ngrams) == (0, 0)
    assert scores(index, "why", words(0, 50), None) == []


def test_an_index_of_no_items_finds_nothing() -> None:
    assert scores(index_of(), "why") == []


def test_an_index_comes_back_from_its_folder(tmp_path: Path) -> None:
    items = frame_of(item(words(0, 20), ["yes"], ["yes", "no"]), item(passage=words(0, 6)))
    write_index(items, tmp_path)
    loaded, made = load_index(tmp_path), make_index(items)
    assert loaded.items.equals(made.items)
    assert loaded.targets.equals(made.targets)
    for name in ("lengths", "starts", "slots", "hashes", "offsets", "holders", "ends"):
        assert np.array_equal(getattr(loaded, name), getattr(made, name))


@pytest.mark.parametrize("min_words", [1, 2, 3])
def test_passages_shorter_than_a_start_are_refused_or_found(min_words: int) -> None:
    """The table of starts knows four words: a shorter passage must not slip through in silence."""
    try:
        index = index_of(item(passage=" ".join("abc"[:3])), min_words=min_words)
    except ValueError:
        return
    assert scores(index, "a b c") == [(0, 0, "passage", 1.0)]


def test_items_whose_order_differs_make_the_same_ngrams() -> None:
    one, other = item(words(0, 30)), item(words(9, 99), ["yes"])
    assert np.array_equal(index_of(one, other).hashes, index_of(other, one).hashes)


def test_num_bytes_covers_the_large_tables() -> None:
    index = index_of(item(words(0, 1000)))
    assert index.num_bytes >= index.hashes.nbytes + index.slots.nbytes + index.offsets.nbytes


SMALL = st.lists(st.sampled_from("abcd"), min_size=8, max_size=30).map(" ".join)


@settings(deadline=None)
@given(st.lists(SMALL, min_size=1, max_size=6), SMALL)
def test_found_is_what_plain_python_finds(questions: list[str], text: str) -> None:
    index = index_of(*(item(question) for question in questions))
    splits = split_loose(array(text))
    wanted = []
    length_of = np.zeros(index.num_ngrams, np.int64)
    for target in range(index.targets.height):
        length_of[index.ngrams_of(target)] = index.targets["ngram_words"][target]
    for length in index.lengths.tolist():
        _, hashes = ngram_hashes(splits, length)
        numbers = {int(index.hashes[g]): g for g in np.flatnonzero(length_of == length)}
        wanted += [(place, numbers[value]) for place, value in enumerate(hashes.tolist()) if value in numbers]
    assert found(index, text) == sorted(wanted)
