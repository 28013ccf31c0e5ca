"""The definition of DESIGN.md section 4 in slow plain Python: words, shingles, Jaccard as fractions, the kept set."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations

SCRIPTS_WITHOUT_SPACES = (
    "CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA",
    "THAI", "LAO", "KHMER", "MYANMAR",
)  # fmt: skip


@cache
def is_a_word_alone(character: str) -> bool:
    return unicodedata.name(character, "").startswith(SCRIPTS_WITHOUT_SPACES)


def words(text: str) -> list[str]:
    """Maximal runs of letters, numbers and marks after case folding; of spaceless scripts every letter."""
    found: list[str] = []
    inside = "nothing"
    for character in text.casefold():
        major = unicodedata.category(character)[0]
        if major not in "LNM":
            inside = "nothing"
        elif major != "M" and is_a_word_alone(character):
            found.append(character)
            inside = "lone letter"
        elif inside == "run" or (major == "M" and inside == "lone letter"):
            found[-1] += character
        else:
            found.append(character)
            inside = "run"
    return found


@cache
def shingles(text: str, ngram_words: int = 5) -> frozenset[tuple[str, ...]]:
    listed = words(text)
    if not listed:
        return frozenset()
    starts = range(max(1, len(listed) - ngram_words + 1))
    return frozenset(tuple(listed[start : start + ngram_words]) for start in starts)


def similarity(one: str, other: str, ngram_words: int = 5) -> Fraction:
    """Jaccard of the shingle sets; 1 for equal texts, 0 where a text has no words."""
    if one == other:
        return Fraction(1)
    mine, others = shingles(one, ngram_words), shingles(other, ngram_words)
    return Fraction(len(mine & others), len(mine | others)) if mine and others else Fraction(0)


def stored(value: Fraction) -> float:
    """A similarity as files hold it: four digits, rounded down."""
    return int(value * 10_000) / 10_000


def similar_pairs(texts: Iterable[str], threshold: Fraction, ngram_words: int = 5) -> dict[frozenset[str], Fraction]:
    """All pairs of different texts at or above the threshold."""
    found = {}
    for one, other in combinations(sorted(set(texts)), 2):
        value = similarity(one, other, ngram_words)
        if value >= threshold:
            found[frozenset((one, other))] = value
    return found


def greedy(order: Sequence[str], similar: Iterable[frozenset[str]]) -> set[str]:
    """The greedy maximal independent set of the graph `similar`, in `order`."""
    neighbours: dict[str, set[str]] = {one: set() for one in order}
    for one, other in map(sorted, similar):
        neighbours[one].add(other)
        neighbours[other].add(one)
    kept: set[str] = set()
    for one in order:
        if neighbours[one].isdisjoint(kept):
            kept.add(one)
    return kept


def longest_first(texts: Iterable[str]) -> list[str]:
    """Different texts in the order in which they are kept where only their length decides."""
    return sorted(set(texts), key=lambda text: -len(text))


def assert_follows_definition(
    documents: Mapping[str, str],
    removals: Mapping[str, tuple[str, str, float]],
    found_pairs: Mapping[frozenset[str], float],
    threshold: Fraction,
    order: Sequence[str],
    ngram_words: int = 5,
) -> None:
    """Check a result whose order of different texts is `order`, given the pairs that it found.

    LSH may miss a pair, so the kept set is checked against the pairs that were found; those have to be true.
    """
    graph = set()
    for pair, value in found_pairs.items():
        one, other = (documents[name] for name in pair)
        exact = similarity(one, other, ngram_words)
        assert exact >= threshold
        assert value == stored(exact)
        if one != other:
            graph.add(frozenset((one, other)))
    stay = [documents[name] for name in documents if name not in removals]
    assert len(stay) == len(set(stay))
    assert set(stay) == greedy(order, graph)
    for name, (kept_id, reason, value) in removals.items():
        assert kept_id not in removals
        exact = similarity(documents[name], documents[kept_id], ngram_words)
        assert exact >= threshold
        assert value == stored(exact)
        # The first of its equals goes for a near-duplicate, or stays; all others are exact duplicates.
        equals = [other for other in documents if documents[other] == documents[name]]
        near = [other for other in equals if other in removals and removals[other][1] == "near_dup"]
        assert len(near) == (0 if documents[name] in stay else 1)
        assert reason in ("exact_dup", "near_dup")
