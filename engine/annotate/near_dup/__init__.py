"""Near-duplicates: exact Jaccard similarity of word shingles over pairs that MinHash proposes.

Works on the survivors of exact_dup. The documents that stay are the greedy maximal independent set of the graph
{verified similarity >= threshold}, taken in the order: pinned source, source priority, score, length, doc_id. So each
removed document names a kept one that it is that similar to, and no two kept ones are (pinned ones excepted, and pairs
that MinHash missed; the expected recall stands in details.json).

1. annotate: a MinHash signature per document                     (minhash.py)
2. combine: candidates from bands of the signatures               (bands.py)
   exact similarity of every candidate, by reading their texts    (pairs.py, verify.py)
   the documents that stay                                        (keep.py)

pairs.parquet    doc_id < other_id, intersection, union (shingles), similarity: all verified pairs down to the floor.
                 Another threshold above the floor starts from the same signatures.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from engine.base.atomic import write_json
from engine.base.stage import Column, StageConfig
from engine.formats.documents import Shard
from engine.formats.parquet import write_parquet

if TYPE_CHECKING:
    from engine.annotate.near_dup.pairs import VerifiedPairs
    from engine.formats.annotation import Corpus, ShardView

SCOPE = "corpus"
VERSION = 1
ADDS = {
    "near_dup__kept_id": Column(
        pl.Binary, "doc_id of the kept document it fell to, the most similar one; null if kept"
    ),
    "near_dup__similarity": Column(
        pl.Float64, "Jaccard similarity of the shingle sets to that one, rounded down to 1e-4"
    ),
    "near_dup__cluster_documents": Column(
        pl.UInt32, "documents that fell to the same kept one, and itself; null for exact duplicates and without words"
    ),
}
DROPS = {"near_duplicate": "near_dup__kept_id IS NOT NULL"}
PART_READS = ("text",)
"""What a shard part is made of; the other columns of READS are for `combine` alone."""
SIMILARITY_UNITS = 10_000
_PAIRS = {
    "doc_id": pl.Binary,
    "other_id": pl.Binary,
    "intersection": pl.Int64,
    "union": pl.Int64,
    "similarity": pl.Float64,
}


class Config(StageConfig):
    """Options of near_dup."""

    stage: Literal["near_dup"] = "near_dup"
    threshold: float = Field(default=0.8, gt=0, le=1, description="Jaccard similarity from which a document is removed")
    ngram_words: int = Field(default=5, ge=1, le=100, description="words per shingle; 2 or 3 suit short texts")
    floor: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="similarity down to which pairs are verified and kept; null: the threshold",
    )
    recall: float = Field(default=0.99, gt=0, lt=1, description="share of the pairs at the floor that shall be found")
    num_permutations: int = Field(default=256, ge=1, le=4096, description="values per MinHash signature")
    seed: int = Field(default=1, ge=0, lt=1 << 32, description="seed of the permutations")
    score: str | None = Field(default=None, description="column that decides who stays, higher first, after priority")
    max_bucket_documents: int = Field(
        default=1000, ge=2, description="documents in one bucket above which each is compared with the best-ranked only"
    )

    @property
    def verified_floor(self) -> float:
        """The similarity down to which pairs are verified."""
        return self.threshold if self.floor is None else self.floor

    @field_validator("threshold", "floor")
    @classmethod
    def _has_four_digits(cls, value: float | None) -> float | None:
        if value is not None and Decimal(str(value)) * SIMILARITY_UNITS % 1:
            raise ValueError("at most 4 digits after the point")
        return value

    @model_validator(mode="after")
    def _can_be_reached(self) -> "Config":
        from engine.annotate.near_dup.bands import choose_bands

        if self.verified_floor > self.threshold:
            raise ValueError(f"floor {self.floor} is above the threshold {self.threshold}")
        choose_bands(self.verified_floor, self.recall, self.num_permutations)
        return self


def READS(config: Config) -> tuple[str, ...]:  # noqa: N802 - the name is the contract's
    """Columns read; exact duplicates have to be known before."""
    score = (config.score,) if config.score is not None else ()
    return ("doc_id", "source", "text", "num_chars", "exact_dup__kept_id", *score)


def part_config(config: Config) -> dict[str, object]:
    """What the signatures of a shard depend on; neither threshold nor floor nor recall."""
    return config.model_dump(mode="json", include={"ngram_words", "num_permutations", "seed"})


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return `has_words` and `signature` of each document: MinHash, 4 bytes a permutation, null without words."""
    from engine.annotate.near_dup.minhash import signatures
    from engine.annotate.near_dup.pairs import store_signatures
    from engine.text.words import shingle_sets

    signed = signatures(shingle_sets(shard.words, config.ngram_words), config.num_permutations, config.seed)
    return store_signatures(signed).to_frame().select(pl.col("signature").is_not_null().alias("has_words"), "signature")


