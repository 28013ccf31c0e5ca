"""Searches texts for the items of an index: which share of an item's n-grams a text holds, and where.

Every n-gram of the text is looked up exactly; a distinct n-gram counts once, wherever and however often it stands, so
neither text between the pieces of an item nor the length of the document weakens a match.
"""

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.contamination.index import Index, Scale
from engine.text.kernels import Places, kernel
from engine.text.loose import split_loose
from engine.text.words import Words, ngram_hashes

FRACTION_UNITS = 10_000
EVIDENCE_CHARS = 200
HITS = {"row": pl.UInt32, "item": pl.UInt32, "fraction": pl.Float64, "evidence": pl.String}


def search(texts: pa.ChunkedArray, index: Index, min_fraction: float) -> pl.DataFrame:
    """Return the items each text holds at least `min_fraction` of (HITS), by row, best first, then by item.

    fraction: distinct n-grams of the item found, of all it has, rounded down to 1e-4; evidence: the text of the first
    run of words that matched, at most 200 characters.
    """
    num_ngrams = index.num_ngrams
    units = round(min_fraction * FRACTION_UNITS)
    needed = np.maximum(-(-num_ngrams * units // FRACTION_UNITS), 1)
    words = split_loose(texts)
    parts = [_search_scale(texts, words, scale, needed, num_ngrams) for scale in index.scales]
    return pl.concat([pl.DataFrame(schema=HITS), *parts]).sort(
        ["row", "fraction", "item"], descending=[False, True, False]
    )


def _search_scale(
    texts: pa.ChunkedArray, words: Words, scale: Scale, needed: NDArray[np.int64], num_ngrams: NDArray[np.int64]
) -> pl.DataFrame:
    offsets, ngrams = ngram_hashes(words, scale.ngram_words)
    places, hash_rows = scale.look_up(ngrams)
    rows = np.searchsorted(offsets, places, side="right") - 1
    hits = np.empty((0, 4), dtype=np.int64)
    found = _count_items(rows, hash_rows, scale.offsets, scale.items, needed, len(scale.hashes), hits)
    hits = np.empty((found, 4), dtype=np.int64)
    _count_items(rows, hash_rows, scale.offsets, scale.items, needed, len(scale.hashes), hits)
    row, item, matched, _ = hits.T
    # Rounded down, so that a comparison with another fraction decides as the exact one would.
    fractions = matched * FRACTION_UNITS // num_ngrams[item] / FRACTION_UNITS
    ngram_places, lengths = places - offsets[rows], np.empty(found, dtype=np.int64)
    _run_lengths(rows, ngram_places, hash_rows, scale.offsets, scale.items, hits, lengths)
    evidence = _evidence(texts, scale, ngram_places, hits, lengths)
    columns = {"row": row, "item": item, "fraction": fractions, "evidence": evidence}
    return pl.DataFrame(columns, schema_overrides=HITS).cast(HITS)  # type: ignore[arg-type]


def _evidence(
    texts: pa.ChunkedArray,
    scale: Scale,
    ngram_places: NDArray[np.int64],
    hits: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> list[str]:
    """Return the text of each hit's first run; only texts with hits are split a second time, for their positions."""
    rows, position = np.unique(hits[:, 0], return_inverse=True)
    hit_texts = texts.take(pa.array(rows))
    words = split_loose(hit_texts, with_positions=True)
    assert words.starts is not None
    assert words.ends is not None
    first_words = words.offsets[position] + ngram_places[hits[:, 3]]
    starts, ends = words.starts[first_words], words.ends[first_words + lengths + scale.ngram_words - 2]
    return [
        hit_texts[text].as_buffer()[start:end].to_pybytes().decode()[:EVIDENCE_CHARS]
        for text, start, end in zip(position.tolist(), starts.tolist(), ends.tolist(), strict=True)
    ]


@kernel
def _count_items(
    rows: Places, hash_rows: Places, offsets: Places, items: Places, needed: Places, num_hashes: int, hits: Places
) -> int:
    """Return how many (row, item) hold at least needed[item] distinct n-grams; write them to `hits` where it has room.

    rows, hash_rows: of the n-grams found, by row. hits: row, item, distinct n-grams, place of the first in `rows`.
    """
    counts, first = np.zeros(len(needed), dtype=np.int64), np.zeros(len(needed), dtype=np.int64)
    touched = np.empty(len(needed), dtype=np.int64)
    last_row = np.full(num_hashes, -1, dtype=np.int64)
    num_hits, num_touched = 0, 0
    for place in range(len(rows)):
        row, found = rows[place], hash_rows[place]
        if last_row[found] != row:
            last_row[found] = row
            for holder in range(offsets[found], offsets[found + 1]):
                item = items[holder]
                if counts[item] == 0:
                    touched[num_touched] = item
                    num_touched += 1
                    first[item] = place
                counts[item] += 1
        if place + 1 == len(rows) or rows[place + 1] != row:
            for item in touched[:num_touched]:
                if counts[item] >= needed[item]:
                    if num_hits < len(hits):
                        hits[num_hits, 0], hits[num_hits, 1] = row, item
                        hits[num_hits, 2], hits[num_hits, 3] = counts[item], first[item]
                    num_hits += 1
                counts[item] = 0
            num_touched = 0
    return num_hits


@kernel
def _run_lengths(
    rows: Places, ngram_places: Places, hash_rows: Places, offsets: Places, items: Places, hits: Places, lengths: Places
) -> None:
    """Write how many n-grams in a row, from the first one of each hit, belong to its item."""
    for hit in range(len(hits)):
        row, item, first = hits[hit, 0], hits[hit, 1], hits[hit, 3]
        place = first
        # One character or more a word: what lies beyond is not shown.
        while place < min(len(rows), first + EVIDENCE_CHARS) and rows[place] == row:
            holders = items[offsets[hash_rows[place]] : offsets[hash_rows[place] + 1]]
            if ngram_places[place] - ngram_places[first] != place - first or not np.any(holders == item):
                break
            place += 1
        lengths[hit] = place - first
