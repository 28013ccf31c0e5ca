"""The words of each domain that shatter into the most pieces, counted in a bounded sample of texts.

Sample: per group (source, domain) the documents in the order of doc_id, equal texts once, of each the words that end
within its first 50,000 bytes, until `sample_bytes` are reached; the general text is sampled as one group. Neither
shards nor the order of rows change it. Looked at are the 64 groups with the most tokens.

Word: as in engine.text.words, with at least one letter, taken together whatever its case. Its pieces are those of every
form as it is written (tokens/pieces.py); extra tokens = pieces - occurrences, what one piece for each would have saved.
A word belongs to the domain if its rate, occurrences per word, is at least `min_rate_ratio` times that in the general
text; there one occurrence is added, so that a word which the general text lacks has a rate too.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.tokens.fit import GROUP, domain, is_general, rounded_down
from engine.annotate.tokens.pieces import piece_counts
from engine.text.words import split_words

if TYPE_CHECKING:
    from engine.annotate.tokens import Config
    from engine.formats.annotation import Corpus
    from engine.formats.tokenizer import Encoder

DOCUMENT_BYTES = 50_000
MAX_GROUPS = 64
_GENERAL = -1
"""Number of the general text among groups."""
SHATTERED_SCHEMA = {
    "source": pl.String,
    "domain": pl.String,
    "word": pl.String,  # folded
    "occurrences": pl.Int64,  # in the group's sample, as all counts here
    "documents": pl.Int64,
    "pieces": pl.Int64,  # of all occurrences
    "pieces_per_occurrence": pl.Float64,  # rounded down to 1e-4
    "extra_tokens": pl.Int64,  # pieces - occurrences
    "general_occurrences": pl.Int64,  # in the sample of the general text; null without it
    "rate_ratio": pl.Float64,  # rounded down to 1e-4; null without general text
    "sampled_words": pl.Int64,  # of the group
}


@dataclass
class WordCounts:
    """Words of a group's sample."""

    forms: Counter[str] = field(default_factory=Counter)
    """Word as written -> occurrences."""
    documents: Counter[str] = field(default_factory=Counter)
    """Folded word -> documents that hold it."""

    def add(self, forms: list[str]) -> None:
        """Count the words of one document."""
        self.forms.update(forms)
        self.documents.update({form.casefold() for form in set(forms)})

    def folded(self) -> Counter[str]:
        """Folded word -> occurrences."""
        found: Counter[str] = Counter()
        for form, occurrences in self.forms.items():
            found[form.casefold()] += occurrences
        return found


