"""The documents a mixture can take: by source, in the seeded order, with how often each is used so far."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.mixture.seeded_order import seeded_positions
from engine.mixture.weights import spent


@dataclass(frozen=True)
class Stock:
    """Documents of one source with a supervised token, in the order in which they are taken."""

    rows: NDArray[np.uint32]
    """Their positions among the candidates."""
    tokens: NDArray[np.int32]
    """Supervised tokens of one use, above 0."""
    used: NDArray[np.uint16]
    """How often each is used so far; changed as phases take documents."""

    @property
    def total(self) -> int:
        """Supervised tokens of all of them, used once."""
        return int(self.tokens.sum(dtype=np.int64))

    def room(self, max_repeats: int) -> int:
        """Return the supervised tokens that may still be used."""
        return self.total * max_repeats - spent(self.tokens, self.used)

    def only(self, chosen: NDArray[np.bool_]) -> "Stock":
        """Return the chosen documents, as a copy."""
        return Stock(self.rows[chosen], self.tokens[chosen], self.used[chosen])


def stocks(candidates: pl.DataFrame, sources: Iterable[str], seed: int) -> dict[str, Stock]:
    """Return source -> its documents, for each of `sources`; empty where there is none.

    candidates: engine.mixture.build.CANDIDATES_SCHEMA, in any order, each document once.
    """
    names = list(sources)
    order = seeded_positions(candidates["doc_id"], seed, "mixture").astype(np.uint32)
    codes = source_codes(candidates, names)[order]
    tokens = candidates["supervised_tokens"].to_numpy()[order]
    found = {}
    for code, name in enumerate(names):
        mine = np.flatnonzero((codes == code) & (tokens > 0))
        found[name] = Stock(order[mine], tokens[mine], np.zeros(mine.size, dtype=np.uint16))
    return found


def source_codes(candidates: pl.DataFrame, names: list[str]) -> NDArray[np.int32]:
    """Return int32[num_candidates]: the place of each one's source in `names`, -1 for others."""
    codes = pl.Series(range(len(names)), dtype=pl.Int32)
    return candidates["source"].replace_strict(pl.Series(names), codes, default=-1, return_dtype=pl.Int32).to_numpy()
