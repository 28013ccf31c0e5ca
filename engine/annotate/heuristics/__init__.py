"""Raw measures of a text, for filters to set limits on: lengths, shares of characters and lines, repetition.

The measures of Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1) and C4 (Raffel et al. 2019, arXiv:1910.10683,
2.2), without their thresholds. A run is a maximal run of characters that are not white space, what those papers call a
word; words are those of engine.text.words. Lines end at a line feed; blank lines do not count. Fractions are rounded
down to 1e-4, and null where there is nothing to divide by.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.base.stage import Column, StageConfig

if TYPE_CHECKING:
    from engine.formats.annotation import ShardView
    from engine.text.words import Words

SCOPE = "shard"
VERSION = 1
READS = ("text",)
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""The English words of which Gopher wants at least two."""
ADDS = {
    "heuristics__num_words": Column(pl.UInt32, "words of engine.text.words; each character of Han, kana, Thai is one"),
    "heuristics__num_chars": Column(pl.UInt32, "characters (code points)"),
    "heuristics__mean_word_chars": Column(
        pl.Float64, "characters that are not white space, per run of them (Gopher: 3 to 10)"
    ),
    "heuristics__alpha_word_fraction": Column(
        pl.Float64, "runs that hold a letter (outside ASCII also a number or mark), of all runs (Gopher: at least 0.8)"
    ),
    "heuristics__symbol_fraction": Column(
        pl.Float64,
        "number signs, ellipsis characters and triples of full stops, per run; can exceed 1 (Gopher: at most 0.1)",
    ),
    "heuristics__digit_fraction": Column(pl.Float64, "digits 0 to 9, of all characters"),
    "heuristics__num_stop_words": Column(
        pl.UInt8, f"how many of these {len(STOP_WORDS)} words occur: {', '.join(STOP_WORDS)} (Gopher: at least 2)"
    ),
    "heuristics__bullet_line_fraction": Column(
        pl.Float64, "lines that begin with a hyphen, asterisk or bullet, of all lines (Gopher: at most 0.9)"
    ),
    "heuristics__ellipsis_line_fraction": Column(
        pl.Float64, "lines that end with an ellipsis or three full stops, of all lines (Gopher: at most 0.3)"
    ),
    "heuristics__terminal_line_fraction": Column(
        pl.Float64,
        "lines that end with a full stop, ! or ? or a closing double quote, of all lines (C4 keeps only these)",
    ),
    "heuristics__duplicate_line_fraction": Column(
        pl.Float64,
        "lines that occurred before in the text, white space around them apart, of all lines (Gopher: at most 0.3)",
    ),
    "heuristics__top_2gram_fraction": Column(
        pl.Float64, "occurrences of the most frequent two words in a row, of all pairs of neighbouring words"
    ),
    "heuristics__duplicate_5gram_fraction": Column(
        pl.Float64, "five words in a row that occurred before in the text, of all fives of neighbouring words"
    ),
}
UNITS = 10_000


class Config(StageConfig):
    """Options of heuristics: none."""

    stage: Literal["heuristics"] = "heuristics"


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:  # noqa: ARG001 - the signature is the contract's
    """Return the measures, one row per document."""
    from engine.annotate.heuristics.counts import Count, count_characters, count_repeats
    from engine.text.words import ngram_hashes

    counts, line_offsets, line_hashes = count_characters(shard.text)
    runs, lines = counts[:, Count.RUNS], counts[:, Count.LINES]
    distinct_lines, _ = count_repeats(line_offsets, line_hashes)
    pair_offsets, pairs = ngram_hashes(shard.words, 2)
    five_offsets, fives = ngram_hashes(shard.words, 5)
    num_fives = np.diff(five_offsets)
    measures = {
        "num_words": shard.words.num_words,
        "num_chars": counts[:, Count.CHARS],
        "mean_word_chars": _fraction(counts[:, Count.RUN_CHARS], runs),
        "alpha_word_fraction": _fraction(counts[:, Count.ALPHA_RUNS], runs),
        "symbol_fraction": _fraction(counts[:, Count.SYMBOLS], runs),
        "digit_fraction": _fraction(counts[:, Count.DIGITS], counts[:, Count.CHARS]),
        "num_stop_words": _stop_words(shard.words),
        "bullet_line_fraction": _fraction(counts[:, Count.BULLET_LINES], lines),
        "ellipsis_line_fraction": _fraction(counts[:, Count.ELLIPSIS_LINES], lines),
        "terminal_line_fraction": _fraction(counts[:, Count.TERMINAL_LINES], lines),
        "duplicate_line_fraction": _fraction(lines - distinct_lines, lines),
        "top_2gram_fraction": _fraction(count_repeats(pair_offsets, pairs)[1], np.diff(pair_offsets)),
        "duplicate_5gram_fraction": _fraction(num_fives - count_repeats(five_offsets, fives)[0], num_fives),
    }
    frame = pl.DataFrame({f"heuristics__{name}": values for name, values in measures.items()})
    return frame.cast({name: column.dtype for name, column in ADDS.items()})


def _fraction(part: NDArray[np.int64], whole: NDArray[np.int64]) -> pl.Series:
    """Return part / whole in integers, rounded down to 1e-4; null where the whole is 0."""
    units = part * UNITS // np.maximum(whole, 1)
    return pl.select(pl.when(pl.Series(whole > 0)).then(pl.Series(units / UNITS))).to_series()


def _stop_words(words: "Words") -> NDArray[np.int64]:
    """Return how many of the stop words each document has: int64[num_documents]."""
    from engine.text.words import split_words

    found = np.zeros(len(words.offsets) - 1, dtype=np.int64)
    for stop_word in split_words(pa.array(STOP_WORDS)).hashes:
        occurs = np.zeros(len(found), dtype=np.bool_)
        occurs[np.searchsorted(words.offsets, np.flatnonzero(words.hashes == stop_word), side="right") - 1] = True
        found += occurs
    return found
