"""The index of contamination: exact sets of word n-grams of the items that training must not contain.

An item of at least `ngram_words` loose words (engine.text.loose) is known by the set of its n-grams. A shorter one is
known as a whole, by the one n-gram of all its words; below `min_item_words` words it would be found by chance
everywhere and is not matchable. Hashes are 64 bits and all are kept: a false positive is a matter of 1 in 2**64.

FOLDER/items.parquet    item_id, set, num_words, num_ngrams (distinct; 0 where not matchable), by item_id
FOLDER/ngrams.parquet   ngram_words, hash, item (row of items.parquet), sorted
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.formats.parquet import read_parquet, write_parquet
from engine.text.loose import split_loose
from engine.text.words import Words, ngram_hashes

_MOST_FILTER_BITS = 24


@dataclass(frozen=True, eq=False)
class Scale:
    """The n-grams of one length: hashes uint64[num_hashes] ascending; the items that hold hashes[h] are
    items[offsets[h]:offsets[h + 1]], ascending; is_prefix bool[2**bits]: whether any hash begins with these bits."""

    ngram_words: int
    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    items: NDArray[np.int64]
    is_prefix: NDArray[np.bool_]

    def look_up(self, ngrams: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (places in `ngrams`, rows of `hashes`) of the n-grams that are in the index, by place."""
        shift = np.uint64(65 - len(self.is_prefix).bit_length())
        places = np.flatnonzero(self.is_prefix[ngrams >> shift])
        rows = np.minimum(np.searchsorted(self.hashes, ngrams[places]), len(self.hashes) - 1)
        is_found = self.hashes[rows] == ngrams[places]
        return places[is_found], rows[is_found]


@dataclass(frozen=True, eq=False)
class Index:
    """All items and the scales their n-grams fall into; items: item_id, set, num_words, num_ngrams, by item_id."""

    items: pl.DataFrame
    scales: tuple[Scale, ...]

    @property
    def num_ngrams(self) -> NDArray[np.int64]:
        """Distinct n-grams of each item, 0 where it is not matchable: int64[num_items]."""
        return self.items["num_ngrams"].to_numpy().astype(np.int64)


def write_index(passages: pl.DataFrame, ngram_words: int, min_item_words: int, folder: Path) -> None:
    """Write the index of `passages` (item_id, set, text; item_id unique) to `folder`."""
    passages = passages.sort("item_id")
    words = split_loose(passages["text"].to_arrow())
    lengths = np.where(words.num_words >= ngram_words, ngram_words, words.num_words)
    lengths[words.num_words < min_item_words] = 0
    wanted = sorted(set(lengths.tolist()) - {0})
    ngrams = pl.concat([_EMPTY_NGRAMS, *(_ngrams_of(words, length, lengths == length) for length in wanted)])
    counts = np.bincount(ngrams["item"].to_numpy(), minlength=passages.height)
    items = passages.select("item_id", "set").with_columns(
        num_words=pl.Series(words.num_words).cast(pl.UInt32), num_ngrams=pl.Series(counts).cast(pl.UInt32)
    )
    write_parquet(folder / "items.parquet", items)
    write_parquet(folder / "ngrams.parquet", ngrams)


@lru_cache(maxsize=4)
def load_index(folder: Path) -> Index:
    """Load an index; kept in memory, as every shard of a run asks for the same one."""
    ngrams = read_parquet(folder / "ngrams.parquet")
    scales = tuple(_scale(int(length), rows) for (length,), rows in ngrams.group_by("ngram_words", maintain_order=True))
    return Index(read_parquet(folder / "items.parquet"), scales)


_EMPTY_NGRAMS = pl.DataFrame(schema={"ngram_words": pl.UInt16, "hash": pl.UInt64, "item": pl.UInt32})


def _ngrams_of(words: Words, length: int, is_wanted: NDArray[np.bool_]) -> pl.DataFrame:
    offsets, hashes = ngram_hashes(words, length)
    item = np.repeat(np.arange(len(is_wanted)), np.diff(offsets))
    frame = pl.DataFrame({"hash": hashes, "item": item}).filter(pl.Series(is_wanted[item]))
    return (
        frame.unique()
        .sort("hash", "item")
        .select(pl.lit(length, dtype=pl.UInt16).alias("ngram_words"), "hash", pl.col("item").cast(pl.UInt32))
    )


def _scale(ngram_words: int, rows: pl.DataFrame) -> Scale:
    hashes, begins = np.unique(rows["hash"].to_numpy(), return_index=True)
    bits = min(max(len(hashes).bit_length() + 4, 16), _MOST_FILTER_BITS)
    is_prefix = np.zeros(1 << bits, dtype=np.bool_)
    is_prefix[hashes >> np.uint64(64 - bits)] = True
    return Scale(
        ngram_words, hashes, np.append(begins, rows.height), rows["item"].to_numpy().astype(np.int64), is_prefix
    )
