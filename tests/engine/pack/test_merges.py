"""BPE goes on where it ended: the same merges as a plain count over all words, each saving exactly what it says."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.pack.merges import Merge, continue_merges, merged

Words = dict[tuple[int, ...], int]
WORDS = st.dictionaries(
    st.lists(st.integers(0, 3), min_size=1, max_size=7).map(tuple), st.integers(1, 5), min_size=1, max_size=8
)


def saving(words: Words, pair: tuple[int, int]) -> int:
    """Tokens saved by merging the pair, found by merging it."""
    return sum(times * (len(word) - len(merged(word, pair, -1))) for word, times in words.items())


def naive(words: Words, first: int, number: int, forbidden: set[tuple[int, int]]) -> list[Merge]:
    found: list[Merge] = []
    while len(found) < number:
        pairs = {pair for word in words for pair in pairwise(word)} - forbidden
        best = min(((-saving(words, pair), *pair) for pair in pairs), default=(0, 0, 0))
        if -best[0] < 2:
            break
        new = first + len(found)
        found.append(Merge(best[1], best[2], -best[0]))
        counted: Counter[tuple[int, ...]] = Counter()
        for word, times in words.items():
            counted[tuple(merged(word, (best[1], best[2]), new))] += times
        words = dict(counted)
    return found


@settings(max_examples=60, deadline=None)
@given(words=WORDS, number=st.integers(1, 12), forbidden=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_merges_are_those_of_a_plain_count(words: Words, number: int, forbidden: set[tuple[int, int]]) -> None:
    made = continue_merges(words, 4, number, lambda left, right, _: (left, right) not in forbidden)
    assert made == naive(words, 4, number, forbidden)


def test_runs_of_one_id_count_every_other_time() -> None:
    assert continue_merges({(7, 7, 7, 7, 7): 3}, 9, 1, lambda *_: True) == [Merge(7, 7, 6)]


def test_pair_that_saves_one_token_becomes_no_piece() -> None:
    assert continue_merges({(1, 2): 1}, 9, 5, lambda *_: True) == []


def test_ties_go_to_the_smaller_ids() -> None:
    words = {(5, 6): 2, (3, 9): 2, (3, 4): 2}
    assert [merge[:2] for merge in continue_merges(words, 10, 3, lambda *_: True)] == [(3, 4), (3, 9), (5, 6)]
