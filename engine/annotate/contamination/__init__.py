"""Contamination: which training documents hold a passage that is meant for measuring.

A document is contaminated by a held-out document when it holds at least half (`min_fraction`) of that document's
distinct 13-grams of loose words (engine.text.loose), or, where the held-out document has fewer words than that, all of
it as one run of words. Jaccard similarity would miss a short passage in a long document. Members of held-out groups are
not searched: they stay out of training anyway.

1. train: the index of the split's held-out documents              (index.py)
2. annotate: every item each document of a shard holds             (search.py)
3. combine: hits of all documents, and how well the search finds    (coverage.py)

hits.parquet       doc_id, item_id (doc_id of the held-out document), set, fraction, evidence; by doc_id, best first
coverage.parquet   per set: items, matchable items, searched and contaminated documents, recall on planted copies
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
from pydantic import Field

from engine.base.atomic import write_json
from engine.base.stage import Column, StageConfig
from engine.formats.documents import Shard
from engine.formats.parquet import write_parquet
from engine.formats.split import Split

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus, ShardView

SCOPE = "corpus"
VERSION = 1
NEEDS = ("split",)
READS = ("doc_id", "text", "text_digest")
ADDS = {
    "contamination__item_id": Column(pl.Binary, "doc_id of the held-out document it holds most of; null if clean"),
    "contamination__set": Column(pl.String, "held-out set of that document; null if clean"),
    "contamination__fraction": Column(pl.Float64, "fraction of that document's n-grams it holds; null if clean"),
}
DROPS = {"contaminated": "contamination__item_id IS NOT NULL"}
_HITS = pl.List(pl.Struct({"item_id": pl.Binary, "set": pl.String, "fraction": pl.Float64, "evidence": pl.String}))


class Config(StageConfig):
    """Options of contamination."""

    stage: Literal["contamination"] = "contamination"
    against: Literal["heldout"] = Field(
        default="heldout", description="what is searched for: the split's held-out sets"
    )
    ngram_words: int = Field(default=13, ge=2, le=100, description="words per n-gram")
    min_fraction: float = Field(default=0.5, gt=0, le=1, description="fraction of an item's n-grams that contaminates")
    min_item_words: int = Field(default=5, ge=1, description="words below which an item is not searched for")
    planted_items: int = Field(default=50, ge=1, description="items per set whose copies are planted to measure recall")
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of what is planted where")


def part_config(config: Config) -> dict[str, object]:
    """What the hits of a shard depend on."""
    return config.model_dump(mode="json", include={"against", "ngram_words", "min_fraction", "min_item_words"})


def train(corpus: "Corpus", config: Config, folder: Path) -> None:
    """Write the index of the held-out documents to `folder`."""
    from engine.annotate.contamination.index import write_index

    write_index(_passages(corpus), config.ngram_words, config.min_item_words, folder)


def annotate(shard: "ShardView", config: Config, model: Path) -> pl.DataFrame:
    """Return the hits of every document of the shard, as a list: `hits`."""
    from engine.annotate.contamination.index import load_index
    from engine.annotate.contamination.search import search

    index = load_index(model)
    items = index.items.select("item_id", "set").with_row_index("item")
    found = search(shard.text, index, config.min_fraction).join(items, on="item", how="left", maintain_order="left")
    hits = found.group_by("row", maintain_order=True).agg(
        pl.struct("item_id", "set", "fraction", "evidence").alias("hits")
    )
    rows = pl.DataFrame({"row": pl.int_range(len(shard.text), dtype=pl.UInt32, eager=True)})
    none = pl.lit([], dtype=_HITS)
    return rows.join(hits, on="row", how="left", maintain_order="left").select(
        pl.col("hits").fill_null(none).cast(_HITS)
    )


def combine(corpus: "Corpus", config: Config, folder: Path) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield the columns of every shard; leaves hits.parquet, coverage.parquet and details.json in `folder`."""
    held_out = Split(corpus.artifacts["split"], "").groups().select("doc_id")
    documents = corpus.all_columns(["doc_id", "text_digest"])
    searched = documents.filter(pl.col("text_digest").is_not_null()).join(held_out, on="doc_id", how="anti")
    parts = [corpus.part(shard).with_columns(corpus.columns(shard, ["doc_id"])) for shard in corpus.shards]
    all_hits = pl.concat([_hits(part).join(held_out, on="doc_id", how="anti") for part in parts])
    hits = all_hits.sort(["doc_id", "fraction", "item_id"], descending=[False, True, False])
    write_parquet(folder / "hits.parquet", hits)
    write_parquet(folder / "coverage.parquet", _sheet(corpus, config, searched, hits, folder))
    counts = {"searched_documents": searched.height, "contaminated_documents": hits["doc_id"].n_unique()}
    write_json(folder / "details.json", counts)
    best = hits.unique("doc_id", keep="first", maintain_order=True).select(
        "doc_id", *(pl.col(name).alias(f"contamination__{name}") for name in ("item_id", "set", "fraction"))
    )
    for shard in corpus.shards:
        doc_ids = corpus.columns(shard, ["doc_id"])
        yield shard, doc_ids.join(best, on="doc_id", how="left", maintain_order="left").drop("doc_id")


def _hits(part: pl.DataFrame) -> pl.DataFrame:
    return (
        part.filter(pl.col("hits").list.len() > 0)
        .explode("hits")
        .unnest("hits")
        .select("doc_id", "item_id", "set", "fraction", "evidence")
    )


def _sheet(corpus: "Corpus", config: Config, searched: pl.DataFrame, hits: pl.DataFrame, folder: Path) -> pl.DataFrame:
    import tempfile

    from engine.annotate.contamination.coverage import coverage, host_texts, plant
    from engine.annotate.contamination.index import load_index, write_index

    passages = _passages(corpus)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as scratch:
        write_index(passages, config.ngram_words, config.min_item_words, Path(scratch))
        index = load_index.__wrapped__(Path(scratch))
    clean = searched.join(hits.select("doc_id"), on="doc_id", how="anti")
    hosts = host_texts(corpus, clean, config.planted_items, config.seed)
    planted = plant(passages, index, hosts, config.min_fraction, config.planted_items, config.seed)
    return coverage(index, planted, searched.height, hits)


def _passages(corpus: "Corpus") -> pl.DataFrame:
    held_out = Split(corpus.artifacts["split"], "").heldout()
    return held_out.select(pl.col("doc_id").alias("item_id"), "set", "text")
