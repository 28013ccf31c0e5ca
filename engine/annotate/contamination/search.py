"""Searches texts for the targets of an index. What comes out does not depend on any other text, so it can be kept per
shard; how much it weighs is decided later, over the whole corpus (judge.py).

1. every n-gram of a text is looked up                                            (index.find_ngrams)
2. targets of which a text has a quarter of the n-grams, or their run             (_targets_of_texts)
3. their answers, choices, numbers, as runs of words within reach of a match      (_look_around)
4. where in the text all this stands; only texts with a match are split once more (_spans)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.contamination.index import Index, find_ngrams
from engine.annotate.contamination.targets import IS_ANSWER, IS_CHOICE, IS_NUMBER, IS_QUESTION, SHARE
from engine.text.batches import word_room
from engine.text.kernels import Hashes, Places, kernel
from engine.text.loose import split_loose
from engine.text.spans import LINE_BYTES, SPAN, merged_spans
from engine.text.words import Words

SHARE_LOOKED_AT = 4
"""One part in so many of a target's n-grams makes a text worth a closer look."""
PIECE_CHARS = 1000
"""Characters kept of one piece of text that matched."""
MATCHES: dict[str, Any] = {
    "row": pl.UInt32,
    "target": pl.UInt32,
    "ngrams": pl.List(pl.UInt32),
    "has_question": pl.Boolean,
    "has_answer": pl.Boolean,
    "num_choices": pl.UInt32,
    "num_numbers": pl.UInt32,
    "spans": pl.List(SPAN),
    "pieces": pl.List(pl.String),
}
"""A text and a target: the different n-grams found, what stands near them, bytes of the text as it is (in order,
without overlap), and their text (at most PIECE_CHARS characters each)."""
NGRAMS_OF_ROWS = {"row": pl.UInt32, "ngram": pl.UInt32}
"""Every different n-gram of a text that is in the index: what frequencies are counted from."""


@dataclass(frozen=True, eq=False)
class Found:
    """What some texts hold: matches (MATCHES, by row and target) and ngrams (NGRAMS_OF_ROWS, by row and n-gram)."""

    matches: pl.DataFrame
    ngrams: pl.DataFrame


