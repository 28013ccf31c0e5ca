"""Counting the entries of a list in texts: sequences of word hashes by a compiled loop, the rest as written."""

import re

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.toxicity.lists import WordList
from engine.text.kernels import Hashes, Integer, Places, kernel
from engine.text.words import Words


def count_hits(
    words: Words,
    texts: pa.ChunkedArray,
    chosen: NDArray[np.bool_],
    entries: WordList,
    hits: NDArray[np.int64],
    distinct: NDArray[np.int64],
) -> None:
    """Add to hits and distinct (int64[num_documents]) what the entries come to in the chosen documents."""
    if len(entries.words):
        slots, bits = _first_words(entries)
        seen = np.full(len(entries.offsets) - 1, -1, dtype=np.int64)
        _count(words.offsets, words.hashes, chosen, entries.words, entries.offsets, slots, bits, seen, hits, distinct)
    if entries.as_written:
        pattern = as_written_pattern(entries.as_written)
        chosen_texts = pl.DataFrame({"text": pl.Series(pl.from_arrow(texts))}).with_row_index("row").filter(chosen)
        found = chosen_texts.filter(pl.col("text").str.contains(pattern)).select(
            "row", found=pl.col("text").str.extract_all(pattern).list.eval(pl.element().str.to_lowercase())
        )
        rows = found["row"].to_numpy()
        hits[rows] += found["found"].list.len().to_numpy()
        distinct[rows] += found["found"].list.n_unique().to_numpy()


def as_written_pattern(entries: tuple[str, ...]) -> str:
    """Return the regular expression of entries; no letter or number touches one that begins or ends with one."""
    bounded = (_bound(entry[0]) + re.escape(entry) + _bound(entry[-1]) for entry in entries)
    return f"(?i)(?:{'|'.join(bounded)})"


def _bound(character: str) -> str:
    return r"\b" if character.isalnum() else ""


def _first_words(entries: WordList) -> tuple[NDArray[np.int64], int]:
    """Return a hash table (first entry + 1 whose first word is that of the slot, else 0) and the bits of its size."""
    firsts = entries.words[entries.offsets[:-1]]
    bits = max(4, (16 * len(firsts)).bit_length())
    slots = np.zeros(1 << bits, dtype=np.int64)
    for entry, first in enumerate(firsts.tolist()):
        if entry and firsts[entry - 1] == first:
            continue  # entries of the same first word stand behind each other
        slot = first >> (64 - bits)
        while slots[slot]:
            slot = (slot + 1) & ((1 << bits) - 1)
        slots[slot] = entry + 1
    return slots, bits


@kernel
def _count(
    offsets: Places,
    hashes: Hashes,
    chosen: NDArray[np.bool_],
    entry_words: Hashes,
    entry_offsets: Places,
    slots: Places,
    bits: Integer,
    seen: Places,
    hits: Places,
    distinct: Places,
) -> None:
    for document in range(len(offsets) - 1):
        if not chosen[document]:
            continue
        at, end = offsets[document], offsets[document + 1]
        while at < end:
            # Nearly all words end here; a call costs ten times as much.
            if not slots[np.int64(hashes[at] >> np.uint64(64 - bits))]:
                at += 1
                continue
            entry = _longest(hashes, at, end, entry_words, entry_offsets, slots, bits)
            if entry < 0:
                at += 1
                continue
            hits[document] += 1
            if seen[entry] != document:
                seen[entry] = document
                distinct[document] += 1
            at += entry_offsets[entry + 1] - entry_offsets[entry]


@kernel
def _longest(
    hashes: Hashes,
    at: Integer,
    end: Integer,
    entry_words: Hashes,
    entry_offsets: Places,
    slots: Places,
    bits: Integer,
) -> Integer:
    """Return the longest entry that stands at a word, -1 where none does."""
    first = hashes[at]
    slot = np.int64(first >> np.uint64(64 - bits))
    while slots[slot] and entry_words[entry_offsets[slots[slot] - 1]] != first:
        slot = (slot + 1) & (len(slots) - 1)
    entry = slots[slot] - 1
    best, best_words = -1, 0
    while 0 <= entry < len(entry_offsets) - 1 and entry_words[entry_offsets[entry]] == first:
        begin, num_words = entry_offsets[entry], entry_offsets[entry + 1] - entry_offsets[entry]
        if num_words > best_words and at + num_words <= end:
            k = 1
            while k < num_words and hashes[at + k] == entry_words[begin + k]:
                k += 1
            if k == num_words:
                best, best_words = entry, num_words
        entry += 1
    return best
