"""The kept set: greedy in rank order, named by the most similar kept neighbour, the same for every order."""

from fractions import Fraction
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.annotate.near_dup.bands import pairs_in_buckets
from engine.annotate.near_dup.keep import KEPT, keep
from engine.annotate.near_dup.minhash import signatures
from engine.annotate.near_dup.verify import at_least, jaccard
from engine.text.words import ShingleSets

from .corpora import table_of_signatures

Graph = dict[tuple[int, int], tuple[int, int]]


def kept_by(graph: Graph, rank: list[int], pinned: list[bool] | None = None) -> list[int]:
    pairs = np.array(list(graph), dtype=np.int64).reshape(-1, 2)
    similarities = np.array(list(graph.values()), dtype=np.int64).reshape(-1, 2)
    pins = None if pinned is None else np.array(pinned, dtype=np.bool_)
    found = keep(pairs, similarities[:, 0], similarities[:, 1], np.array(rank, dtype=np.int64), pins)
    return [int(keeper) for keeper in found]


def reference(graph: Graph, rank: list[int], pinned: list[bool]) -> list[int]:
    """Take documents one by one, by the definition."""
    similar = {frozenset(pair): Fraction(*similarity) for pair, similarity in graph.items()}
    order = sorted(range(len(rank)), key=lambda document: (not pinned[document], rank[document]))
    kept: list[int] = []
    for document in order:
        if pinned[document] or not any(frozenset((document, other)) in similar for other in kept):
            kept.append(document)
    answer = [KEPT] * len(rank)
    for document in set(order) - set(kept):
        neighbours = [other for other in kept if frozenset((document, other)) in similar]
        answer[document] = max(neighbours, key=lambda n: (similar[frozenset((document, n))], -order.index(n)))
    return answer


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, list[int], list[bool]]:
    num_documents = draw(st.integers(0, 10))
    possible = list(combinations(range(num_documents), 2))
    pairs = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    similarity = st.integers(1, 6).flatmap(lambda union: st.tuples(st.integers(0, union), st.just(union)))
    graph = {pair if draw(st.booleans()) else pair[::-1]: draw(similarity) for pair in pairs}
    rank = draw(st.permutations(range(num_documents)))
    return graph, rank, draw(st.lists(st.booleans(), min_size=num_documents, max_size=num_documents))


@given(graphs())
@settings(deadline=None)
def test_kept_set_and_keepers_equal_the_definition(case: tuple[Graph, list[int], list[bool]]) -> None:
    assert kept_by(*case) == reference(*case)


@given(graphs())
@settings(deadline=None)
def test_removed_documents_fall_to_kept_ones_and_no_two_kept_ones_are_similar(
    case: tuple[Graph, list[int], list[bool]],
) -> None:
    graph, rank, _ = case
    found = kept_by(graph, rank)
    for document, keeper in enumerate(found):
        if keeper != KEPT:
            assert found[keeper] == KEPT
            assert (document, keeper) in graph or (keeper, document) in graph
    assert all(found[one] != KEPT or found[other] != KEPT for one, other in graph)


@given(graphs(), st.integers(0, 1000))
@settings(deadline=None)
def test_order_of_pairs_and_numbering_of_documents_change_nothing(
    case: tuple[Graph, list[int], list[bool]], seed: int
) -> None:
    graph, rank, pinned = case
    new = np.random.default_rng(seed).permutation(len(rank)).tolist()
    old = [new.index(number) for number in range(len(new))]
    renumbered = {(new[one], new[other]): graph[one, other] for one, other in reversed(graph)}
    found = kept_by(renumbered, [rank[d] for d in old], [pinned[d] for d in old])
    back = [KEPT if found[new[d]] == KEPT else old[found[new[d]]] for d in range(len(new))]
    assert back == kept_by(graph, rank, pinned)


def test_higher_threshold_may_keep_fewer_documents() -> None:
    a, b, c, d, e = range(5)
    at_80 = {(a, b): (82, 100), (b, c): (9, 10), (b, d): (9, 10), (b, e): (9, 10)}
    at_85 = {pair: similarity for pair, similarity in at_80.items() if pair != (a, b)}
    # b falls because of a, and names c, to which it is most similar.
    assert kept_by(at_80, [0, 1, 2, 3, 4]) == [KEPT, c, KEPT, KEPT, KEPT]
    assert kept_by(at_85, [0, 1, 2, 3, 4]) == [KEPT, KEPT, b, b, b]


def test_chain_removes_only_what_is_similar_to_a_kept_one() -> None:
    assert kept_by({(0, 1): (4, 5), (1, 2): (4, 5)}, [0, 1, 2]) == [KEPT, 0, KEPT]


def test_pinned_documents_stay_even_beside_each_other() -> None:
    graph = {(0, 1): (4, 5), (1, 2): (4, 5), (0, 2): (5, 5)}
    assert kept_by(graph, [0, 1, 2], [False, True, True]) == [2, KEPT, KEPT]


def test_equal_similarity_falls_to_the_better_rank() -> None:
    assert kept_by({(0, 1): (4, 5), (0, 2): (8, 10)}, [2, 1, 0], [False, True, True]) == [2, KEPT, KEPT]


def test_without_pairs_everything_stays() -> None:
    assert kept_by({}, [1, 0]) == [KEPT, KEPT]
    assert kept_by({}, []) == []


def survivors(sets: list[NDArray[np.uint64]], rank: NDArray[np.int64]) -> set[int]:
    """Return the ranks that stay after signing, banding, verifying and keeping."""
    shingles = ShingleSets(np.cumsum([0, *map(len, sets)]), np.concatenate(sets))
    table = table_of_signatures(signatures(shingles), 32, 8)
    found = pairs_in_buckets(table, rank, max_bucket_documents=4, hot_bucket_leaders=2)
    intersections, unions = jaccard(shingles, found.pairs)
    similar = at_least(intersections, unions, 0.8)
    kept = keep(found.pairs[similar], intersections[similar], unions[similar], rank)
    return set(rank[kept == KEPT].tolist())


def test_shuffled_documents_keep_the_same_set_through_the_whole_way() -> None:
    generator = np.random.default_rng(5)
    sets = []
    for _ in range(40):
        base = generator.integers(0, 2**63, 100).astype(np.uint64)
        for _ in range(generator.integers(1, 9)):
            changed = base.copy()
            changed[: generator.integers(0, 25)] = generator.integers(0, 2**63, 1)[0]
            sets.append(np.unique(changed))
    rank = generator.permutation(len(sets))
    expected = survivors(sets, rank)
    assert 40 <= len(expected) < len(sets)
    for _ in range(3):
        order = generator.permutation(len(sets))
        assert survivors([sets[document] for document in order], rank[order]) == expected
