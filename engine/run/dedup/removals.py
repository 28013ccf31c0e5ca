"""The tables of `dedup`: which document went for which, and the verified pairs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from engine.annotate.near_dup.verify import rounded_down
from engine.formats.parquet import write_parquet
from engine.run.dedup.decisions import KEPT, Decisions
from engine.run.dedup.search import Found
from engine.run.oneshot.inputs import Input
from engine.run.oneshot.names import Names

EXACT, NEAR = "exact_dup", "near_dup"


def write_removed(path: Path, inputs: Sequence[Input], decisions: Decisions, id_column: str | None) -> dict[str, int]:
    """Write removed.parquet (id, kept_id, reason, similarity), sorted by id; return the count of each reason."""
    removed = np.flatnonzero(decisions.kept_by != KEPT)
    kept = decisions.kept_by[removed]
    names = Names(inputs, id_column, np.concatenate([removed, kept]))
    similarity = rounded_down(decisions.shared[removed], decisions.union[removed])
    is_equal = pl.Series(decisions.is_equal[removed])
    frame = names.of(removed, "id").hstack(names.of(kept, "kept_id").select("kept_id"))
    frame = frame.with_columns(
        reason=pl.select(pl.when(is_equal).then(pl.lit(EXACT)).otherwise(pl.lit(NEAR))).to_series(),
        similarity=pl.Series(similarity, dtype=pl.Float64),
    ).sort("file", "row", "id")
    write_parquet(path, frame.select("id", "kept_id", "reason", "similarity"))
    counts = dict(frame["reason"].value_counts().iter_rows())
    return {reason: counts.get(reason, 0) for reason in (EXACT, NEAR)}


def write_pairs(path: Path, inputs: Sequence[Input], found: Found, threshold: float, id_column: str | None) -> int:
    """Write pairs.parquet (id, other_id, similarity), id before other_id, sorted; return how many there are."""
    verified = found.pairs
    similar = verified.at_least(threshold)
    # Old documents are not compared with each other.
    similar &= ~found.pinned[found.best[verified.pairs]].all(axis=1)
    pairs = found.best[verified.pairs[similar]]
    similarity = rounded_down(verified.intersections[similar], verified.unions[similar])
    names = Names(inputs, id_column, pairs.ravel())
    order = names.order()
    pairs = np.where((order[pairs[:, 0]] < order[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    by_name = np.lexsort((order[pairs[:, 1]], order[pairs[:, 0]]))
    pairs, similarity = pairs[by_name], similarity[by_name]
    one, other = names.of(pairs[:, 0], "id"), names.of(pairs[:, 1], "other_id")
    frame = one.select("id").hstack(other.select("other_id"))
    write_parquet(path, frame.with_columns(similarity=pl.Series(similarity, dtype=pl.Float64)))
    return len(pairs)