def search(texts: pa.Array | pa.ChunkedArray, index: Index) -> Found:
    """Return what each text holds of the index; a null text holds nothing."""
    words = split_loose(texts, room=word_room())
    rows, places, ngrams = _find(words, index)
    frame = pl.DataFrame({"row": rows, "ngram": ngrams}).unique().sort("row", "ngram").cast(NGRAMS_OF_ROWS)  # type: ignore[arg-type]
    if len(rows) == 0:
        return Found(pl.DataFrame(schema=MATCHES), frame)
    is_share = (index.targets["rule"] == SHARE).to_numpy()
    needed = np.where(is_share, -(-index.targets["num_ngrams"].to_numpy().astype(np.int64) // SHARE_LOOKED_AT), 1)
    found = _targets_of_texts(rows, ngrams, index.offsets, index.holders, needed)
    return Found(_matches(texts, words, index, found, rows, places, ngrams), frame)


def _find(words: Words, index: Index) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, word, n-gram) of all n-grams of the texts that are in the index, by row and word."""
    scratch = np.empty(int(words.num_words.max(initial=0)), dtype=np.uint64)
    out = np.empty((max(len(words.hashes) // 64, 1024), 3), dtype=np.int64)
    while True:
        tables = (index.starts, index.lengths, index.slots, index.hashes)
        found = _find_all(words.offsets, words.hashes, *tables, scratch, out)
        if found <= len(out):
            row, place, ngram = out[:found].T.copy()
            return row, place, ngram
        out = np.empty((found, 3), dtype=np.int64)


@kernel
def _find_all(
    offsets: Places,
    words: Hashes,
    starts: NDArray[np.uint16],
    lengths: Places,
    slots: Places,
    hashes: Hashes,
    scratch: Hashes,
    out: Places,
) -> int:
    found = 0
    for row in range(len(offsets) - 1):
        here = out[min(found, len(out)) :]
        number = find_ngrams(
            words[offsets[row] : offsets[row + 1]], starts, lengths, slots, hashes, scratch, here[:, 1:]
        )
        here[: min(number, len(here)), 0] = row
        found += number
    return found


@kernel
def _targets_of_texts(rows: Places, ngrams: Places, offsets: Places, holders: Places, needed: Places) -> Places:
    """Return (first place in `rows`, end, target) of every text and target with enough different n-grams."""
    counts, seen = np.zeros(len(needed), dtype=np.int64), np.full(len(offsets), -1)
    touched = np.empty(len(needed), dtype=np.int64)
    found = [(0, 0, 0) for _ in range(0)]
    begin = 0
    for end in range(1, len(rows) + 1):
        if end < len(rows) and rows[end] == rows[begin]:
            continue
        num_touched = 0
        for place in range(begin, end):
            ngram = ngrams[place]
            if seen[ngram] == begin:
                continue
            seen[ngram] = begin
            for holder in range(offsets[ngram], offsets[ngram + 1]):
                target = holders[holder]
                if counts[target] == 0:
                    touched[num_touched] = target
                    num_touched += 1
                counts[target] += 1
        for target in np.sort(touched[:num_touched]):
            if counts[target] >= needed[target]:
                found.append((begin, end, target))
            counts[target] = 0
        begin = end
    out = np.empty((len(found), 3), dtype=np.int64)
    for place, (first, last, target) in enumerate(found):
        out[place, 0], out[place, 1], out[place, 2] = first, last, target
    return out


def _matches(
    texts: pa.Array | pa.ChunkedArray,
    words: Words,
    index: Index,
    found: NDArray[np.int64],
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
    ngrams: NDArray[np.int64],
) -> pl.DataFrame:
    hit_rows, text_of = np.unique(rows[found[:, 0]], return_inverse=True)
    hit_texts = texts.take(pa.array(hit_rows))
    positions = split_loose(hit_texts, with_positions=True)
    lengths = index.targets["ngram_words"].to_list()
    reach, seed_is_question = index.targets["reach"].to_list(), index.targets["seed_is_question"].to_list()
    made: list[tuple[object, ...]] = []
    of_text = _OfText(ngrams, places)
    for (begin, end, target), text in zip(found.tolist(), text_of.tolist(), strict=True):
        distinct, at = of_text.of_target(begin, end, index.ngrams_of(target))
        start, stop = words.offsets[rows[begin]], words.offsets[rows[begin] + 1]
        # Only what is within reach, or many items in one long text would take quadratic time.
        first = max(start, start + at[0] - reach[target])
        last = min(stop, start + at[-1] + lengths[target] + reach[target])
        at = at - (first - start)
        is_covered = np.zeros(last - first, dtype=np.bool_)
        near = _look_around(
            words.hashes[first:last],
            at,
            lengths[target],
            reach[target],
            *index.runs_of(target),
            seed_is_question[target],
            is_covered,
        )
        spans = _spans(positions, text, is_covered, first - start)
        pieces = [_piece(hit_texts[text], begins, ends) for begins, ends in spans]
        structs = [{"start": begins, "end": ends} for begins, ends in merged_spans(spans, LINE_BYTES)]
        made.append((rows[begin], target, distinct.tolist(), *near, structs, pieces))
    return pl.DataFrame(made, schema=MATCHES, orient="row")


class _OfText:
    """The n-grams of one text at a time, in their order, so that those of a target are found by bisection."""

    def __init__(self, ngrams: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        self._all, self._all_places, self._begin = ngrams, places, -1
        self._ngrams = self._places = ngrams[:0]

    def of_target(self, begin: int, end: int, ngrams: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (different n-grams of a target that the text has, places of all of them), ascending."""
        if begin != self._begin:
            order = np.argsort(self._all[begin:end], kind="stable")
            self._begin = begin
            self._ngrams, self._places = self._all[begin:end][order], self._all_places[begin:end][order]
        lows, highs = (np.searchsorted(self._ngrams, ngrams, side) for side in ("left", "right"))
        counts = highs - lows
        chosen = np.repeat(lows - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return ngrams[counts > 0], np.sort(self._places[chosen])


@kernel
def _look_around(
    words: Hashes,
    places: Places,
    length: int,
    reach: int,
    kinds: Places,
    offsets: Places,
    runs: Hashes,
    seed_is_question: bool,
    is_covered: NDArray[np.bool_],
) -> tuple[bool, bool, int, int]:
    """Return (has_question, has_answer, num_choices, num_numbers): the runs that stand within reach of a match.

    places: where n-grams of `length` words matched, ascending. Answers and choices within a question are no answers.
    is_covered: filled with what matched and with the runs found.
    """
    for place in places:
        is_covered[place : place + length] = True
    is_question = is_covered.copy() if seed_is_question else np.zeros(len(words), dtype=np.bool_)
    is_found = np.zeros(len(kinds), dtype=np.bool_)
    looked_until = 0
    for place in places:
        begin = max(looked_until, place - reach)
        looked_until = max(looked_until, min(len(words), place + length + reach))
        for at in range(begin, looked_until):
            for run in range(len(kinds)):
                size = offsets[run + 1] - offsets[run]
                if words[at] != runs[offsets[run]] or at + size > len(words):
                    continue
                if (kinds[run] == IS_ANSWER or kinds[run] == IS_CHOICE) and is_question[at]:
                    continue
                is_equal = True
                for word in range(1, size):
                    if words[at + word] != runs[offsets[run] + word]:
                        is_equal = False
                        break
                if is_equal:
                    is_found[run] = True
                    if kinds[run] != IS_NUMBER:
                        is_covered[at : at + size] = True
    has_question, has_answer, num_choices, num_numbers = False, False, 0, 0
    for run in range(len(kinds)):
        if is_found[run]:
            has_question |= kinds[run] == IS_QUESTION
            has_answer |= kinds[run] == IS_ANSWER
            num_choices += kinds[run] == IS_CHOICE
            num_numbers += kinds[run] == IS_NUMBER
    return has_question, has_answer, num_choices, num_numbers


def _spans(positions: Words, text: int, is_covered: NDArray[np.bool_], first_word: int) -> list[tuple[int, int]]:
    """Return (start, end) in bytes of the runs of covered words; is_covered begins with word `first_word`."""
    assert positions.starts is not None
    assert positions.ends is not None
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_covered, [False]]).astype(np.int8)))
    first = positions.offsets[text] + first_word
    starts, ends = positions.starts[first + edges[::2]], positions.ends[first + edges[1::2] - 1]
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _piece(text: pa.Scalar, start: int, end: int) -> str:
    return text.as_buffer()[start:end].to_pybytes().decode()[:PIECE_CHARS]
