"""The order a seed gives documents, by a hash of their ids: the same however they are stored."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.hashing import digest_bytes
from engine.base.seeded import seeded_keys


def seeded_positions(doc_ids: pl.Series, seed: int, what: str) -> NDArray[np.int64]:
    """Return the positions of the documents in the order of their keys; equal keys in the order of doc_id.

    doc_ids: 16-byte hashes, each once. what: another name gives an independent order.
    """
    own = int.from_bytes(digest_bytes(f"{seed}:{what}".encode())[:8], "little")
    keys = seeded_keys(doc_ids, own)
    order = np.argsort(keys)
    keys = keys[order]
    is_tied = np.zeros(keys.size, dtype=np.bool_)
    same = np.flatnonzero(keys[1:] == keys[:-1])
    is_tied[same] = is_tied[same + 1] = True
    if same.size:
        rows = pl.DataFrame({"key": keys[is_tied], "doc_id": doc_ids.gather(order[is_tied]), "row": order[is_tied]})
        assert rows["doc_id"].is_unique().all(), "each document once"
        order[is_tied] = rows.sort("key", "doc_id")["row"].to_numpy()
    return order
