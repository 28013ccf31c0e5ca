"""Near-duplicates: exact Jaccard similarity of word shingles over pairs that MinHash proposes.

Works on the survivors of exact_dup. The documents that stay are the greedy maximal independent set of the graph
{verified similarity >= threshold}, taken in the order: pinned source, source priority, score, length, doc_id. So each
removed document names a kept one that it is that similar to, and no two kept ones are (pinned ones excepted, and pairs
that MinHash missed; the recall expected and the recall measured stand in details.json).

1. annotate: a MinHash signature per document                     (minhash.py)
2. find_pairs: candidates from bands of the signatures            (bands.py)
   exact similarity of every candidate, by reading their texts    (pairs.py, verify.py)
   recall, by planted copies and a sample compared without bands  (recall_sample.py)
   if asked for, the same without corpus-frequent shingles        (frequent.py)
   stored, for another threshold, score or priority               (stored_pairs.py)
3. combine: the documents that stay                               (keep.py)

pairs.parquet    doc_id < other_id, intersection, union (shingles), similarity: all verified pairs down to the floor.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from engine.base.atomic import write_json
from engine.base.hashing import DIGEST_BYTES, digest_bytes
from engine.base.stage import Column, StageConfig
from engine.formats.documents import Shard
from engine.formats.parquet import write_parquet

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.annotate.near_dup.bands import BandTable
    from engine.annotate.near_dup.pairs import VerifiedPairs
    from engine.formats.annotation import Corpus, ShardView
    from engine.text.batches import TextRun

SCOPE = "corpus"
VERSION = 3
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
        description="similarity down to which pairs are verified and kept, so that another threshold, score or "
        "priority starts from them as long as the floor is the same; null: the threshold",
    )
    recall: float = Field(default=0.99, gt=0, lt=1, description="share of the pairs at the floor that shall be found")
    num_permutations: int = Field(default=256, ge=1, le=4096, description="values per MinHash signature")
    seed: int = Field(default=1, ge=0, lt=1 << 32, description="seed of the permutations")
    score: str | None = Field(default=None, description="column that decides who stays, higher first, after priority")
    after: str = Field(default="exact_dup", description="prefix of the exact_dup stage that settles equal texts before")
    max_bucket_documents: int = Field(
        default=1000, ge=2, description="documents in one bucket above which each is compared with the best-ranked only"
    )
    ignore_frequent: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="share of documents from which a shingle is template, and no reason to remove; null: all count",
    )

    @property
    def verified_floor(self) -> float:
        """The similarity down to which pairs are verified."""
        return self.threshold if self.floor is None else self.floor

    @field_validator("threshold", "floor", "ignore_frequent")
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
    return ("doc_id", "source", "text", "text_digest", "num_chars", f"{config.after}__kept_id", *score)


def part_config(config: Config) -> dict[str, object]:
    """What the signatures of a shard depend on; neither threshold nor floor nor recall."""
    return config.model_dump(mode="json", include={"ngram_words", "num_permutations", "seed"})


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return `has_words` and `signature` of each document: MinHash, 4 bytes a permutation, null without words."""
    from engine.annotate.near_dup.minhash import sign_words, store_signatures

    signed = sign_words(shard.words, config.ngram_words, num_permutations=config.num_permutations, seed=config.seed)
    return store_signatures(signed).to_frame().select(pl.col("signature").is_not_null().alias("has_words"), "signature")


def pairs_key(corpus: "Corpus", config: Config) -> dict[str, object]:
    """What the pairs depend on besides the signatures: neither threshold (but as floor) nor score nor priorities."""
    decides_only = {"stage", "prefix", "threshold", "score", "floor"}
    return {
        **config.model_dump(mode="json", exclude=decides_only),
        "floor": config.verified_floor,
        "takes_part": digest_bytes(np.packbits(_takes_part(corpus, config.after)).tobytes()).hex(),
    }


def pairs_hold(corpus: "Corpus", config: Config, folder: Path) -> bool:
    """Whether pairs stored under their key are those of today's rank: with a hot bucket they depend on it."""
    from engine.annotate._keep_order import read_ranked
    from engine.annotate.near_dup.stored_pairs import depends_on_rank, is_rank_of

    return not depends_on_rank(folder) or is_rank_of(folder, read_ranked(corpus, [], config.score)["rank"].to_numpy())


