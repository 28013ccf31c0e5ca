"""Exact duplicates over all sources: which document stays for each group of equal texts.

Equal means the same 128-bit digest of the UTF-8 text, so nothing is read but core columns. The document that stays is
the best in the order of near_dup: pinned source, source priority, score, length, doc_id. Documents of a pinned source
always stay, even beside each other. Rows without text are no duplicates of each other.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
from pydantic import Field

from engine.base.atomic import write_json
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
    "exact_dup__group_documents": Column(pl.UInt32, "documents with this text, itself included; null without text"),
}
DROPS = {"exact_duplicate": "exact_dup__kept_id IS NOT NULL"}


class Config(StageConfig):
    """Options of exact_dup."""

    stage: Literal["exact_dup"] = "exact_dup"
    score: str | None = Field(
        default=None, description="column that decides who stays, higher first, after pinned and priority"
    )


def READS(config: Config) -> tuple[str, ...]:  # noqa: N802 - the name is the contract's
    """Columns read: never the text itself."""
    return ("doc_id", "source", "text_digest", "num_chars", *([config.score] if config.score is not None else []))


def part_config(_config: Config) -> dict[str, object]:
    """What a shard part depends on: no option at all."""
    return {}


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:  # noqa: ARG001 - the signature is the contract's
    """Return whether each row has text (`has_text`); the digests themselves are core columns."""
    return shard.columns(["text_digest", "num_chars"]).select(_has_text().alias("has_text"))


def combine(corpus: "Corpus", config: Config, folder: Path) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield the columns of every shard; leaves details.json (counts) in `folder`."""
    from engine.annotate._keep_order import read_ranked

    documents = read_ranked(corpus, ["text_digest", "num_chars"], config.score)
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
