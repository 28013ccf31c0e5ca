"""Components: what belongs together over any chain."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.select.components import components


def test_a_chain_is_one_component_named_by_its_smallest_node() -> None:
    edges = np.array([[4, 2], [2, 5], [5, 1], [0, 3]])
    assert components(7, [edges]).tolist() == [0, 1, 1, 0, 1, 1, 6]


def test_a_long_chain_in_the_worst_order_is_still_one() -> None:
    nodes = np.random.default_rng(1).permutation(20_000)
    assert components(20_000, [np.stack([nodes[1:], nodes[:-1]], axis=1)]).max() == 0


def test_no_edges_leave_every_node_alone() -> None:
    assert components(3, []).tolist() == [0, 1, 2]
    assert components(0, [np.empty((0, 2), dtype=np.int64)]).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=25), st.integers(0, 25))
def test_agrees_with_merging_sets_for_any_order_and_grouping(edges: list[tuple[int, int]], cut: int) -> None:
    sets = [{node} for node in range(15)]
    for one, other in edges:
        merged = sets[one] | sets[other]
        for node in merged:
            sets[node] = merged
    arrays = [np.array(part, dtype=np.int64).reshape(-1, 2) for part in (edges[:cut], edges[cut:])]
    assert components(15, arrays).tolist() == [min(group) for group in sets]