def shattered_words(corpus: "Corpus", config: "Config", groups: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of shattered.parquet; the most extra tokens first in each group, ties by the word.

    groups: as from `group_sums`, in whose order the groups come; those of the general text are left out.
    """
    from engine.formats.encoder import open_encoder

    looked_at = groups.filter(~pl.col("is_general")).with_row_index("group")
    largest = looked_at.sort(["tokens", "group"], descending=[True, False]).head(MAX_GROUPS)["group"]
    keys = looked_at.filter(pl.col("group").is_in(largest.implode()))
    counts = _counted(corpus, _sample(corpus, config, keys))
    general = counts[_GENERAL].folded() if _GENERAL in counts else None
    encode = open_encoder(Path(config.tokenizer))
    rows = []
    for group in keys.select("group", *GROUP).iter_rows(named=True):
        found = _of_group(encode, counts.get(group["group"], WordCounts()), general, config)
        rows += [{name: group[name] for name in GROUP} | row for row in found]
    return pl.DataFrame(rows, schema=SHATTERED_SCHEMA)


def _sample(corpus: "Corpus", config: "Config", keys: pl.DataFrame) -> pl.DataFrame:
    """Return shard, row (UInt32) and group (Int64) of the documents whose words are counted."""
    names = ["doc_id", "source", "text_digest", "num_bytes", config.domain_column]
    everything = corpus.all_columns(list(dict.fromkeys(names)))
    documents = (
        everything.with_columns(domain(everything, config))
        .drop_nulls("text_digest")
        .join(keys.select(pl.col("group").cast(pl.Int64), *GROUP), on=GROUP, how="left", nulls_equal=True)
        .with_columns(pl.when(is_general(config.general)).then(_GENERAL).otherwise("group").alias("group"))
        .drop_nulls("group")
    )
    own = pl.col("num_bytes").clip(upper_bound=DOCUMENT_BYTES)
    read_before = (own.cum_sum() - own).over("group")
    different = documents.sort("doc_id").unique(["group", "text_digest"], keep="first", maintain_order=True)
    return different.filter(read_before < config.sample_bytes).select("shard", "row", "group")


def _counted(corpus: "Corpus", sample: pl.DataFrame) -> dict[int, WordCounts]:
    """Return the words of each group's sample; a shard's text is read only where documents of it are in the sample."""
    shards = list(corpus.shards)
    counts: dict[int, WordCounts] = {}
    for (number,), rows in sample.group_by("shard", maintain_order=True):
        texts = shards[int(str(number))].read_text().take(pa.array(rows["row"].to_numpy())).combine_chunks()
        words = split_words(texts, with_positions=True)
        assert words.starts is not None
        assert words.ends is not None
        for place, (text, group) in enumerate(zip(texts.to_pylist(), rows["group"], strict=True)):
            of_text = slice(words.offsets[place], words.offsets[place + 1])
            forms = _forms(text.encode(), words.starts[of_text], words.ends[of_text])
            counts.setdefault(group, WordCounts()).add(forms)
    return counts


def _forms(data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> list[str]:
    """Return the words of a text, as written."""
    num_words = int(np.searchsorted(ends, DOCUMENT_BYTES, side="right"))
    spans = zip(starts[:num_words].tolist(), ends[:num_words].tolist(), strict=True)
    return [data[start:end].decode() for start, end in spans]


def _of_group(
    encode: "Encoder", counts: WordCounts, in_general: Counter[str] | None, config: "Config"
) -> list[dict[str, Any]]:
    """Return the words listed for a group, without its name; in_general: folded word -> occurrences there."""
    occurrences, sampled_words = counts.folded(), counts.forms.total()
    rates = _rates(counts, occurrences, in_general, config)
    rows: list[dict[str, Any]] = [
        {
            "word": word,
            "occurrences": occurrences[word],
            "documents": counts.documents[word],
            "pieces": pieces,
            "pieces_per_occurrence": rounded_down(pieces, occurrences[word]),
            "extra_tokens": pieces - occurrences[word],
            "general_occurrences": in_general[word] if in_general is not None else None,
            "rate_ratio": rounded_down(*rates[word]) if in_general is not None else None,
            "sampled_words": sampled_words,
        }
        for word, pieces in _pieces(encode, counts.forms, rates).items()
        if pieces > occurrences[word]
    ]
    return sorted(rows, key=lambda row: (-row["extra_tokens"], row["word"]))[: config.max_words]


def _rates(
    counts: WordCounts, occurrences: Counter[str], in_general: Counter[str] | None, config: "Config"
) -> dict[str, tuple[int, int]]:
    """Return the words of the domain, each with its rate over that in the general text as a fraction of integers."""
    words, general_words = occurrences.total(), in_general.total() if in_general is not None else 0
    rates = {
        word: (number * (general_words + 1), words * (in_general[word] + 1) if in_general is not None else 0)
        for word, number in occurrences.items()
        if counts.documents[word] >= config.min_documents and any(map(str.isalpha, word))
    }
    return {word: rate for word, rate in rates.items() if rate[0] >= config.min_rate_ratio * rate[1]}


def _pieces(encode: "Encoder", forms: Counter[str], wanted: Container[str]) -> dict[str, int]:
    """Return folded word -> pieces of all its occurrences, each as it is written."""
    chosen = {form: occurrences for form, occurrences in forms.items() if form.casefold() in wanted}
    pieces: dict[str, int] = {}
    for (form, occurrences), count in zip(chosen.items(), piece_counts(encode, list(chosen)), strict=True):
        word = form.casefold()
        pieces[word] = pieces.get(word, 0) + occurrences * count
    return pieces
