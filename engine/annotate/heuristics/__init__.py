"""Raw measures of a text, for filters to set limits on: lengths, shares of characters and lines, repetition.

The measures of Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 and table A1), C4 (Raffel et al. 2019,
arXiv:1910.10683, 2.2) and FineWeb (Penedo et al. 2024, arXiv:2406.17557, 3.6), without their thresholds, which are in
the presets of filters (engine.select.presets). Fractions are rounded down to 1e-4, and null where there is nothing to
divide by.

Run        a maximal run of characters that are not white space, what those papers call a word; columns whose names say
           `word` of lengths, letters and lines are about runs. In scripts without spaces a run is a whole clause.
Word       of engine.text.words: case-folded, without punctuation; in scripts without spaces every character. The
           number of words, stop words and n-grams are of these, so n-grams repeat whatever their case and punctuation.
Line       what ends at a line feed, without the white space around it; blank lines do not count.
Paragraph  a stretch of lines that are not blank, equal to another if its lines are.
Sentence   ends with its line, or with . ! ? or an ellipsis (and closing quotes or brackets) where white space follows,
           unless a small letter a-z comes next; or with a stop of another script. C4 used NLTK's trained splitter.

Where papers and implementations differ:

- Again: lines, paragraphs and n-grams count from their second occurrence on, as in datatrove; RedPajama v2 and Dolma
  also count the first one of n-grams. What repeats is what would go if each were left once.
- Characters of n-grams are those of their words as folded, of those of all words, as in RedPajama v2 and Dolma, so that
  a share can reach 1. datatrove divides by all characters of the text, and so comes to about a fifth less in English.
- Characters of words in duplicate n-grams count once where n-grams overlap, also with their first occurrence (Gopher's
  text; datatrove skips n words behind each). Of the most frequent n-gram, all occurrences count in full, as everywhere.
  Among equally frequent ones the longest stands for them. Where none occurs twice, 0, as in RedPajama v2.
- Symbols: Gopher's limit is on `either` number signs or ellipses: two columns.
- C4 cuts lines; here nothing is cut, but the sentences of the lines it would leave are counted: at least 5 runs (the
  paper's later versions and the published code; datatrove takes 3), none longer than 1,000 characters, a terminal mark,
  no ellipsis, no `javascript`, no phrase on policies. It takes citation marks (`[1]`) out first; here they stay.
- Terminal marks: of C4 . ! ? and closing double quotes (datatrove adds the apostrophe); of FineWeb the stops of all
  scripts and closing quotes, as the code that made it.
"""

from typing import TYPE_CHECKING, Literal

import polars as pl

from engine.annotate.heuristics.measures import MEASURES
from engine.base.stage import StageConfig

if TYPE_CHECKING:
    from engine.formats.annotation import ShardView

SCOPE = "shard"
VERSION = 2
READS = ("text",)
ADDS = {name: measure.column for name, measure in MEASURES.items()}


class Config(StageConfig):
    """Options of heuristics: none."""

    stage: Literal["heuristics"] = "heuristics"


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:  # noqa: ARG001 - the signature is the contract's
    """Return the measures, one row per document."""
    from engine.annotate.heuristics.counts import count_texts

    # Words are split here once more, a few megabytes at a time: the view's lack the lengths that n-grams are made of.
    counts = count_texts(shard.text)
    return pl.DataFrame({name: measure.values(counts) for name, measure in MEASURES.items()})
