"""Byte-pair merges continued where a vocabulary ended (Sennrich, Haddow and Birch 2016, arXiv:1508.07909, section 3.2).

Words are counted once, as ids of the old vocabulary. The most frequent pair of neighbours becomes a new id, over and
over; a pair's count is the number of tokens its merge saves at that point, exactly. Ties go to the smaller ids.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

Pair = tuple[int, int]


class Merge(NamedTuple):
    """Two neighbours that became one id."""

    left: int
    right: int
    saved: int
    """Tokens it saved in all words, given the merges before it."""


def continue_merges(
    words: Mapping[tuple[int, ...], int],
    first_id: int,
    number: int,
    accepts: Callable[[int, int, int], bool],
    min_saved: int = 2,
) -> list[Merge]:
    """Return up to `number` merges; merge i makes the id `first_id + i`.

    Args:
        words: Ids of a word -> how often it occurs. Pairs are merged within words only.
        first_id: The first new id.
        number: How many at most; fewer where no pair saves `min_saved` tokens any more.
        accepts: (left, right, new id) -> whether the pair may become that id; asked once for a pair that comes first.
        min_saved: What a merge has to save.
    """
    state = _Words(words)
    heap = [(-count, *pair) for pair, count in state.counts.items()]
    heapq.heapify(heap)
    merges: list[Merge] = []
    while heap and len(merges) < number:
        negative, left, right = heapq.heappop(heap)
        count = state.counts.get((left, right), 0)
        if count != -negative:  # it went down since it was pushed
            heapq.heappush(heap, (-count, left, right))
            continue
        if count < min_saved:
            break
        new = first_id + len(merges)
        if not accepts(left, right, new):
            continue
        for pair in state.merge((left, right), new):
            heapq.heappush(heap, (-state.counts[pair], *pair))
        merges.append(Merge(left, right, count))
    return merges


class _Words:
    """Words, how often each pair of neighbours occurs in all of them, and in which."""

    def __init__(self, words: Mapping[tuple[int, ...], int]) -> None:
        self.words = [list(word) for word in words]
        self.times = list(words.values())
        self.counts: Counter[Pair] = Counter()
        self.places: defaultdict[Pair, set[int]] = defaultdict(set)
        for place, (word, times) in enumerate(zip(self.words, self.times, strict=True)):
            for pair, count in pairs_of(word).items():
                self.counts[pair] += count * times
                self.places[pair].add(place)

    def merge(self, pair: Pair, new: int) -> list[Pair]:
        """Put `new` in place of the pair everywhere; return the pairs that are new."""
        made: set[Pair] = set()
        for place in self.places.pop(pair):
            times, before = self.times[place], pairs_of(self.words[place])
            if pair not in before:
                continue
            self.words[place] = merged(self.words[place], pair, new)
            after = pairs_of(self.words[place])
            for old, count in before.items():
                self.counts[old] -= count * times
            for one, count in after.items():
                self.counts[one] += count * times
                if new in one:
                    made.add(one)
                    self.places[one].add(place)
        del self.counts[pair]
        return sorted(made)


def pairs_of(word: Sequence[int]) -> dict[Pair, int]:
    """Return how often each pair of neighbours can be merged in a word: in a run of one id every other time."""
    counts: dict[Pair, int] = {}
    run = 0  # how many times the pair before this one was the same id twice
    for pair in pairwise(word):
        run = run + 1 if pair[0] == pair[1] else 0
        if run % 2 == 0 and run:
            continue
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def merged(word: Sequence[int], pair: Pair, new: int) -> list[int]:
    """Return the word with `new` in place of the pair, from left to right."""
    found: list[int] = []
    place, last = 0, len(word) - 1
    while place <= last:
        if place < last and word[place] == pair[0] and word[place + 1] == pair[1]:
            found.append(new)
            place += 2
        else:
            found.append(word[place])
            place += 1
    return found
