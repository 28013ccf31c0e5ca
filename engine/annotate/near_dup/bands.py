"""Candidate pairs: documents whose signatures agree in all rows of at least one band.

With bands of r rows, a pair of Jaccard similarity s is a candidate with probability 1 - (1 - s**r)**bands
(Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4). Candidates are only proposals: each is
verified exactly.

A band is one 64-bit hash per document; sorting it brings buckets together. A pair is named by the first band
it shares, so memory follows the number of pairs, not of pairs times bands. In a bucket above a bound not all
pairs are named: each member is compared with the members of best rank, which are the likely survivors. That
depends on contents and ranks alone, never on the order of documents.
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.annotate.near_dup.minhash import EMPTY
from engine.base.errors import RecipeError, problem
from engine.text.kernels import Hashes, Places, absorb, finish, kernel

NO_BUCKET = np.uint64(0)
_LEAST_BUCKET = np.uint64(1)
_SIMILARITY_STEPS = 50


@dataclass(frozen=True, eq=False)
class Candidates:
    """pairs: int64[num_pairs, 2], documents i < j, ascending, each pair once.

    num_hot_buckets: buckets above the bound; num_skipped_comparisons: pairs of their members the bound left
    out (another band may still have named them).
    """

    pairs: NDArray[np.int64]
    num_hot_buckets: int
    num_skipped_comparisons: int


def choose_bands(threshold: float, recall: float, num_permutations: int) -> tuple[int, int]:
    """Return the (bands, rows) of fewest candidates that find a pair at `threshold` with chance `recall`.

    Fewest: the least chance that a pair becomes a candidate, averaged evenly over the similarities below the
    threshold. Raises RecipeError where even bands of one row cannot reach the recall. Computed in decimals of
    28 digits, so that every machine chooses alike.
    """
    for name, value in (("threshold", threshold), ("recall", recall)):
        if not 0 < value <= 1:
            raise RecipeError(problem(f"near_dup: {name}", f"got {value}", "above 0, at most 1"))
    return _choose_bands(Decimal(str(threshold)), Decimal(str(recall)), num_permutations)


@cache
def _choose_bands(threshold: Decimal, recall: Decimal, num_permutations: int) -> tuple[int, int]:
    fewest = []
    best_miss = Decimal(1)
    for rows in range(1, num_permutations + 1):
        most_bands = num_permutations // rows
        with localcontext(prec=28):
            miss_of_band = 1 - threshold**rows
            best_miss = min(best_miss, miss_of_band**most_bands)
            if miss_of_band**most_bands > 1 - recall:
                continue
            bands = next(n for n in range(1, most_bands + 1) if miss_of_band**n <= 1 - recall)
            fewest.append((_chance_below(threshold, bands, rows), rows, bands))
    if not fewest:
        raise RecipeError(
            problem(
                "near_dup: recall",
                f"{recall} at threshold {threshold} is out of reach with {num_permutations} permutations",
                f"at most {1 - float(best_miss):.4f}",
                "lower the recall or raise num_permutations",
            )
        )
    _, rows, bands = min(fewest)
    return bands, rows


def _chance_below(threshold: Decimal, bands: int, rows: int) -> Decimal:
    """Return the chance to be a candidate, summed over evenly spaced similarities below the threshold."""
    steps = (threshold * step / _SIMILARITY_STEPS for step in range(_SIMILARITY_STEPS))
    return sum((1 - (1 - similarity**rows) ** bands for similarity in steps), Decimal(0))


def band_hashes(signatures: NDArray[np.uint32], bands: int, rows: int) -> NDArray[np.uint64]:
    """Return the bucket of each document in each band: uint64[num_documents, bands].

    NO_BUCKET (0) for documents without shingles. 8 bytes a band is all that finding candidates needs of a
    signature.
    """
    num_documents, num_permutations = signatures.shape
    if bands * rows > num_permutations:
        raise ValueError(f"bands: {bands} of {rows} rows. Needed: at most {num_permutations} rows in all.")
    hashes = np.empty((num_documents, bands), dtype=np.uint64)
    _hash_bands(signatures, rows, hashes)
    return hashes


def candidate_pairs(
    signatures: NDArray[np.uint32],
    bands: int,
    rows: int,
    rank: NDArray[np.int64],
    max_bucket_documents: int = 1000,
    hot_bucket_leaders: int = 16,
) -> Candidates:
    """Return the pairs that share a band; arguments as for `pairs_in_buckets`."""
    hashes = band_hashes(signatures, bands, rows)
    return pairs_in_buckets(hashes, rank, max_bucket_documents, hot_bucket_leaders)


def pairs_in_buckets(
    hashes: NDArray[np.uint64],
    rank: NDArray[np.int64],
    max_bucket_documents: int = 1000,
    hot_bucket_leaders: int = 16,
) -> Candidates:
    """Return the pairs that share a bucket of `band_hashes`.

    rank: int64[num_documents], all different, the best document lowest. In a bucket of more than
    `max_bucket_documents` each member is paired with the `hot_bucket_leaders` best-ranked members only.
    """
    num_documents, num_bands = hashes.shape
    named = []
    led = nothing = np.empty(0, dtype=np.int64)
    num_hot = num_skipped = 0
    for band in range(num_bands):
        order = np.argsort(hashes[:, band])
        ends = _bucket_ends(hashes[order, band])
        large = _members_above(max_bucket_documents, order, ends)
        hot = [members for members in large if hashes[members[0], band] != NO_BUCKET]
        if hot and num_hot == 0:
            hashes = hashes.copy()
        leading = [_keys_with_leaders(members, rank, hot_bucket_leaders) for members in hot]
        if hot:
            led = _sorted_distinct(np.concatenate([led, *leading]))
        num_hot += len(hot)
        for members, keys in zip(hot, leading, strict=True):
            num_skipped += len(members) * (len(members) - 1) // 2 - len(keys)
            # They share nothing here any more, so that a later band may name the pairs left out.
            hashes[members, band] = NO_BUCKET
        keys = np.empty(_name_pairs(hashes, band, order, ends, nothing), dtype=np.int64)
        _name_pairs(hashes, band, order, ends, keys)
        named.append(keys)
    keys = _sorted_distinct(np.concatenate([led, *named]))
    return Candidates(np.stack(np.divmod(keys, max(num_documents, 1)), axis=1), num_hot, num_skipped)


def _bucket_ends(sorted_hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    ends = np.flatnonzero(sorted_hashes[1:] != sorted_hashes[:-1]) + 1
    return np.append(ends, len(sorted_hashes))


def _sorted_distinct(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    # np.unique of numpy 2.4 goes through a hash table: on 3.2 million such keys 4.9 s instead of 0.05 s.
    keys = np.sort(keys)
    is_first = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    return keys[is_first]


def _members_above(max_documents: int, order: NDArray[np.int64], ends: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    begins = np.concatenate([[0], ends[:-1]])
    above = np.flatnonzero(ends - begins > max_documents)
    return [order[begins[bucket] : ends[bucket]] for bucket in above]


def _keys_with_leaders(members: NDArray[np.int64], rank: NDArray[np.int64], num_leaders: int) -> NDArray[np.int64]:
    """Return the keys of each member with each of the best-ranked members, each pair once."""
    members = members[np.argsort(rank[members])]
    keys = []
    for place, leader in enumerate(members[:num_leaders]):
        others = members[place + 1 :]
        keys.append(np.minimum(leader, others) * len(rank) + np.maximum(leader, others))
    return np.concatenate(keys)


@kernel
def _hash_bands(signatures: NDArray[np.uint32], rows: int, hashes: Hashes) -> None:
    num_documents, num_bands = hashes.shape
    for document in range(num_documents):
        signature = signatures[document]
        has_shingles = np.any(signature != EMPTY)
        for band in range(num_bands):
            state = np.uint64(band)
            for value in signature[band * rows : (band + 1) * rows]:
                state = absorb(state, np.uint64(value))
            hashes[document, band] = max(finish(state), _LEAST_BUCKET) if has_shingles else NO_BUCKET


@kernel
def _name_pairs(hashes: Hashes, band: int, order: Places, ends: Places, keys: Places) -> int:
    """Return how many pairs share a bucket here and in no band before; write them to `keys` where it has
    room.

    A pair is written as i * num_documents + j, i < j.
    """
    num_pairs, begin, num_documents = 0, 0, len(hashes)
    for end in ends:
        if end - begin > 1 and hashes[order[begin], band] != NO_BUCKET:
            for one in range(begin, end):
                for other in range(one + 1, end):
                    low, high = min(order[one], order[other]), max(order[one], order[other])
                    if _first_shared_band(hashes[low], hashes[high]) == band:
                        if num_pairs < len(keys):
                            keys[num_pairs] = low * num_documents + high
                        num_pairs += 1
        begin = end
    return num_pairs


@kernel
def _first_shared_band(one: Hashes, other: Hashes) -> int:
    for band in range(len(one)):
        if one[band] == other[band] and one[band] != NO_BUCKET:
            return band
    return len(one)
