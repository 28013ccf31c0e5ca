"""Candidate pairs: documents whose signatures agree in all rows of at least one band.

With bands of r rows, a pair of Jaccard similarity s is a candidate with probability 1 - (1 - s**r)**bands
(Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4). Candidates are only proposals: each is
verified exactly.

A band is one 64-bit hash per document; sorting it brings buckets together. In a bucket above a bound not all
pairs are named: each member is compared with the members of best rank, which are the likely survivors. That
depends on contents and ranks alone, never on the order of documents.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from engine.annotate.near_dup.minhash import EMPTY
from engine.annotate.near_dup.shingle_file import read_at, write_at
from engine.base.errors import RecipeError, problem
from engine.text.kernels import Hashes, Places, absorb, finish, kernel

NO_BUCKET = np.uint64(0)
_LEAST_BUCKET = np.uint64(1)
MAX_CHANCE_AT_HALF = Decimal("0.15")
"""How often a pair of half the threshold's similarity may become a candidate."""
HOT_BUCKET_LEADERS = 16
"""Members of best rank that all others of a hot bucket are compared with."""
TABLE_SHARE = 8
"""The table of bands may take this part of the memory ceiling; a larger one lies in a file. Changes no pair."""
_MERGED_KEYS = 1 << 22


@dataclass(frozen=True, eq=False)
class Candidates:
    """keys: int64[num_pairs], ascending, each pair of documents i < j once, as i * num_documents + j.

    num_hot_buckets: buckets above the bound; num_skipped_comparisons: pairs of their members the bound left
    out (another band may still have named them).
    """

    keys: NDArray[np.int64]
    num_documents: int
    num_hot_buckets: int
    num_skipped_comparisons: int

    @property
    def pairs(self) -> NDArray[np.int64]:
        """All pairs: int64[num_pairs, 2]."""
        return pairs_of(self.keys, self.num_documents)


def pairs_of(keys: NDArray[np.int64], num_documents: int) -> NDArray[np.int64]:
    """Return the pairs (i, j) of keys: int64[num_pairs, 2]."""
    return np.stack(np.divmod(keys, max(num_documents, 1)), axis=1)


def choose_bands(threshold: float, recall: float, num_permutations: int) -> tuple[int, int]:
    """Return the (bands, rows) of fewest permutations that find a pair at `threshold` with chance `recall`.

    Fewest: signing costs by the permutation. Few rows propose more pairs in vain, so a pair of half that similarity may
    become a candidate with a chance of `MAX_CHANCE_AT_HALF` at most; where no bands keep to that, those with the least
    chance are taken. Computed in decimals of 28 digits, so that every machine chooses alike. Raises RecipeError where
    even bands of one row cannot reach the recall.
    """
    for name, value in (("threshold", threshold), ("recall", recall)):
        if not 0 < value <= 1:
            raise RecipeError(problem(f"near_dup: {name}", f"got {value}", "above 0, at most 1"))
    return _choose_bands(Decimal(str(threshold)), Decimal(str(recall)), num_permutations)


@cache
def _choose_bands(threshold: Decimal, recall: Decimal, num_permutations: int) -> tuple[int, int]:
    choices = []
    best_miss = Decimal(1)
    for rows in range(1, num_permutations + 1):
        most_bands = num_permutations // rows
        with localcontext(prec=28):
            miss_of_band = 1 - threshold**rows
            best_miss = min(best_miss, miss_of_band**most_bands)
            if miss_of_band**most_bands > 1 - recall:
                continue
            bands = next(n for n in range(1, most_bands + 1) if miss_of_band**n <= 1 - recall)
            in_vain = chance_of_candidate(threshold / 2, bands, rows)
            choices.append((max(in_vain - MAX_CHANCE_AT_HALF, Decimal(0)), bands * rows, bands, rows))
    if not choices:
        raise RecipeError(
            problem(
                "near_dup: recall",
                f"{recall} at threshold {threshold} is out of reach with {num_permutations} permutations",
                f"at most {1 - float(best_miss):.4f}",
                "lower the recall or raise num_permutations",
            )
        )
    _, _, bands, rows = min(choices)
    return bands, rows


def chance_of_candidate(similarity: Decimal, bands: int, rows: int) -> Decimal:
    """Return the chance that a pair of this similarity shares at least one band."""
    with localcontext(prec=28):
        return 1 - (1 - similarity**rows) ** bands


def band_hashes(signatures: NDArray[np.uint32], bands: int, rows: int) -> NDArray[np.uint64]:
    """Return the bucket of each document in each band: uint64[num_documents, bands].

    NO_BUCKET (0) for documents without shingles.
    """
    num_documents, num_permutations = signatures.shape
    if bands * rows > num_permutations:
        raise ValueError(f"bands: {bands} of {rows} rows. Needed: at most {num_permutations} rows in all.")
    hashes = np.empty((num_documents, bands), dtype=np.uint64)
    _hash_bands(signatures, rows, hashes)
    return hashes


