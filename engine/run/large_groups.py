"""Takes the documents of a group that is too large to be put in order at once, with the same result.

1. A sample of the keys of their order gives bounds, which cut the order into bins of about as many documents each
2. Sizes are summed up by bin: all documents in front of the bin in which the room ends are taken as they are
3. From that bin on, as many bins as memory allows are put in order, and documents taken one after the other
4. Behind them only documents count that fit into what is left of the room: from 2 on, until none of them does

The bounds only say how much work it is, never who is taken. Each round reads the order twice, and leaves less room than
some document needed, so rounds are few: one for caps in documents, two or three for bytes and tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.select.group_codes import ABSENT
from engine.select.taking import COLUMNS, KEY, PLACE, SIZE, Entries, Numbers, bins_of, count_groups, take

SAMPLE = 1 << 16
"""Keys that bounds are chosen from."""
BOUNDS = 1 << 12
SAMPLED_SHARDS = 32
_ANY_SIZE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Members:
    """The documents of the group in one shard."""

    entries: Entries
    """As `engine.select.taking.enter` writes them: uint64[members, COLUMNS]."""

    @property
    def sizes(self) -> Numbers:
        """What each takes of the room."""
        return self.entries[:, SIZE].astype(np.int64)


@dataclass
class LargeGroup:
    """One group on its way: who of it is taken."""

    shards: Sequence[int]
    """Positions of the shards that hold documents of it."""
    count: int
    """Its documents."""
    read: Callable[[int, int], Members]
    """Position of a shard, n -> every n-th of its documents there."""
    each: Callable[[Callable[[int], None], Sequence[int]], None]
    """Works on positions of shards, in threads."""
    most: int
    """Documents that may be put in order at once."""

    def take(self, room: int, is_closing: bool, left: NDArray[np.uint8]) -> tuple[int, int]:
        """Take documents as `engine.select.taking.take` does; return the amount and the documents taken.

        left: uint8[documents of the corpus], 1 for all of the group; of those that are taken it becomes 0.
        """
        bounds, first, amount, documents = self._bounds(), 0, 0, 0
        while True:
            fits = _ANY_SIZE if is_closing else room
            sums, counts, least = self._sum_up(bounds, first, fits)
            # The bin in which the room ends.
            border = int(np.searchsorted(np.cumsum(sums), room, side="right"))
            end = border + int(np.searchsorted(np.cumsum(counts[border:]), self.most, side="right"))
            if border == end < len(counts):
                finer = self._finer(bounds, border, int(counts[border]))
                if len(finer) > len(bounds):
                    bounds = finer
                    continue
                end += 1  # documents of one key, which nothing can tell apart
            entries = self._enter(bounds, (first, border, end), int(counts[border:end].sum()), fits, left)
            taken = np.array([[sums[:border].sum(), counts[:border].sum()]], dtype=np.int64)
            room -= int(taken[0, 0])
            before = int(taken[0, 0])
            take(entries, np.array([0, len(entries)]), np.array([room]), is_closing, left, taken)
            room -= int(taken[0, 0]) - before
            amount, documents, first = amount + int(taken[0, 0]), documents + int(taken[0, 1]), end
            is_closed = is_closing and border < len(counts)
            if is_closed or room < least[end:].min(initial=_ANY_SIZE):
                return amount, documents

    def _bounds(self) -> Entries:
        """Return keys in their order, no two of them equal: uint64[bounds, KEY]."""
        some = self.shards[:: -(-len(self.shards) // SAMPLED_SHARDS)]
        every = max(1, self.count * len(some) // len(self.shards) // SAMPLE)
        keys = np.unique(self._keys(some, every, lambda _: slice(None)), axis=0)
        return np.ascontiguousarray(keys[:: max(1, len(keys) // BOUNDS)])

    def _finer(self, bounds: Entries, number: int, count: int) -> Entries:
        """Return the bounds with more of them in one bin, which holds `count` documents, unless these have one key."""
        every = max(1, count // BOUNDS)
        while True:
            more = self._keys(self.shards, every, lambda keys: bins_of(keys, bounds) == number)
            finer = np.ascontiguousarray(np.unique(np.concatenate([bounds, more]), axis=0))
            if every == 1 or len(finer) > len(bounds):
                return finer
            every = max(1, every // 8)

    def _keys(self, shards: Sequence[int], every: int, which: Callable[[Entries], Any]) -> Entries:
        found, lock = [np.empty((0, KEY), np.uint64)], Lock()

        def look(position: int) -> None:
            keys = np.ascontiguousarray(self.read(position, every).entries[:, :KEY])
            with lock:
                found.append(keys[which(keys)])

        self.each(look, shards)
        return np.concatenate(found)

    def _sum_up(self, bounds: Entries, first: int, fits: int) -> tuple[Numbers, Numbers, Numbers]:
        """Return amount, documents and smallest size of every bin from `first` on, of documents up to a size."""
        bins = len(bounds) + 1
        sums, counts, least = np.zeros(bins, np.int64), np.zeros(bins, np.int64), np.full(bins, _ANY_SIZE)
        lock = Lock()

        def add(position: int) -> None:
            members = self.read(position, 1)
            sizes, codes = members.sizes, bins_of(members.entries, bounds)
            codes[(sizes > fits) | (codes < first)] = ABSENT
            is_in = codes != ABSENT
            with lock:
                count_groups(codes, sizes, sums, counts)
                np.minimum.at(least, codes[is_in], sizes[is_in])

        self.each(add, self.shards)
        return sums, counts, least

    def _enter(
        self, bounds: Entries, part: tuple[int, int, int], size: int, fits: int, left: NDArray[np.uint8]
    ) -> Entries:
        """Return the documents of the bins from border to end; those of bins from first to border are taken."""
        (first, border, end), place, lock = part, 0, Lock()
        entries = np.empty((size, COLUMNS), dtype=np.uint64)

        def enter(position: int) -> None:
            nonlocal place
            members = self.read(position, 1)
            codes = bins_of(members.entries, bounds)
            is_in = (members.sizes <= fits) & (codes >= first) & (codes < end)
            chosen = members.entries[is_in & (codes >= border)]
            left[members.entries[is_in, PLACE].astype(np.int64)] = 0
            with lock:
                entries[place : place + len(chosen)] = chosen
                place += len(chosen)

        self.each(enter, self.shards)
        return entries
