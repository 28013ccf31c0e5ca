"""Exact duplicates over all sources: which document stays for each group of equal texts.

compare: text   (the default) Equal means the same 128-bit digest of the UTF-8 text: only core columns are read.
compare: words  Equal means the same sequence of words (engine.text.words), by a 128-bit digest of their hashes; all
                texts are read once. White space, punctuation, symbols and case make no difference: "It's 5." and
                "it S (5)" are equal, "its 5" is not. Texts without any word are equal only where the texts are.

For prose `words` finds copies that were wrapped, quoted or typeset anew. In code it takes things for equal that are
not: indentation, operators, brackets and the case of names are no words, so `a + b` equals `a - b`, `if x < 1:` equals
`if x > 1:`, and a body inside a loop equals the same lines behind it. Numbers lose their sign (5 and -5), 1.5 equals
1,5, and C++ equals C. Leave code, formulas and tables at `text`.

The document that stays is the best in the order of near_dup: pinned source, source priority, score, length, doc_id.
Documents of a pinned source always stay, even beside each other. Rows without text are no duplicates of each other.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from pydantic import Field

from engine.base.atomic import write_json
from engine.base.hashing import DIGEST_BYTES, digests_of
from engine.base.stage import Column, StageConfig
from engine.formats.documents import Shard

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus, ShardView

SCOPE = "corpus"
VERSION = 1
ADDS = {
    "exact_dup__kept_id": Column(
        pl.Binary, "doc_id of the document that stays for this one; null for those that stay, or have no text"
    ),
    "exact_dup__group_documents": Column(pl.UInt32, "documents equal to this one, itself included; null without text"),
}
DROPS = {"exact_duplicate": "exact_dup__kept_id IS NOT NULL"}
PART_READS = ("text", "text_digest", "num_chars")
"""What a shard part is made of; the other columns of READS are for `combine` alone."""


class Config(StageConfig):
    """Options of exact_dup."""

    stage: Literal["exact_dup"] = "exact_dup"
    compare: Literal["text", "words"] = Field(
        default="text",
        description="what has to be equal: text, or words (case, punctuation, white space aside; not for code)",
    )
    score: str | None = Field(
        default=None, description="column that decides who stays, higher first, after pinned and priority"
    )


def READS(config: Config) -> tuple[str, ...]:  # noqa: N802 - the name is the contract's
    """Columns read; the text itself only where its words are compared."""
    text = ("text",) if config.compare == "words" else ()
    score = (config.score,) if config.score is not None else ()
    return ("doc_id", "source", "text_digest", "num_chars", *text, *score)


def part_config(config: Config) -> dict[str, object]:
    """What a shard part depends on: nothing where texts are compared, as no part holds anything of its own then."""
    return {} if config.compare == "text" else {"compare": config.compare}


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return whether each row has text (`has_text`), and with `compare: words` the digest of its words.

    words_digest: 16 bytes, null without words. The digests of the texts themselves are core columns.
    """
    has_text = shard.columns(["text_digest", "num_chars"]).select(_has_text().alias("has_text"))
    return has_text if config.compare == "text" else has_text.with_columns(words_digest=_words_digests(shard))


def combine(corpus: "Corpus", config: Config, folder: Path) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield the columns of every shard; leaves details.json (counts) in `folder`."""
    from engine.annotate._keep_order import read_ranked

    documents = read_ranked(corpus, ["text_digest", "num_chars"], config.score)
    if config.compare == "words":
        words_digests = pl.concat([corpus.part(shard)["words_digest"] for shard in corpus.shards])
        # Without words there is nothing to compare but the text.
        documents = documents.with_columns(text_digest=pl.coalesce(words_digests, "text_digest"))
    groups = (
        documents.filter(_has_text())
        .group_by("text_digest")
        .agg(
            pl.col("doc_id").sort_by("rank").first().alias("survivor"),
            pl.len().cast(pl.UInt32).alias("exact_dup__group_documents"),
        )
    )
    stays = pl.col("pinned") | (pl.col("doc_id") == pl.col("survivor"))
    columns = documents.join(groups, on="text_digest", how="left", maintain_order="left").select(
        pl.when(~stays).then("survivor").alias("exact_dup__kept_id"),
        pl.when(_has_text()).then("exact_dup__group_documents").alias("exact_dup__group_documents"),
    )
    counts = {
        "duplicate_documents": int(columns["exact_dup__kept_id"].is_not_null().sum()),
        "largest_group_documents": columns["exact_dup__group_documents"].max() or 0,
    }
    write_json(folder / "details.json", counts)
    start = 0
    for shard in corpus.shards:
        yield shard, columns.slice(start, shard.num_rows)
        start += shard.num_rows


def _has_text() -> pl.Expr:
    # The digest is null where there is no text or only white space.
    return pl.col("text_digest").is_not_null() & (pl.col("num_chars") > 0)


def _words_digests(shard: "ShardView") -> pl.Series:
    """Return the digest of each document's sequence of word hashes: Binary, 16 bytes, null without words."""
    words = shard.words
    # Words are cut out of their hashes as little-endian bytes, so a digest is the same on every machine.
    hashes = words.hashes.astype("<u8", copy=False).data.cast("B")
    digests = digests_of(hashes, (words.offsets * words.hashes.itemsize).tolist())
    each = pl.Series(np.frombuffer(digests, dtype=f"V{DIGEST_BYTES}").tolist(), dtype=pl.Binary)
    has_words = pl.Series(words.num_words > 0)
    return pl.select(pl.when(has_words).then(each)).to_series()
