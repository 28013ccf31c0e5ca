"""The index of contamination: exact tables of the n-grams that make up the targets, and of what to look for near them.

Hashes are 64 bits and all are kept, so a false positive is a matter of 1 in 2**64; no filter decides anything. What
lies on disk is the parts of items (targets.PARTS); the tables are made from them, in seconds.

FOLDER/items.parquet     benchmark, item, questions, answers, choices, passage
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.annotate.contamination.targets import PARTS, PASSAGE_WORDS, SEED_WORDS, Runs, targets_of
from engine.formats.parquet import read_parquet, write_parquet
from engine.text.kernels import SEED, Hashes, Places, absorb, finish, kernel
from engine.text.shingling import hash_ngrams

ITEMS: dict[str, Any] = {"benchmark": pl.String, "item": pl.String, **PARTS}
END_NGRAMS = 4
"""How many n-grams are the end of a question: so many words less one may be changed there."""
_SPARE_BITS = 2
"""A table of starts has about four times as many places as there are starts."""
_EMPTY = -1


@dataclass(frozen=True, eq=False)
class Index:
    """All that a search needs.

    items: ITEMS and why_not; targets: targets.TARGETS; an n-gram is a number, ascending by (length, hash).
    lengths: int64[num_lengths] ascending; starts: uint16[a power of two], at the top bits of the hash of the first
    SEED_WORDS words a bit per length that an n-gram with this start has (n-grams are no shorter);
    slots: int64[a power of two], the number of an n-gram by its hash, open addressing, -1 where empty;
    hashes: uint64[num_ngrams]; those with n-gram g are holders[offsets[g]:offsets[g + 1]], targets ascending;
    ends: int64[num_targets, END_NGRAMS], the last n-grams of each target, the first again where there are fewer.
    """

    items: pl.DataFrame
    targets: pl.DataFrame
    lengths: NDArray[np.int64]
    starts: NDArray[np.uint16]
    slots: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    holders: NDArray[np.int64]
    ends: NDArray[np.int64]
    runs: Runs

    @property
    def num_bytes(self) -> int:
        """Memory of the tables, in bytes."""
        of_runs = (self.runs.words, self.runs.offsets, self.runs.kinds, self.runs.of_target)
        tables = (
            self.starts,
            self.slots,
            self.hashes,
            self.offsets,
            self.holders,
            self.ends,
            *self.by_target,
            *of_runs,
        )
        return int(sum(table.nbytes for table in tables) + self.items.estimated_size() + self.targets.estimated_size())

    @property
    def num_ngrams(self) -> int:
        """How many different n-grams there are."""
        return len(self.hashes)

    @cached_property
    def by_target(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(begins, n-grams): those of target t are ngrams[begins[t]:begins[t + 1]], ascending."""
        ngrams = np.repeat(np.arange(self.num_ngrams), np.diff(self.offsets))
        order = np.argsort(self.holders, kind="stable")
        ends = np.cumsum(np.bincount(self.holders, minlength=self.targets.height))
        return np.concatenate([[0], ends]), ngrams[order]

    def ngrams_of(self, target: int) -> NDArray[np.int64]:
        """Return the n-grams of a target, ascending."""
        begins, ngrams = self.by_target
        return ngrams[begins[target] : begins[target + 1]]

    def runs_of(self, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
        """Return (kinds, offsets, words) of the runs of a target: run r is words[offsets[r]:offsets[r + 1]]."""
        first, last = self.runs.of_target[target : target + 2]
        return self.runs.kinds[first:last], self.runs.offsets[first : last + 1], self.runs.words


def write_index(items: pl.DataFrame, folder: Path) -> None:
    """Write what an index is made from: the items (ITEMS)."""
    write_parquet(folder / "items.parquet", items.select(list(ITEMS)).cast(ITEMS))  # type: ignore[arg-type]


@lru_cache(maxsize=4)
def load_index(folder: Path) -> Index:
    """Make the index of a folder; kept in memory, as every shard of a run asks for the same one."""
    return make_index(read_parquet(folder / "items.parquet"))


def make_index(items: pl.DataFrame, min_words: int = PASSAGE_WORDS) -> Index:
    """Return the index of `items` (ITEMS); min_words as for `targets_of`."""
    targets = targets_of(items, min_words)
    ngrams = targets.ngrams
    is_new = (pl.col("ngram_words") != pl.col("ngram_words").shift()) | (pl.col("hash") != pl.col("hash").shift())
    first = ngrams.select(is_new.fill_null(True)).to_series().to_numpy()
    begins = np.flatnonzero(first)
    different = ngrams.filter(pl.Series(first))
    hashes = different["hash"].to_numpy()
    lengths, length_of = np.unique(different["ngram_words"].to_numpy().astype(np.int64), return_inverse=True)
    bits = max(int(different["start"].n_unique()).bit_length() + _SPARE_BITS, 4)
    starts = np.zeros(1 << bits, dtype=np.uint16)
    np.bitwise_or.at(
        starts, different["start"].to_numpy() >> np.uint64(64 - bits), np.uint16(1) << length_of.astype(np.uint16)
    )
    slots = np.full(1 << (len(hashes).bit_length() + 1), _EMPTY)
    _enter(hashes, slots)
    return Index(
        items.with_columns(targets.why_not),
        targets.table,
        lengths,
        starts,
        slots,
        hashes,
        np.append(begins, ngrams.height),
        ngrams["target"].to_numpy().astype(np.int64),
        _ends(ngrams.with_columns(ngram=pl.Series(np.cumsum(first) - 1))),
        targets.runs,
    )


def _ends(ngrams: pl.DataFrame) -> NDArray[np.int64]:
    """Return the n-grams that stand last in each target (Index.ends); ngrams: target, place, ngram."""
    ordered = ngrams.sort("target", "place")
    targets, numbers = ordered["target"].to_numpy(), ordered["ngram"].to_numpy()
    begins = np.flatnonzero(np.diff(targets.astype(np.int64), prepend=-1))
    behind = np.append(begins[1:], len(targets))[: len(begins)]
    places = np.maximum(behind[:, None] - 1 - np.arange(END_NGRAMS), begins[:, None])
    return np.asarray(numbers[places], dtype=np.int64)


@kernel
def _enter(hashes: Hashes, slots: Places) -> None:
    mask = len(slots) - 1
    for ngram in range(len(hashes)):
        slot = np.int64(hashes[ngram] & np.uint64(mask))
        while slots[slot] != _EMPTY:
            slot = (slot + 1) & mask
        slots[slot] = ngram


@kernel
def find_ngrams(
    words: Hashes,
    starts: NDArray[np.uint16],
    lengths: Places,
    slots: Places,
    hashes: Hashes,
    scratch: Hashes,
    out: Places,
) -> int:
    """Write (place of its first word, number) of the n-grams of one text that are in the index, by place then length.

    Returns how many there are, also where `out` (int64[any, 2]) has less room. scratch: uint64[at least as many as
    words].
    """
    shift = np.uint64(64)
    size = len(starts)
    while size > 1:
        size >>= 1
        shift -= np.uint64(1)
    mask = np.uint64(len(slots) - 1)
    num_starts = len(words) - SEED_WORDS + 1
    if num_starts <= 0:
        return 0
    hash_ngrams(words, SEED_WORDS, scratch[:num_starts])
    found = 0
    for place in range(num_starts):
        here = starts[scratch[place] >> shift]
        if here == 0:
            continue
        state, absorbed = SEED, 0
        for number in range(len(lengths)):
            length = lengths[number]
            if here >> number == 0 or place + length > len(words):
                break
            if here >> number & 1 == 0:
                continue
            while absorbed < length:
                state = absorb(state, words[place + absorbed])
                absorbed += 1
            value = finish(state)
            slot = value & mask
            while slots[slot] != _EMPTY:
                if hashes[slots[slot]] == value:
                    if found < len(out):
                        out[found, 0], out[found, 1] = place, slots[slot]
                    found += 1
                    break
                slot = (slot + np.uint64(1)) & mask
    return found
