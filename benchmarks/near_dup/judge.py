"""The truth: every pair of documents with Jaccard similarity >= 0.8, and what an exact greedy pass removes.

Nothing is estimated and nothing is shared with the engine but the definition of words and shingles. Candidates come
from prefix filtering (Xiao et al. 2008, "Efficient similarity joins for near duplicate detection"): order all shingles
by how many documents have them; two sets with J >= t share one of the rarest |A| - ceil(t * |A|) + 1 shingles of each,
so only those are indexed. The filters on size and position are exact too; what passes is intersected. `check_judge`
compares with all pairs of a small sample.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from engine.text.kernels import kernel
from engine.text.words import ShingleSets

Places = NDArray[np.int64]
Flags = NDArray[np.bool_]
THRESHOLD = Fraction(4, 5)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of documents under one definition of words.

    groups: int64[documents], the distinct text of each, -1 without words: those are not judged; pairs: int64[num_pairs,
    2] over distinct texts, each once; lengths: int64[distinct texts], characters.
    """

    groups: Places
    pairs: Places
    lengths: Places

    @property
    def num_removals(self) -> int:
        """Documents an exact greedy pass removes, the longest text first."""
        copies = int((self.groups >= 0).sum()) - len(self.lengths)
        return copies + self.removals_among(np.ones(len(self.lengths), np.bool_))

    def removals_among(self, present: Flags) -> int:
        """Distinct texts a greedy pass over those `present` removes; between equal lengths the first one stays."""
        order = np.lexsort((np.arange(len(self.lengths)), -self.lengths))
        position = np.empty(len(order), np.int64)
        position[order] = np.arange(len(order))
        pairs = self.pairs[present[self.pairs].all(axis=1)]
        by_position = np.sort(position[pairs], axis=1)
        removed = np.zeros(len(order), np.bool_)
        _greedy(by_position[np.argsort(by_position[:, 0], kind="stable")], removed)
        return int(removed.sum())


def truth_of(texts: list[str], sets: ShingleSets) -> Truth:
    """Return the truth, checked against all pairs of a part; `sets` are those of the texts, in their order."""
    number: dict[str, int] = {}
    has_words = np.diff(sets.offsets) > 0
    groups = np.full(len(texts), -1, np.int64)
    for document in np.flatnonzero(has_words):
        groups[document] = number.setdefault(texts[document], len(number))
    judged = np.flatnonzero(has_words)
    distinct = _chosen(sets, judged[np.unique(groups[judged], return_index=True)[1]])
    pairs = similar_pairs(distinct)
    check_judge(distinct, pairs)
    return Truth(groups, pairs, np.array([len(text) for text in number], dtype=np.int64))


def similar_pairs(sets: ShingleSets, threshold: Fraction = THRESHOLD) -> Places:
    """Return all pairs of sets with Jaccard >= threshold: int64[num_pairs, 2]; empty sets are like nothing."""
    sizes = np.diff(sets.offsets)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    _, places, counts = np.unique(sets.hashes, return_inverse=True, return_counts=True)
    # Rarest first. A shingle of one document proposes nothing: it is left out, its document's full size is kept.
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    shared = counts[places] > 1
    keys = np.sort(owners[shared] << 32 | rank[places[shared]])
    by_size = np.argsort(sizes, kind="stable")
    offsets = np.searchsorted(keys, np.arange(len(sizes) + 1) << 32)
    pairs = _join(offsets, keys & 0xFFFFFFFF, len(counts), sizes, by_size, threshold.numerator, threshold.denominator)
    return np.sort(pairs, axis=1)


