"""Connected components of documents: which ones belong together over any chain of likenesses."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def components(num_nodes: int, edges: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return for each node the smallest node of its component: int64[num_nodes].

    edges: arrays int64[num_edges, 2]. In each round the larger of two neighbouring roots is hooked to the smaller one
    and paths are cut short. Of the roots that have neighbours at least half vanish, so rounds are logarithmic.
    """
    labels = np.arange(num_nodes, dtype=np.int64)
    ends = np.concatenate([np.empty((0, 2), dtype=np.int64), *edges])
    while len(ends):
        roots = labels[ends]
        ends, roots = ends[roots[:, 0] != roots[:, 1]], roots[roots[:, 0] != roots[:, 1]]
        np.minimum.at(labels, roots.max(axis=1), roots.min(axis=1))
        while not np.array_equal(labels, onward := labels[labels]):
            labels = onward
    return labels
