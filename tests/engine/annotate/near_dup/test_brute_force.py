"""The brute-force sample: the similar pairs it finds are those of comparing its documents with everything."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from engine.annotate.near_dup import brute_force
from engine.annotate.near_dup.brute_force import COMPARED_SHARE, BruteForce
from engine.annotate.near_dup.recall import Recall
from engine.text.batches import TextRun
from engine.text.words import split_words

from .corpora import edited_copies, run_of, runs_of, shingles_of

NGRAM_WORDS = 3
Pairs = set[tuple[int, int]]


def similar_pairs(texts: list[str], floor: str) -> Pairs:
    sets = [shingles_of(text.split(), NGRAM_WORDS) for text in texts]
    return {
        (one, other)
        for one, other in combinations(range(len(texts)), 2)
        if sets[one] | sets[other]
        and Fraction(len(sets[one] & sets[other]), len(sets[one] | sets[other])) >= Fraction(floor)
    }


def as_array(pairs: Pairs) -> NDArray[np.int64]:
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def digests_of(count: int, every: int = 1) -> NDArray[np.uint64]:
    """Digests by which every document is compared, or one in `every`."""
    second = np.arange(count) % every * (COMPARED_SHARE + 1)
    return np.stack([np.arange(count), second], axis=1).astype(np.uint64)


def compared(
    runs: list[TextRun],
    texts: list[str],
    floor: str,
    every: int = 1,
    batch: int = 7,
    jobs: int = 1,
    is_new: NDArray[np.bool_] | None = None,
) -> BruteForce:
    """The sample of `runs` after the pass over `texts`, in batches."""
    sample = BruteForce.of_runs(runs, NGRAM_WORDS, float(floor))
    digests = digests_of(len(texts), every)
    is_new = np.ones(len(texts), dtype=np.bool_) if is_new is None else is_new

    def compare(begin: int) -> None:
        words = split_words(pa.array(texts[begin : begin + batch]), chosen=is_new[begin : begin + batch])
        sample.compare(begin, words, digests[begin : begin + batch], is_new[begin : begin + batch])

    with ThreadPoolExecutor(jobs) as executor:
        list(executor.map(compare, range(0, len(texts), batch)))
    return sample


def distinct_texts() -> list[str]:
    return list(dict.fromkeys(edited_copies(seed=12, num_bases=12, num_copies=8)))


@pytest.mark.parametrize("floor", ["0.5", "0.8", "1.0"])
@pytest.mark.parametrize(("num_runs", "batch", "jobs"), [(1, 100, 1), (6, 7, 1), (40, 3, 3)])
@pytest.mark.parametrize("every", [1, 3])
def test_pairs_are_those_of_the_sample_with_every_compared_document(
    floor: str, num_runs: int, batch: int, jobs: int, every: int
) -> None:
    texts = distinct_texts()
    sample = compared(runs_of(texts, num_runs, array_length=2), texts, floor, every, batch, jobs)
    sampled, all_documents = set(sample.documents.tolist()), np.arange(len(texts))
    expected = {
        pair
        for pair in similar_pairs(texts, floor)
        if any(one in sampled and other % every == 0 for one, other in (pair, pair[::-1]))
    }
    assert sample.recall(all_documents, as_array(expected)) == Recall(len(expected), len(expected))
    others = {pair for pair in combinations(range(len(texts)), 2) if pair not in expected}
    assert sample.recall(all_documents, as_array(others)) == Recall(len(expected), 0)
    assert sample.recall(all_documents, as_array(set())) == Recall(len(expected), 0)
    some = set(sorted(expected)[::3])
    assert sample.recall(all_documents, as_array(some | others)) == Recall(len(expected), len(some))


def test_sample_is_the_beginning_of_runs_all_over_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brute_force, "SAMPLE_RUNS", 3)
    monkeypatch.setattr(brute_force, "SAMPLE_DOCUMENTS", 6)
    texts = [f"word{number}" for number in range(90)]
    sample = BruteForce.of_runs(runs_of(texts, 9, array_length=10), NGRAM_WORDS, 0.8)
    assert sample.documents.tolist() == [0, 1, 40, 41, 80, 81]


def test_documents_without_words_and_very_long_ones_are_not_in_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brute_force, "MOST_WORDS", 4)
    texts = ["a b c d", "", "...", None, "a b c d e", "a"]
    assert BruteForce.of_runs([run_of(10, [pa.array(texts)])], NGRAM_WORDS, 0.8).documents.tolist() == [10, 15]


def test_pairs_are_pairs_of_texts_whichever_of_their_documents_are_sampled() -> None:
    first, near, far = "a b c d e f g h i j", "a b c d e f g h i k", "l m n o p q r s t u"
    texts = [first, far, near, first, near]
    first_of = np.array([0, 1, 2, 0, 2])
    is_new = first_of == np.arange(5)
    # Sampled are the second documents with their texts.
    sample = compared([run_of(3, [pa.array(texts[3:])])], texts, "0.7", is_new=is_new)
    assert sample.documents.tolist() == [3, 4]
    assert sample.recall(first_of, as_array({(0, 2)})) == Recall(1, 1)
    assert sample.recall(first_of, as_array({(0, 1), (1, 2)})) == Recall(1, 0)


def test_document_similar_to_more_of_the_sample_than_there_is_room_for_keeps_all_pairs() -> None:
    texts = [f"{'a b c d e f g h i j ' * 2}{number}" for number in range(120)]
    sample = compared(runs_of(texts, 1, array_length=120), texts, "0.5", batch=2)
    pairs = set(combinations(range(120), 2))
    assert sample.recall(np.arange(120), as_array(pairs)) == Recall(len(pairs), len(pairs))


@pytest.mark.parametrize("texts", [[], [""], ["a"], ["a b c", "d e f"]])
def test_corpora_without_similar_documents_have_no_pairs(texts: list[str]) -> None:
    runs = runs_of(texts, 1) if texts else []
    assert compared(runs, texts, "0.8").recall(np.arange(len(texts)), as_array(set())) == Recall(0, 0)