def check_judge(sets: ShingleSets, pairs: Places, documents: int = 250) -> None:
    """Assert that the join finds what comparing all pairs finds, on the first documents and the first of `pairs`."""
    some = np.concatenate((pairs[: documents // 4].ravel(), np.arange(min(documents // 2, len(sets.offsets) - 1))))
    chosen = _chosen(sets, np.unique(some))
    plain = [set(chosen.hashes[a:b].tolist()) for a, b in pairwise(chosen.offsets)]
    overlaps = [
        (one, other, both, len(plain[one]) + len(plain[other]) - both)
        for one, other in combinations(range(len(plain)), 2)
        if (both := len(plain[one] & plain[other]))
    ]
    for threshold in (THRESHOLD, Fraction(1, 2), Fraction(1)):
        wanted = {(one, other) for one, other, both, all_ in overlaps if both >= threshold * all_}
        found = [(int(one), int(other)) for one, other in similar_pairs(chosen, threshold)]
        assert len(found) == len(set(found)), "the judge names a pair twice"
        assert set(found) == wanted, f"the judge is wrong at {threshold}: {len(found)} pairs, not {len(wanted)}"


def _chosen(sets: ShingleSets, documents: Places) -> ShingleSets:
    sizes = np.diff(sets.offsets)[documents]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    shift = np.repeat(sets.offsets[documents] - offsets[:-1], sizes)
    return ShingleSets(offsets, sets.hashes[np.arange(offsets[-1]) + shift])


@kernel
def _join(
    offsets: Places, tokens: Places, num_tokens: int, sizes: Places, by_size: Places, numerator: int, denominator: int
) -> Places:
    """Pair each document with the smaller ones before it: by way of the lists of who has a shingle in its prefix."""
    sums = numerator + denominator
    prefixes, fill = _prefixes(offsets, tokens, num_tokens, sizes, numerator, denominator)
    heads, posted, posted_at = fill[:-1].copy(), np.empty(fill[-1], np.int64), np.empty(fill[-1], np.int64)
    seen = np.full(len(sizes), -1, np.int64)
    found, pairs = 0, np.empty((1024, 2), np.int64)
    for one in by_size:
        for at in range(offsets[one], offsets[one] + prefixes[one]):
            token = tokens[at]
            while heads[token] < fill[token] and denominator * sizes[posted[heads[token]]] < numerator * sizes[one]:
                heads[token] += 1
            for entry in range(heads[token], fill[token]):
                other = posted[entry]
                if seen[other] == one:
                    continue
                seen[other] = one
                needed = (numerator * (sizes[one] + sizes[other]) + sums - 1) // sums
                # The first shingle met is the rarest that both have: no common one stands before it in either set.
                left = min(offsets[one + 1] - at, offsets[other + 1] - posted_at[entry])
                if left >= needed and _common(
                    tokens, at, offsets[one + 1], posted_at[entry], offsets[other + 1], needed
                ):
                    if found == len(pairs):
                        pairs = np.concatenate((pairs, np.empty_like(pairs)))
                    pairs[found] = one, other
                    found += 1
            posted[fill[token]], posted_at[fill[token]] = one, at
            fill[token] += 1
    return pairs[:found]


@kernel
def _prefixes(
    offsets: Places, tokens: Places, num_tokens: int, sizes: Places, numerator: int, denominator: int
) -> tuple[Places, Places]:
    """Return how many shared shingles of each document are in its prefix, and where the list of each shingle begins."""
    prefixes = np.zeros(len(sizes), np.int64)
    begins = np.zeros(num_tokens + 1, np.int64)
    for document in range(len(sizes)):
        size, shared = sizes[document], offsets[document + 1] - offsets[document]
        prefix = size - (numerator * size + denominator - 1) // denominator + 1
        # The unshared shingles are the rarest: they fill the prefix first.
        prefixes[document] = min(shared, max(0, prefix - (size - shared)))
        for token in tokens[offsets[document] : offsets[document] + prefixes[document]]:
            begins[token + 1] += 1
    return prefixes, np.cumsum(begins)


@kernel
def _common(tokens: Places, one: int, one_end: int, other: int, other_end: int, needed: int) -> bool:
    """Tell whether two ascending runs have at least `needed` values in common."""
    missing = needed
    while missing > 0 and min(one_end - one, other_end - other) >= missing:
        if tokens[one] == tokens[other]:
            missing -= 1
            one += 1
            other += 1
        elif tokens[one] < tokens[other]:
            one += 1
        else:
            other += 1
    return missing == 0


@kernel
def _greedy(pairs: Places, removed: Flags) -> None:
    """Mark the second of each pair whose first one stands; pairs come in the order of their first."""
    for pair in range(len(pairs)):
        if not removed[pairs[pair, 0]]:
            removed[pairs[pair, 1]] = True
