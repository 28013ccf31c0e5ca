"""Contamination: which training documents hold what is meant for measuring, questions of benchmarks or held-out text.

1. train: the items of the recipe's benchmarks and of the split's held-out sets, one index     (items.py, targets.py,
                                                                                               index.py)
2. annotate: what every document of a shard holds of it, kept as it is                         (search.py)
3. combine: weights of n-grams from the whole corpus, and the decisions                        (judge.py)
            what could be found, what is found of planted copies, what is flagged falsely      (coverage.py)

A held-out document is searched for as a passage: who holds half of its 13-grams is contaminated (a Jaccard similarity
would miss a short passage in a long document). Members of held-out groups are not searched: they stay out anyway.

hits.parquet         doc_id, benchmark, item, kind, score, evidence, spans (bytes of the text), item_text (the question
                     or passage that was found, as it stands in the item); by doc_id, best first.
                     A held-out set stands as a benchmark of its name, its items are doc_ids in hexadecimal digits
coverage.parquet     coverage.SCHEMA, one row per benchmark
unmatchable.parquet  benchmark, item, why: what no search can find
ngram_counts.parquet ngram, documents: how many of those searched have an n-gram of the index, where any has
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import Field

from engine.base.atomic import write_json
from engine.base.stage import Column, StageConfig
from engine.formats.documents import Shard
from engine.formats.items import read_items
from engine.formats.parquet import write_parquet
from engine.formats.split import Split
from engine.text.spans import SPAN, merged_spans, without_spans

if TYPE_CHECKING:
    from engine.annotate.contamination.index import Index
    from engine.formats.annotation import Corpus, ShardView

SCOPE = "corpus"
VERSION = 2
NEEDS = ("split", "benchmarks")
TRAINS_ON = ()
READS = ("doc_id", "text", "text_digest")
ADDS = {
    "contamination__benchmark": Column(pl.String, "benchmark or held-out set it holds an item of; null if clean"),
    "contamination__item": Column(pl.String, "the item it holds most of; null if clean"),
    "contamination__kind": Column(pl.String, "what of the item: question, question+answer, passage; null if clean"),
    "contamination__score": Column(pl.Float64, "share of it that was found, 0 to 1, rounded down to 1e-4"),
    "contamination__action": Column(pl.String, "drop, cut or tag; null if clean"),
    "contamination__cut": Column(pl.List(SPAN), "bytes of the text to cut, of all hits; null if none"),
}
DROPS = {"contaminated": "contamination__action = 'drop'"}


class Config(StageConfig):
    """Options of contamination."""

    stage: Literal["contamination"] = "contamination"
    action: Literal["drop", "cut", "tag"] = Field(
        default="drop",
        description="what happens to a document with a hit: drop it; cut what was found out of its text (it is dropped "
        "where no word is left); or only say so in the columns",
    )
    min_passage: float = Field(
        default=0.5, gt=0, le=1, description="share of the 13-grams of a passage that contaminates"
    )
    planted_items: int = Field(
        default=50, ge=1, description="items per benchmark whose copies are planted to measure recall"
    )
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of what is planted where")


EDITS = {"contamination__cut": "cut"}


def part_config(_config: Config) -> dict[str, object]:
    """What the matches of a shard depend on: no option, only the items."""
    return {}


def train(corpus: "Corpus", config: Config, folder: Path) -> None:  # noqa: ARG001 - the signature is the contract's
    """Write the items of benchmarks and held-out sets to `folder`."""
    from engine.annotate.contamination.index import ITEMS, write_index
    from engine.annotate.contamination.items import searched_items

    parts = [pl.DataFrame(schema=ITEMS)]
    parts += [searched_items(name, read_items(path)) for name, path in sorted(corpus.benchmarks.items())]
    if (split := corpus.artifacts.get("split")) is not None:
        parts.append(_passages(Split(split, "").heldout()).select(list(ITEMS)).cast(ITEMS))  # type: ignore[arg-type]
    write_index(pl.concat(parts), folder)


def annotate(shard: "ShardView", config: Config, model: Path) -> pl.DataFrame:  # noqa: ARG001 - the contract's
    """Return what each document holds: `ngrams` (different n-grams of the index) and `matches` (search.MATCHES)."""
    from engine.annotate.contamination.index import load_index
    from engine.annotate.contamination.search import MATCHES, search

    found = search(shard.text, load_index(model))
    own = [name for name in MATCHES if name != "row"]
    ngrams = found.ngrams.group_by("row", maintain_order=True).agg(pl.col("ngram").alias("ngrams"))
    matches = found.matches.group_by("row", maintain_order=True).agg(pl.struct(own).alias("matches"))
    rows = pl.DataFrame({"row": pl.int_range(len(shard.text), dtype=pl.UInt32, eager=True)})
    kinds = {"ngrams": pl.List(pl.UInt32), "matches": pl.List(pl.Struct({name: MATCHES[name] for name in own}))}
    joined = rows.join(ngrams, on="row", how="left", maintain_order="left").join(
        matches, on="row", how="left", maintain_order="left"
    )
    return joined.select(pl.col(name).fill_null(pl.lit([], dtype=kind)).cast(kind) for name, kind in kinds.items())


def combine(corpus: "Corpus", config: Config, folder: Path) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield the columns of every shard; leaves hits, coverage, unmatchable and details.json in `folder`."""
    from engine.annotate.contamination.coverage import unmatchable
    from engine.annotate.contamination.index import load_index

    assert corpus.model is not None
    index = load_index(corpus.model)
    searched, matches, counts = _gathered(corpus, index)
    hits = _hits(matches, index, counts, searched.height, config)
    write_parquet(folder / "hits.parquet", hits)
    write_parquet(folder / "coverage.parquet", _sheet(corpus, config, index, searched, counts, hits))
    write_parquet(folder / "unmatchable.parquet", unmatchable(index))
    counted = pl.DataFrame({"documents": counts}).with_row_index("ngram").filter(pl.col("documents") > 0)
    write_parquet(folder / "ngram_counts.parquet", counted)
    details = {"searched_documents": searched.height, "contaminated_documents": hits["doc_id"].n_unique()}
    write_json(folder / "details.json", details | {"min_passage": config.min_passage})
    decided = _decided(hits, config)
    for shard in corpus.shards:
        doc_ids = corpus.columns(shard, ["doc_id"]).with_row_index("row")
        rows = doc_ids.join(decided, on="doc_id", how="left", maintain_order="left")
        yield shard, (_cut(shard, rows) if config.action == "cut" else rows).select(list(ADDS))