def find_pairs(corpus: "Corpus", config: Config, folder: Path) -> int:
    """Leave the verified pairs and the measured recall in `folder`; return how many pairs there are."""
    from engine.annotate._keep_order import read_ranked
    from engine.annotate.near_dup.frequent import ignore_frequent
    from engine.annotate.near_dup.pairs import Verification, verified_pairs
    from engine.annotate.near_dup.recall_sample import RecallSample
    from engine.annotate.near_dup.stored_pairs import store_pairs

    documents, runs = read_ranked(corpus, [], config.score), _runs(corpus)
    rank = documents["rank"].to_numpy().copy()
    takes_part = _takes_part(corpus, config.after)
    table = _bands_of_parts(corpus, takes_part, config, folder)
    sample = RecallSample(_text_digests(corpus), takes_part, config)
    how = Verification(config.verified_floor, config.ngram_words, config.max_bucket_documents, folder, corpus.jobs)
    found = verified_pairs(table, runs, rank, how, sample)
    measured: dict[str, object] = {"measured_recall": sample.measured(table, rank, found)}
    if config.ignore_frequent is not None:
        share = config.ignore_frequent
        found, frequent_counts = ignore_frequent(found, runs, documents["doc_id"], takes_part, share, how)
        measured |= frequent_counts
    store_pairs(found, rank, measured, folder)
    return len(found.pairs)


