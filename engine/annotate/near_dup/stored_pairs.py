"""Verified pairs as an artifact: thresholds above their floor, scores and priorities decide over the same ones.

verified.parquet   document < other (places of documents in the order of shards and rows), intersection, union
details.json       counts, what was measured (recall), and the digest of the rank the pairs depend on, null if on none

Ranks matter in hot buckets alone, whose members are compared with their leaders: which buckets are hot is known only
when they are filled, so no key made before can hold it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.annotate.near_dup.pairs import VerifiedPairs
from engine.base.atomic import read_json, write_json
from engine.base.hashing import digest_bytes
from engine.formats.parquet import read_parquet, write_parquet

COLUMNS = ("document", "other", "intersection", "union")
DETAILS = "details.json"


def store_pairs(found: VerifiedPairs, rank: NDArray[np.int64], measured: dict[str, object], folder: Path) -> None:
    """Write pairs found under `rank`, int64[num_documents], and what was `measured` beside them to `folder`."""
    columns = (found.pairs[:, 0], found.pairs[:, 1], found.intersections, found.unions)
    write_parquet(folder / "verified.parquet", pl.DataFrame(dict(zip(COLUMNS, columns, strict=True))))
    details = {
        "candidate_pairs": found.num_candidates,
        "verified_pairs": len(found.pairs),
        "hot_buckets": found.num_hot_buckets,
        "skipped_comparisons": found.num_skipped_comparisons,
        "rank": _digest(rank) if found.num_hot_buckets else None,
        "measured": measured,
    }
    write_json(folder / DETAILS, details)


def load_pairs(folder: Path) -> tuple[VerifiedPairs, dict[str, Any]]:
    """Return stored pairs and what was measured with them, for details.json."""
    details = read_json(folder / DETAILS)
    frame = read_parquet(folder / "verified.parquet", list(COLUMNS))
    documents, others, intersections, unions = (frame[name].to_numpy() for name in COLUMNS)
    counts = (details["candidate_pairs"], details["hot_buckets"], details["skipped_comparisons"])
    found = VerifiedPairs(np.stack([documents, others], axis=1), intersections, unions, *counts, seconds={})
    return found, details["measured"]


def depends_on_rank(folder: Path) -> bool:
    """Return whether another rank might give other pairs than those stored."""
    return read_json(folder / DETAILS)["rank"] is not None


def is_rank_of(folder: Path, rank: NDArray[np.int64]) -> bool:
    """Return whether stored pairs were found under `rank`: int64[num_documents]."""
    return bool(read_json(folder / DETAILS)["rank"] == _digest(rank))


def _digest(rank: NDArray[np.int64]) -> str:
    return digest_bytes(np.ascontiguousarray(rank, dtype="<i8").tobytes()).hex()