def _gathered(corpus: "Corpus", index: "Index") -> tuple[pl.DataFrame, pl.DataFrame, Any]:
    """Return (documents searched, their matches with doc_id for row, documents per n-gram)."""
    from engine.annotate.contamination.judge import document_counts

    documents = corpus.all_columns(["doc_id", "text_digest"]).filter(pl.col("text_digest").is_not_null())
    if (split := corpus.artifacts.get("split")) is not None:
        documents = documents.join(Split(split, "").groups().select("doc_id"), on="doc_id", how="anti")
    ngrams, matches = [pl.Series([], dtype=pl.UInt32)], []
    for shard in corpus.shards:
        part = corpus.part(shard).with_columns(corpus.columns(shard, ["doc_id"]))
        part = part.join(documents.select("doc_id"), on="doc_id", how="semi", maintain_order="left")
        ngrams.append(part["ngrams"].explode().drop_nulls())
        held = part.filter(pl.col("matches").list.len() > 0).select("doc_id", "matches")
        matches.append(held.explode("matches").unnest("matches"))
    return documents, pl.concat(matches), document_counts(pl.concat(ngrams), index.num_ngrams)


def _hits(matches: pl.DataFrame, index: "Index", counts: Any, num_documents: int, config: Config) -> pl.DataFrame:
    from engine.annotate.contamination.judge import judge
    from engine.annotate.contamination.targets import PASSAGE

    hits = judge(matches, index, counts, num_documents, config.min_passage)
    items = index.items.select(
        "benchmark", pl.col("item").alias("name"), "passage", pl.col("questions").list.first().alias("question")
    )
    named = hits.with_columns(items[hits["item"]]).with_columns(
        item=pl.col("name"),
        item_text=pl.when(pl.col("kind") == PASSAGE).then("passage").otherwise("question"),
    )
    columns = ["doc_id", "benchmark", "item", "kind", "score", "evidence", "spans", "item_text"]
    return named.select(columns).sort(
        ["doc_id", "score", "benchmark", "item", "kind"], descending=[False, True, False, False, False]
    )


def _decided(hits: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Return doc_id and the columns of ADDS of the documents with a hit: the best one, and the bytes of all."""
    all_spans = hits.group_by("doc_id").agg(pl.col("spans").explode().alias("contamination__cut"))
    best = hits.unique("doc_id", keep="first", maintain_order=True).join(all_spans, on="doc_id", how="left")
    names = ("benchmark", "item", "kind", "score")
    spans = pl.col("contamination__cut") if config.action == "cut" else pl.lit(None, dtype=pl.List(SPAN))
    return best.select(
        "doc_id",
        *(pl.col(name).alias(f"contamination__{name}") for name in names),
        contamination__action=pl.lit(config.action),
        contamination__cut=spans,
    )


def _cut(shard: Shard, rows: pl.DataFrame) -> pl.DataFrame:
    """Merge the spans of each row; a document of which no word is left is dropped instead."""
    found = rows.filter(pl.col("contamination__cut").is_not_null())
    if found.height == 0:
        return rows
    spans, actions = [], []
    texts = shard.read_text().take(found["row"].to_arrow()).to_pylist()
    for text, cut in zip(texts, found["contamination__cut"], strict=True):
        merged = merged_spans((span["start"], span["end"]) for span in cut)
        has_rest = bool(without_spans(text, merged))
        actions.append("cut" if has_rest else "drop")
        spans.append([{"start": start, "end": end} for start, end in merged] if has_rest else None)
    decided = pl.DataFrame(
        {"row": found["row"], "contamination__action": actions, "contamination__cut": spans},
        schema_overrides={"contamination__cut": pl.List(SPAN)},
    )
    return rows.update(decided, on="row", include_nulls=True)


def _sheet(
    corpus: "Corpus", config: Config, index: "Index", searched: pl.DataFrame, counts: Any, hits: pl.DataFrame
) -> pl.DataFrame:
    from engine.annotate.contamination.coverage import coverage, host_texts

    clean = searched.join(hits.select("doc_id"), on="doc_id", how="anti")
    flagged = hits.group_by("benchmark").agg(pl.col("doc_id").n_unique().alias("documents"))
    return coverage(
        index,
        host_texts(corpus, clean, config.planted_items, config.seed),
        counts,
        searched.height,
        flagged,
        min_passage=config.min_passage,
        planted_items=config.planted_items,
        seed=config.seed,
    )


def _passages(held_out: pl.DataFrame) -> pl.DataFrame:
    none = pl.lit([], dtype=pl.List(pl.String))
    return held_out.select(
        pl.col("set").alias("benchmark"),
        pl.col("doc_id").bin.encode("hex").alias("item"),
        none.alias("questions"),
        none.alias("answers"),
        none.alias("choices"),
        pl.col("text").alias("passage"),
    ).sort("benchmark", "item")