def combine(corpus: "Corpus", config: Config, folder: Path) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield the columns of every shard; leaves pairs.parquet and details.json (counts, expected recall) in `folder`."""
    from engine.annotate._keep_order import read_ranked
    from engine.annotate.near_dup.bands import choose_bands
    from engine.annotate.near_dup.keep import keep
    from engine.annotate.near_dup.pairs import Bands, verified_pairs
    from engine.formats.annotation import read_part

    assert corpus.parts_folder is not None
    documents = read_ranked(corpus, ["exact_dup__kept_id"], config.score)
    has_words = pl.concat([read_part(corpus.parts_folder, shard, ["has_words"]) for shard in corpus.shards])
    takes_part = documents["exact_dup__kept_id"].is_null() & has_words.to_series()
    rows = np.flatnonzero(takes_part.to_numpy())
    part = documents.filter(takes_part)
    rank, pinned = part["rank"].to_numpy().copy(), part["pinned"].to_numpy().copy()
    num_bands, rows_per_band = choose_bands(config.verified_floor, config.recall, config.num_permutations)
    bands = Bands(num_bands, rows_per_band, config.num_permutations, config.max_bucket_documents)
    found = verified_pairs(corpus, rows, rank, bands, config.ngram_words, config.verified_floor, folder)
    similar = found.at_least(config.threshold)
    kept_by = keep(found.pairs[similar], found.intersections[similar], found.unions[similar], rank, pinned)
    columns = _columns(part["doc_id"], found, kept_by)
    write_parquet(folder / "pairs.parquet", _pairs(part["doc_id"], found))
    write_json(folder / "details.json", _details(config, bands.num_bands, bands.rows, found, columns))
    everywhere = pl.DataFrame({"place": rows}).hstack(columns)
    places = pl.DataFrame({"place": np.arange(documents.height)})
    whole = places.join(everywhere, on="place", how="left", maintain_order="left").drop("place")
    start = 0
    for shard in corpus.shards:
        yield shard, whole.slice(start, shard.num_rows)
        start += shard.num_rows


def _columns(doc_ids: pl.Series, found: "VerifiedPairs", kept_by: NDArray[np.int64]) -> pl.DataFrame:
    """Return the columns of the documents that take part; kept_by: int64, the document each fell to, or negative."""
    documents = np.arange(len(kept_by))
    is_removed = kept_by >= 0
    keeper = np.where(is_removed, kept_by, documents)
    sizes = np.bincount(keeper, minlength=len(kept_by))
    # Pairs are ascending, so a pair is found by its key.
    keys = found.pairs[:, 0] * len(kept_by) + found.pairs[:, 1]
    wanted = np.minimum(documents, keeper) * len(kept_by) + np.maximum(documents, keeper)
    places = np.searchsorted(keys, wanted[is_removed])
    similarity = np.full(len(kept_by), np.nan)
    similarity[is_removed] = _similarity(found.intersections[places], found.unions[places])
    return pl.DataFrame(
        {
            "near_dup__kept_id": doc_ids.gather(keeper),
            "near_dup__similarity": similarity,
            "near_dup__cluster_documents": pl.Series(sizes[keeper]).cast(pl.UInt32),
        }
    ).with_columns(pl.when(pl.Series(is_removed)).then(pl.col("near_dup__kept_id", "near_dup__similarity")))


def _pairs(doc_ids: pl.Series, found: "VerifiedPairs") -> pl.DataFrame:
    one, other = (doc_ids.gather(found.pairs[:, side]) for side in (0, 1))
    frame = pl.DataFrame(
        {
            "one": one,
            "other": other,
            "intersection": found.intersections,
            "union": found.unions,
            "similarity": _similarity(found.intersections, found.unions),
        }
    )
    is_ordered = pl.col("one") < pl.col("other")
    ids = {"doc_id": ("one", "other"), "other_id": ("other", "one")}
    ordered = [pl.when(is_ordered).then(first).otherwise(second).alias(name) for name, (first, second) in ids.items()]
    return frame.with_columns(ordered).select(list(_PAIRS)).cast(_PAIRS).sort("doc_id", "other_id")  # type: ignore[arg-type]


def _similarity(intersections: NDArray[np.int64], unions: NDArray[np.int64]) -> NDArray[np.float64]:
    # Rounded down, so that comparing it with a threshold decides as the exact fraction does.
    return intersections * SIMILARITY_UNITS // unions / SIMILARITY_UNITS


def _details(
    config: Config, num_bands: int, rows: int, found: "VerifiedPairs", columns: pl.DataFrame
) -> dict[str, object]:
    def expected_recall(similarity: float) -> float:
        chance = 1 - (1 - Decimal(str(similarity)) ** rows) ** num_bands
        return int(chance * SIMILARITY_UNITS) / SIMILARITY_UNITS

    return {
        "threshold": config.threshold,
        "floor": config.verified_floor,
        "bands": num_bands,
        "rows_per_band": rows,
        "expected_recall_at_threshold": expected_recall(config.threshold),
        "expected_recall_at_floor": expected_recall(config.verified_floor),
        "compared_documents": columns.height,
        "candidate_pairs": found.num_candidates,
        "verified_pairs": len(found.pairs),
        "hot_buckets": found.num_hot_buckets,
        "skipped_comparisons": found.num_skipped_comparisons,
        "removed_documents": int(columns["near_dup__kept_id"].is_not_null().sum()),
        "largest_cluster_documents": columns["near_dup__cluster_documents"].max() or 0,
    }
