"""The columns of heuristics: each a count, or one count divided by another."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.annotate._units import UNITS
from engine.annotate.heuristics.counts import DUPLICATE_NGRAMS, STOP_WORDS, TOP_NGRAMS, Count
from engine.base.stage import Column


@dataclass(frozen=True)
class Measure:
    """The sum of counts, divided by one of them if `of` is set; and what that means."""

    parts: tuple[Count, ...]
    of: Count | None
    meaning: str
    dtype: type[pl.DataType] = pl.UInt32

    def values(self, counts: NDArray[np.int64]) -> pl.Series:
        """Return the column of int64[num_documents, len(Count)]; fractions are rounded down to 1e-4, null over 0."""
        part = counts[:, self.parts].sum(axis=1)
        if self.of is None:
            return pl.Series(part).cast(self.dtype)
        whole = counts[:, self.of]
        units = part * UNITS // np.maximum(whole, 1)
        return pl.select(pl.when(pl.Series(whole > 0)).then(pl.Series(units / UNITS))).to_series()

    @property
    def column(self) -> Column:
        """Type and meaning."""
        return Column(self.dtype if self.of is None else pl.Float64, self.meaning)


def _number(count: Count, meaning: str, dtype: type[pl.DataType] = pl.UInt32) -> Measure:
    return Measure((count,), None, meaning, dtype)


def _fraction(part: Count | tuple[Count, ...], of: Count, meaning: str) -> Measure:
    return Measure(part if isinstance(part, tuple) else (part,), of, meaning)


_MEASURES = {
    "num_words": _number(Count.WORDS, "words of engine.text.words; each character of Han, kana, Thai is one"),
    "num_chars": _number(Count.CHARS, "characters (code points)"),
    "num_runs": _number(Count.RUNS, "runs of characters that are not white space"),
    "num_lines": _number(Count.LINES, "lines that are not blank"),
    "num_paragraphs": _number(Count.PARAGRAPHS, "paragraphs: stretches of lines that are not blank"),
    "num_sentences": _number(Count.SENTENCES, "sentences; a line ends one, too"),
    "mean_word_chars": _fraction(
        Count.RUN_CHARS, Count.RUNS, "characters that are not white space, per run of them (Gopher: 3 to 10)"
    ),
    "longest_word_chars": _number(Count.LONGEST_RUN, "characters of the longest run (C4: at most 1000 in a line)"),
    "alpha_word_fraction": _fraction(
        Count.ALPHA_RUNS,
        Count.RUNS,
        "runs that hold a letter (outside ASCII also a number or mark), of all runs (Gopher: at least 0.8)",
    ),
    "symbol_fraction": _fraction(
        (Count.HASHES, Count.ELLIPSES),
        Count.RUNS,
        "number signs, ellipsis characters and triples of full stops, per run; can exceed 1",
    ),
    "hash_fraction": _fraction(Count.HASHES, Count.RUNS, "number signs per run; can exceed 1 (Gopher: at most 0.1)"),
    "ellipsis_fraction": _fraction(
        Count.ELLIPSES,
        Count.RUNS,
        "ellipsis characters and triples of full stops, per run; can exceed 1 (Gopher: at most 0.1)",
    ),
    "digit_fraction": _fraction(Count.DIGITS, Count.CHARS, "digits 0 to 9, of all characters"),
    "num_stop_words": _number(
        Count.STOP_WORDS,
        f"how many of these {len(STOP_WORDS)} words occur: {', '.join(STOP_WORDS)} (Gopher: at least 2)",
        pl.UInt8,
    ),
    "bullet_line_fraction": _fraction(
        Count.BULLET_LINES,
        Count.LINES,
        "lines that begin with a hyphen, asterisk or bullet, of all lines (Gopher: at most 0.9)",
    ),
    "ellipsis_line_fraction": _fraction(
        Count.ELLIPSIS_LINES,
        Count.LINES,
        "lines that end with an ellipsis or three full stops, of all lines (Gopher: at most 0.3)",
    ),
    "terminal_line_fraction": _fraction(
        Count.TERMINAL_LINES,
        Count.LINES,
        "lines that end with a full stop, ! or ? or a closing double quote, of all lines (C4 keeps only these)",
    ),
    "punctuation_line_fraction": _fraction(
        Count.PUNCTUATION_LINES,
        Count.LINES,
        "lines that end with a stop of any script or a closing quote, of all lines (FineWeb: more than 0.12)",
    ),
    "line_under_3_words_fraction": _fraction(
        Count.LINES_UNDER_3_RUNS, Count.LINES, "lines of fewer than 3 runs, of all lines"
    ),
    "line_under_5_words_fraction": _fraction(
        Count.LINES_UNDER_5_RUNS, Count.LINES, "lines of fewer than 5 runs, of all lines (C4 drops these)"
    ),
    "line_under_30_chars_fraction": _fraction(
        Count.LINES_UNDER_30_CHARS, Count.LINES, "lines of fewer than 30 characters, of all lines (FineWeb: below 0.67)"
    ),
    "newline_fraction": _fraction(
        Count.LINE_FEEDS, Count.WORDS, "line feeds per word of engine.text.words; can exceed 1 (datatrove: at most 0.3)"
    ),
    "num_lorem_ipsum": _number(Count.LOREM_IPSUMS, "occurrences of `lorem ipsum` in any case (C4: none)"),
    "num_curly_brackets": _number(Count.CURLY_BRACKETS, "opening curly brackets (C4: none)"),
    "javascript_line_fraction": _fraction(
        Count.JAVASCRIPT_LINES, Count.LINES, "lines that hold `javascript` in any case, of all lines (C4 drops these)"
    ),
    "policy_line_fraction": _fraction(
        Count.POLICY_LINES, Count.LINES, "lines that hold a phrase of C4's on cookies, terms of use, privacy, of all"
    ),
    "c4_line_fraction": _fraction(Count.C4_LINES, Count.LINES, "lines that C4's rules for lines keep, of all lines"),
    "num_c4_sentences": _number(Count.C4_SENTENCES, "sentences in the lines that C4 keeps (C4: at least 3)"),
    "duplicate_line_fraction": _fraction(
        Count.REPEATED_LINES,
        Count.LINES,
        "lines that occurred before in the text, white space around them apart, of all lines (Gopher: at most 0.3)",
    ),
    "duplicate_line_char_fraction": _fraction(
        Count.REPEATED_LINE_CHARS,
        Count.LINE_CHARS,
        "characters in lines that occurred before, of those in all lines (Gopher: at most 0.2, FineWeb: below 0.1)",
    ),
    "duplicate_paragraph_fraction": _fraction(
        Count.REPEATED_PARAGRAPHS,
        Count.PARAGRAPHS,
        "paragraphs that occurred before in the text, of all paragraphs (Gopher: at most 0.3)",
    ),
    "duplicate_paragraph_char_fraction": _fraction(
        Count.REPEATED_PARAGRAPH_CHARS,
        Count.LINE_CHARS,
        "characters in paragraphs that occurred before, of those in all lines (Gopher: at most 0.2)",
    ),
    "top_2gram_fraction": _fraction(
        Count.TOP_PAIR, Count.PAIRS, "occurrences of the most frequent two words in a row, of all pairs of neighbours"
    ),
    "duplicate_5gram_fraction": _fraction(
        Count.REPEATED_FIVES, Count.FIVES, "five words in a row that occurred before in the text, of all such fives"
    ),
}
_TOP_LIMITS, _DUPLICATE_LIMITS = (0.2, 0.18, 0.16), (0.15, 0.14, 0.13, 0.12, 0.11, 0.1)
_NGRAM_MEASURES = {
    f"top_{num_words}gram_char_fraction": _fraction(
        Count(Count.TOP_2GRAM_CHARS + place),
        Count.WORD_CHARS,
        f"characters of words in the most frequent {num_words} words in a row, 0 where none occurs twice, of those of "
        f"all words; can exceed 1 (Gopher: at most {limit})",
    )
    for place, (num_words, limit) in enumerate(zip(TOP_NGRAMS, _TOP_LIMITS, strict=True))
} | {
    f"duplicate_{num_words}gram_char_fraction": _fraction(
        Count(Count.REPEATED_5GRAM_CHARS + place),
        Count.WORD_CHARS,
        f"characters of words that stand in {num_words} words in a row that occurred before in the text, of those of "
        f"all words (Gopher: at most {limit})",
    )
    for place, (num_words, limit) in enumerate(zip(DUPLICATE_NGRAMS, _DUPLICATE_LIMITS, strict=True))
}
MEASURES = {f"heuristics__{name}": measure for name, measure in (_MEASURES | _NGRAM_MEASURES).items()}
"""Column -> how it is made, in the order of the columns."""
