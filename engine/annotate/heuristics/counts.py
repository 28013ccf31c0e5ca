"""What is counted in a text, as integers, and the passes that count it."""

from collections.abc import Iterator
from enum import IntEnum, auto

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

TOP_NGRAMS = (2, 3, 4)
"""Words of the n-grams of which Gopher looks at the most frequent one."""
DUPLICATE_NGRAMS = (5, 6, 7, 8, 9, 10)
"""Words of the n-grams of which Gopher looks at all that occur again."""
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""The English words of which Gopher wants at least two."""


class Count(IntEnum):
    """What is counted in a text: the columns of `count_texts`. A run is one of characters that are not white space."""

    CHARS = 0
    DIGITS = auto()
    RUNS = auto()
    RUN_CHARS = auto()
    ALPHA_RUNS = auto()
    """Runs that hold a letter."""
    LONGEST_RUN = auto()
    """Characters of the longest run."""
    HASHES = auto()
    ELLIPSES = auto()
    """Ellipsis characters, and triples of full stops in a row."""
    CURLY_BRACKETS = auto()
    LOREM_IPSUMS = auto()
    LINE_FEEDS = auto()
    SENTENCES = auto()
    LINES = auto()
    """Lines that are not blank; so all other counts of lines."""
    LINE_CHARS = auto()
    """Characters of lines without the white space around them."""
    BULLET_LINES = auto()
    ELLIPSIS_LINES = auto()
    TERMINAL_LINES = auto()
    PUNCTUATION_LINES = auto()
    LINES_UNDER_3_RUNS = auto()
    LINES_UNDER_5_RUNS = auto()
    LINES_UNDER_30_CHARS = auto()
    JAVASCRIPT_LINES = auto()
    POLICY_LINES = auto()
    C4_LINES = auto()
    """Lines that C4 keeps."""
    C4_SENTENCES = auto()
    """Sentences in them."""
    REPEATED_LINES = auto()
    """Lines that occurred before in the text."""
    REPEATED_LINE_CHARS = auto()
    PARAGRAPHS = auto()
    """Stretches of lines that are not blank."""
    REPEATED_PARAGRAPHS = auto()
    REPEATED_PARAGRAPH_CHARS = auto()
    WORDS = auto()
    """Words of engine.text.words; so all other counts of words."""
    WORD_CHARS = auto()
    STOP_WORDS = auto()
    """How many different ones of them."""
    PAIRS = auto()
    """Pairs of neighbouring words."""
    TOP_PAIR = auto()
    """Occurrences of the most frequent pair."""
    FIVES = auto()
    """Five neighbouring words."""
    REPEATED_FIVES = auto()
    """Those that occurred before in the text."""
    TOP_2GRAM_CHARS = auto()
    """Characters of the words of all occurrences of the most frequent n-gram, of those with 3 and 4 words behind."""
    TOP_3GRAM_CHARS = auto()
    TOP_4GRAM_CHARS = auto()
    REPEATED_5GRAM_CHARS = auto()
    """Characters of the words that stand in an n-gram that occurred before, of those with 6 to 10 words behind."""
    REPEATED_6GRAM_CHARS = auto()
    REPEATED_7GRAM_CHARS = auto()
    REPEATED_8GRAM_CHARS = auto()
    REPEATED_9GRAM_CHARS = auto()
    REPEATED_10GRAM_CHARS = auto()


def count_texts(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return int64[num_documents, len(Count)] of large strings; of a null text all counts are 0."""
    from engine.annotate.heuristics.characters import count_characters
    from engine.annotate.heuristics.ngrams import count_ngrams
    from engine.annotate.heuristics.repeats import count_repeats
    from engine.text.words import split_words

    counts = np.zeros((len(texts), len(Count)), dtype=np.int64)
    # Not by pyarrow, which imports pandas to look at a list, where there is one.
    stop_words = split_words(pl.Series(STOP_WORDS).to_arrow()).hashes
    for first, batch in _batches(texts):
        rows = counts[first : first + len(batch)]
        lines, paragraphs = count_characters(batch, rows)
        count_repeats(lines, rows, Count.REPEATED_LINES, Count.REPEATED_LINE_CHARS)
        count_repeats(paragraphs, rows, Count.REPEATED_PARAGRAPHS, Count.REPEATED_PARAGRAPH_CHARS)
        count_ngrams(split_words(batch, with_chars=True), stop_words, rows)
    return counts


def _batches(texts: pa.ChunkedArray) -> Iterator[tuple[int, pa.LargeStringArray]]:
    """Cut texts into arrays of a few megabytes, with the number of their first document, nulls made empty."""
    from engine.text.batches import slices

    first = 0
    for chunk in texts.chunks:
        # What lies under a null is undefined in Arrow; an empty text counts nothing.
        for batch in slices(chunk.fill_null("") if chunk.null_count else chunk):
            yield first, batch
            first += len(batch)
