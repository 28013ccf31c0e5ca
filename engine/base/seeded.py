"""Draws that only a document's id and a seed decide: the same for any order, shard or machine.

Here because sampling (engine.run) and control tokens (engine.select) draw the same way.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.hashing import digest_bytes


def seeded_keys(doc_ids: pl.Series, seed: int) -> NDArray[np.uint64]:
    """Return uint64[len(doc_ids)]: the first 8 bytes of each id, a hash already, mixed with the seed.

    The mixing is the finalizer of SplitMix64 (Steele, Lea and Flood 2014), a bijection of 64 bits.
    """
    first = doc_ids.bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64, endianness="little").to_numpy()
    mixed = first + np.uint64((seed * 0x9E3779B97F4A7C15) % (1 << 64))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def drawn(doc_ids: pl.Series, seed: int, share: float, what: str) -> pl.Series:
    """Return Boolean[len(doc_ids)]: whether a document is among the `share` that is drawn.

    what: another name makes an independent draw. doc_ids: 16-byte hashes.
    """
    own = int.from_bytes(digest_bytes(f"{seed}:{what}".encode())[:8], "little")
    # 53 bits, so that the bound is exact for every share and 1 takes all.
    return pl.Series("drawn", (seeded_keys(doc_ids, own) >> np.uint64(11)) < np.uint64(round(share * (1 << 53))))