def combine(corpus: "Corpus", config: Config, folder: Path) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Yield the columns of every shard; leaves pairs.parquet and details.json (counts, recall) in `folder`."""
    from engine.annotate._keep_order import read_ranked
    from engine.annotate.near_dup.keep import keep
    from engine.annotate.near_dup.stored_pairs import load_pairs

    if corpus.pairs_folder is None:
        raise ValueError("near_dup: find_pairs has to come before combine")
    documents = read_ranked(corpus, [], config.score)
    rank, pinned = documents["rank"].to_numpy().copy(), documents["pinned"].to_numpy().copy()
    takes_part = _takes_part(corpus, config.after)
    found, measured = load_pairs(corpus.pairs_folder)
    similar = found.at_least(config.threshold)
    kept_by = keep(found.pairs[similar], found.intersections[similar], found.unions[similar], rank, pinned)
    columns = _columns(documents["doc_id"], takes_part, found, kept_by)
    write_parquet(folder / "pairs.parquet", _pairs(documents["doc_id"], found))
    write_json(folder / "details.json", _details(config, found, columns) | measured)
    start = 0
    for shard in corpus.shards:
        yield shard, columns.slice(start, shard.num_rows)
        start += shard.num_rows


def _takes_part(corpus: "Corpus", after: str) -> NDArray[np.bool_]:
    """Return which documents are compared, those with words that are no exact duplicate: bool[num_documents]."""
    found = [np.empty(0, dtype=np.bool_)]
    for shard in corpus.shards:
        is_distinct = corpus.columns(shard, [f"{after}__kept_id"]).to_series().is_null()
        found.append((is_distinct & corpus.part(shard, ["has_words"])["has_words"]).to_numpy())
    return np.concatenate(found)


def _text_digests(corpus: "Corpus") -> NDArray[np.uint64]:
    """Return the digests of all texts, zero without one: uint64[num_documents, 2]."""
    found = [np.empty((0, 2), dtype=np.uint64)]
    for shard in corpus.shards:
        digests = corpus.columns(shard, ["text_digest"])["text_digest"].fill_null(bytes(DIGEST_BYTES))
        found.append(np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2))
    return np.concatenate(found)


def _bands_of_parts(corpus: "Corpus", takes_part: NDArray[np.bool_], config: Config, folder: Path) -> "BandTable":
    """Return the bands of the documents that take part, from their stored signatures."""
    from engine.annotate.near_dup.bands import TABLE_SHARE, BandTable, band_hashes, choose_bands
    from engine.annotate.near_dup.minhash import load_signatures

    bands, rows = choose_bands(config.verified_floor, config.recall, config.num_permutations)
    table = BandTable(len(takes_part), bands, folder, corpus.memory_bytes // TABLE_SHARE)
    starts = np.cumsum([0, *(shard.num_rows for shard in corpus.shards)])

    def put(numbered: tuple[int, Shard]) -> None:
        start, shard = numbered
        here = takes_part[start : start + shard.num_rows]
        signed = load_signatures(corpus.part(shard, ["signature"])["signature"], here, config.num_permutations)
        table.put(start, band_hashes(signed, bands, rows))

    with ThreadPoolExecutor(corpus.jobs) as executor:
        for _ in executor.map(put, zip(starts[:-1].tolist(), corpus.shards, strict=True)):
            pass
    return table


def _runs(corpus: "Corpus") -> "list[TextRun]":
    from engine.text.batches import TextRun

    runs, start = [], 0
    for shard in corpus.shards:
        runs.append(TextRun(start, shard.num_rows, partial(_read_chunks, shard)))
        start += shard.num_rows
    return runs


def _read_chunks(shard: Shard) -> "Iterator[pa.Array]":
    yield from shard.read_text().chunks


def expected_recall(config: Config, similarity: float) -> float:
    """Return the chance that a pair of this similarity is proposed, rounded down to 1e-4."""
    from engine.annotate.near_dup.bands import chance_of_candidate, choose_bands

    bands, rows = choose_bands(config.verified_floor, config.recall, config.num_permutations)
    return int(chance_of_candidate(Decimal(str(similarity)), bands, rows) * SIMILARITY_UNITS) / SIMILARITY_UNITS


def _columns(
    doc_ids: pl.Series, takes_part: NDArray[np.bool_], found: "VerifiedPairs", kept_by: NDArray[np.int64]
) -> pl.DataFrame:
    """Return the columns of all documents; kept_by: int64, the document each fell to, or negative."""
    from engine.annotate.near_dup.verify import rounded_down

    documents = np.arange(len(kept_by))
    is_removed = kept_by >= 0
    keeper = np.where(is_removed, kept_by, documents)
    sizes = np.bincount(keeper, minlength=len(kept_by))
    # Pairs are ascending, so a pair is found by its key.
    keys = found.pairs[:, 0] * len(kept_by) + found.pairs[:, 1]
    wanted = np.minimum(documents, keeper) * len(kept_by) + np.maximum(documents, keeper)
    places = np.searchsorted(keys, wanted[is_removed])
    similarity = np.full(len(kept_by), np.nan)
    similarity[is_removed] = rounded_down(found.intersections[places], found.unions[places])
    fell, took_part = pl.Series(is_removed), pl.Series(takes_part)
    return pl.DataFrame(
        {
            "near_dup__kept_id": doc_ids.gather(keeper),
            "near_dup__similarity": similarity,
            "near_dup__cluster_documents": pl.Series(sizes[keeper]).cast(pl.UInt32),
        }
    ).select(
        pl.when(fell).then(pl.col("near_dup__kept_id", "near_dup__similarity")),
        pl.when(took_part).then(pl.col("near_dup__cluster_documents")),
    )


def _pairs(doc_ids: pl.Series, found: "VerifiedPairs") -> pl.DataFrame:
    from engine.annotate.near_dup.verify import rounded_down

    one, other = (doc_ids.gather(found.pairs[:, side]) for side in (0, 1))
    frame = pl.DataFrame(
        {
            "one": one,
            "other": other,
            "intersection": found.intersections,
            "union": found.unions,
            "similarity": rounded_down(found.intersections, found.unions),
        }
    )
    is_ordered = pl.col("one") < pl.col("other")
    ids = {"doc_id": ("one", "other"), "other_id": ("other", "one")}
    ordered = [pl.when(is_ordered).then(first).otherwise(second).alias(name) for name, (first, second) in ids.items()]
    return frame.with_columns(ordered).select(list(_PAIRS)).cast(_PAIRS).sort("doc_id", "other_id")  # type: ignore[arg-type]


def _details(config: Config, found: "VerifiedPairs", columns: pl.DataFrame) -> dict[str, object]:
    from engine.annotate.near_dup.bands import choose_bands

    num_bands, rows = choose_bands(config.verified_floor, config.recall, config.num_permutations)
    return {
        "threshold": config.threshold,
        "floor": config.verified_floor,
        "bands": num_bands,
        "rows_per_band": rows,
        "expected_recall_at_threshold": expected_recall(config, config.threshold),
        "expected_recall_at_floor": expected_recall(config, config.verified_floor),
        "compared_documents": int(columns["near_dup__cluster_documents"].count()),
        "candidate_pairs": found.num_candidates,
        "verified_pairs": len(found.pairs),
        "hot_buckets": found.num_hot_buckets,
        "skipped_comparisons": found.num_skipped_comparisons,
        "removed_documents": int(columns["near_dup__kept_id"].is_not_null().sum()),
        "largest_cluster_documents": columns["near_dup__cluster_documents"].max() or 0,
    }
