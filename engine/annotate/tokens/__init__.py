"""How many tokens each document has under a target tokenizer, and how well that tokenizer fits each domain.

Counts are those of the whole text, encoded without anything added; what looks like a special token counts as the plain
text it is. Words are those of engine.text.words. `annotate` stores tokens and words per document; `combine` makes the
columns from them and leaves, without encoding the texts again,

fit.parquet         source, domain, is_general, documents, bytes, words, tokens, tokens_per_word, tokens_per_byte,
                    bytes_per_token, ratio_per_word and ratio_per_byte to the general text, tokens_over_general
shattered.parquet   the words of each domain that a vocabulary of its own would save most tokens on, from a bounded
                    sample of texts (tokens/shattered.py)
details.json        totals

The general text is that of the sources named in `general`; without it the comparisons are null. All ratios come from
integers and are rounded down to 1e-4.

Fertility, tokens per word, as the measure of how well a vocabulary suits a text: Acs, "Exploring BERT's Vocabulary"
(2019); Rust et al., "How Good is Your Tokenizer?" (ACL 2021). Both tokenizer libraries release the GIL. Those
of Hugging Face use threads of their own, and need about 125 bytes of memory for each byte of the longest document.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from engine.annotate._units import UNITS, as_fraction
from engine.annotate.tokens.fit import General, fit_table, group_sums
from engine.annotate.tokens.shattered import shattered_words
from engine.base.atomic import write_json
from engine.base.errors import RecipeError, unknown
from engine.base.stage import Column, StageConfig
from engine.formats.parquet import write_parquet

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus, ShardView
    from engine.formats.documents import Shard
    from engine.formats.tokenizer import Encoder

SCOPE = "corpus"
VERSION = 1
FILES = ("tokenizer",)
PART_READS = ("text",)
ADDS = {
    "tokens__count": Column(pl.UInt32, "tokens of the text, nothing added; null without text"),
    "tokens__per_word": Column(pl.Float64, "tokens per word, rounded down to 1e-4; null without words"),
    "tokens__per_byte": Column(pl.Float64, "tokens per byte of UTF-8, rounded down to 1e-4; null without text"),
}
BATCH_BYTES = 1 << 20
"""Text encoded at once; a longer document is encoded alone."""


class Config(StageConfig):
    """Options of tokens."""

    stage: Literal["tokens"] = "tokens"
    tokenizer: str = Field(
        description="tokenizer folder of provender, tokenizer.json, tokenizer.model, or a folder that holds one of them"
    )
    general: General | None = Field(default=None, description="the text that domains are compared with: {sources: []}")
    domain_column: str = Field(default="domain", description="column of the domain; groups are source and domain")
    sample_bytes: int = Field(
        default=4_000_000, ge=1_000, description="bytes of text per group in which words are looked for"
    )
    max_words: int = Field(default=50, ge=1, le=10_000, description="shattered words listed per group")
    min_documents: int = Field(default=2, ge=1, description="documents of the sample that such a word has to be in")
    min_rate_ratio: int = Field(
        default=5, ge=1, description="how many times as frequent as in the general text such a word has to be"
    )


def READS(config: Config) -> tuple[str, ...]:  # noqa: N802 - the contract's
    """Return the columns it reads: the domain's is named in the config."""
    return tuple(dict.fromkeys(("doc_id", "source", "text", "text_digest", "num_bytes", config.domain_column)))


def part_config(config: Config) -> dict[str, Any]:
    """Return what the counts depend on: the tokenizer alone."""
    return {"tokenizer": config.tokenizer}


def check_files(config: Config) -> None:
    """Raise InputError where the tokenizer is none we can open."""
    from engine.formats.encoder import open_encoder

    open_encoder(Path(config.tokenizer))


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return tokens (UInt32, null without text) and words (UInt32) of every document of the shard."""
    from engine.formats.encoder import open_encoder

    encode = open_encoder(Path(config.tokenizer))
    texts = pl.Series("text", pl.from_arrow(shard.text), dtype=pl.String)
    return pl.DataFrame(
        {"tokens": count_tokens(encode, texts), "words": shard.words.num_words},
        schema={"tokens": pl.UInt32, "words": pl.UInt32},
    )


def count_tokens(encode: "Encoder", texts: pl.Series) -> pl.Series:
    """Return the tokens of each text, null of a null one: Int64."""
    rows = pl.DataFrame({"text": texts}).with_row_index("row").drop_nulls("text")
    sizes = rows["text"].str.len_bytes().cast(pl.Int64)
    counts = np.full(len(texts), -1, dtype=np.int64)
    for _, batch in rows.group_by((sizes.cum_sum() - sizes) // BATCH_BYTES, maintain_order=True):
        counts[batch["row"].to_numpy()] = [ids.size for ids in encode(batch["text"].to_list())]
    return pl.select(pl.when(pl.Series(counts >= 0)).then(pl.Series(counts))).to_series()


def combine(corpus: "Corpus", config: Config, folder: Path) -> Iterator[tuple["Shard", pl.DataFrame]]:
    """Write fit.parquet, shattered.parquet and details.json, and yield the columns of every shard.

    Raises RecipeError where a source of the general text does not exist.
    """
    names = [source.name for source in corpus.sources]
    for name in config.general.sources if config.general else ():
        if name not in names:
            raise RecipeError(unknown(f"{config.column_prefix}: general.sources", "source", name, names))
    groups = group_sums(corpus, config)
    fit = fit_table(groups)
    shattered = shattered_words(corpus, config, groups)
    write_parquet(folder / "fit.parquet", fit)
    write_parquet(folder / "shattered.parquet", shattered)
    totals = {name: int(fit[name].sum()) for name in ("documents", "bytes", "words", "tokens")}
    write_json(folder / "details.json", {**totals, "groups": fit.height, "shattered_words": shattered.height})
    for shard in corpus.shards:
        counted = corpus.part(shard).with_columns(corpus.columns(shard, ["num_bytes"])["num_bytes"])
        yield (
            shard,
            counted.select(
                pl.col("tokens").alias("tokens__count"),
                _ratio("tokens", "words").alias("tokens__per_word"),
                _ratio("tokens", "num_bytes").alias("tokens__per_byte"),
            ),
        )


def _ratio(part: str, whole: str) -> pl.Expr:
    """Return part / whole in integers, rounded down to 1e-4; null where the whole is 0 or the part is null."""
    units = pl.col(part).cast(pl.Int64) * UNITS // pl.col(whole).cast(pl.Int64)
    return pl.when(pl.col(whole) > 0).then(as_fraction(units))