class BandTable:
    """The bucket of every document in every band, band after band: in memory, or in a file where that is short.

    Several threads may put documents in at once.
    """

    def __init__(self, num_documents: int, num_bands: int, folder: Path, max_bytes: int) -> None:
        """A table of more than `max_bytes` lies in a file in `folder` that has no name."""
        self.num_documents = num_documents
        self.num_bands = num_bands
        self._memory = self._file = None
        if num_documents * num_bands * 8 <= max_bytes:
            self._memory = np.zeros((num_bands, num_documents), dtype=np.uint64)
        else:
            # Whatever is not written reads as zero, which is NO_BUCKET.
            self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - it lives as long as the table
            self._file.truncate(num_documents * num_bands * 8)

    def put(self, first: int, hashes: NDArray[np.uint64]) -> None:
        """Take in the buckets of documents `first`, `first` + 1, ...: uint64[documents, num_bands]."""
        by_band = np.ascontiguousarray(hashes.T)
        if self._memory is not None:
            self._memory[:, first : first + len(hashes)] = by_band
        else:
            assert self._file is not None
            for band, values in enumerate(by_band):
                write_at(self._file.fileno(), values, (band * self.num_documents + first) * 8)

    def band(self, band: int) -> NDArray[np.uint64]:
        """Return the bucket of every document in one band: uint64[num_documents]."""
        if self._memory is not None:
            return self._memory[band]
        assert self._file is not None
        values = np.empty(self.num_documents, dtype=np.uint64)
        read_at(self._file.fileno(), values, band * self.num_documents * 8)
        return values


def pairs_in_buckets(
    table: BandTable,
    rank: NDArray[np.int64],
    max_bucket_documents: int = 1000,
    hot_bucket_leaders: int = HOT_BUCKET_LEADERS,
    jobs: int = 1,
) -> Candidates:
    """Return the pairs of documents that share a bucket.

    rank: int64[num_documents], all different, the best document lowest. In a bucket of more than
    `max_bucket_documents` each member is paired with the `hot_bucket_leaders` best-ranked members only.
    """
    num_hot = num_skipped = num_new = 0
    merged, new = np.empty(0, dtype=np.int64), []
    with ThreadPoolExecutor(jobs) as executor:
        bands = iter(range(table.num_bands))
        # No more bands at work than threads, for each brings the pairs of its own.
        while some := list(islice(bands, jobs)):
            for named in executor.map(
                lambda band: _name_band(table, band, rank, max_bucket_documents, hot_bucket_leaders), some
            ):
                new.append(named.keys)
                num_new += len(named.keys)
                num_hot, num_skipped = num_hot + named.num_hot, num_skipped + named.num_skipped
            # Bands name the same pairs again, so what waits is never much more than what is there.
            if num_new > max(len(merged), _MERGED_KEYS):
                merged, new, num_new = sorted_distinct(np.concatenate([merged, *new])), [], 0
    merged = sorted_distinct(np.concatenate([merged, *new]))
    return Candidates(merged, table.num_documents, num_hot, num_skipped)


@dataclass(frozen=True, eq=False)
class _Named:
    """The pairs of one band, each as i * num_documents + j, i < j; counts as in Candidates."""

    keys: NDArray[np.int64]
    num_hot: int
    num_skipped: int


def _name_band(
    table: BandTable, band: int, rank: NDArray[np.int64], max_bucket_documents: int, hot_bucket_leaders: int
) -> _Named:
    members, ends = _shared_buckets(table.band(band))
    sizes = np.diff(ends, prepend=0)
    is_hot = sizes > max_bucket_documents
    keys = np.empty(int((sizes * (sizes - 1) // 2)[~is_hot].sum()), dtype=np.int64)
    _name_pairs(members, ends, is_hot, table.num_documents, keys)
    led = [
        _keys_with_leaders(members[end - size : end], rank, hot_bucket_leaders)
        for end, size in zip(ends[is_hot], sizes[is_hot], strict=True)
    ]
    num_skipped = int((sizes * (sizes - 1) // 2)[is_hot].sum()) - sum(map(len, led))
    return _Named(np.concatenate([keys, *led]), len(led), num_skipped)


def _shared_buckets(buckets: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (members, ends): the documents of each bucket that holds at least two, and where each bucket ends."""
    order = np.argsort(buckets)
    ordered = buckets[order]
    is_same = ordered[1:] == ordered[:-1]
    is_same &= ordered[1:] != NO_BUCKET
    is_member = np.zeros(len(order), dtype=np.bool_)
    is_member[1:] |= is_same
    is_member[:-1] |= is_same
    is_end = is_member.copy()
    is_end[:-1] &= ~is_same
    return order[is_member], np.flatnonzero(is_end[is_member]) + 1


def sorted_distinct(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct numbers in ascending order; sorts `keys` in place."""
    # np.unique of numpy 2.4 goes through a hash table: on 3.2 million such keys 4.9 s instead of 0.05 s.
    keys.sort()
    is_first = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    return keys[is_first]


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
def _name_pairs(members: Places, ends: Places, is_hot: NDArray[np.bool_], num_documents: int, keys: Places) -> None:
    num_pairs, begin = 0, 0
    for bucket in range(len(ends)):
        end = ends[bucket]
        if not is_hot[bucket]:
            for one in range(begin, end):
                for other in range(one + 1, end):
                    low, high = min(members[one], members[other]), max(members[one], members[other])
                    keys[num_pairs] = low * num_documents + high
                    num_pairs += 1
        begin = end
