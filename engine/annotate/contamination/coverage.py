"""The coverage sheet: what the search could find at all, whom it searched, and whether it finds what was planted.

Copies of held-out documents are buried in the middle of training documents, once word for word and once re-wrapped to
lines of eight words, and searched for like everything else: recall is the share of copies that were found.
"""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from engine.annotate.contamination.index import Index
from engine.annotate.contamination.search import search
from engine.base.hashing import digest_json, seeded_order
from engine.formats.annotation import Corpus

SCHEMA = {
    "set": pl.String,
    "items": pl.Int64,
    "matchable_items": pl.Int64,
    "searched_documents": pl.Int64,
    "contaminated_documents": pl.Int64,
    "planted_copies": pl.Int64,
    "verbatim_recall": pl.Float64,
    "rewrapped_recall": pl.Float64,
    "planted_recall": pl.Float64,
}
"""One row per set. Recalls are fractions of the planted copies, null where nothing could be planted."""
WORDS_PER_LINE = 8


def coverage(index: Index, planted: pl.DataFrame, num_searched: int, contaminated: pl.DataFrame) -> pl.DataFrame:
    """Return the sheet (SCHEMA), by set.

    planted: item, set, kind, is_found; contaminated: doc_id, set of every hit.
    """
    items = index.items.group_by("set").agg(
        pl.len().alias("items"), (pl.col("num_ngrams") > 0).sum().alias("matchable_items")
    )
    hits = contaminated.group_by("set").agg(pl.col("doc_id").n_unique().alias("contaminated_documents"))
    is_found = pl.col("is_found")
    recalls = planted.group_by("set").agg(
        pl.len().alias("planted_copies"),
        _recall(is_found.filter(pl.col("kind") == "verbatim")).alias("verbatim_recall"),
        _recall(is_found.filter(pl.col("kind") == "rewrapped")).alias("rewrapped_recall"),
        _recall(is_found).alias("planted_recall"),
    )
    sheet = items.join(hits, on="set", how="left").join(recalls, on="set", how="left")
    return (
        sheet.with_columns(
            pl.col("contaminated_documents", "planted_copies").fill_null(0),
            searched_documents=pl.lit(num_searched),
        )
        .select(list(SCHEMA))
        .cast(SCHEMA)  # type: ignore[arg-type]
        .sort("set")
    )


def plant(
    passages: pl.DataFrame, index: Index, hosts: Sequence[str], min_fraction: float, num_items: int, seed: int
) -> pl.DataFrame:
    """Return item, set, kind and is_found of the copies of up to `num_items` matchable items per set.

    passages: item_id, set, text. Which items: drawn with `seed`. Without hosts a copy stands alone.
    """
    items = index.items.with_row_index("item").filter(pl.col("num_ngrams") > 0)
    drawn = items.with_columns(
        order=pl.Series([seeded_order(seed, item_id) for item_id in items["item_id"]], dtype=pl.UInt64)
    ).sort("set", "order", "item")
    chosen = drawn.filter(pl.int_range(pl.len()).over("set") < num_items).join(
        passages.select("item_id", "text"), on="item_id", how="left", maintain_order="left"
    )
    planted = chosen.select("item", "set", "text").join(pl.DataFrame({"kind": ["verbatim", "rewrapped"]}), how="cross")
    texts = [
        _bury(_rewrapped(text) if kind == "rewrapped" else text, hosts[number // 2 % len(hosts)] if hosts else "")
        for number, (text, kind) in enumerate(planted.select("text", "kind").iter_rows())
    ]
    hits = search(pa.chunked_array([pa.array(texts, type=pa.large_string())]), index, min_fraction)
    found = hits.select("row", "item").with_columns(is_found=pl.lit(True))
    return (
        planted.drop("text")
        .with_row_index("row")
        .join(found, on=["row", "item"], how="left", maintain_order="left")
        .select("item", "set", "kind", pl.col("is_found").fill_null(False))
    )


def host_texts(corpus: Corpus, clean: pl.DataFrame, num_hosts: int, seed: int) -> list[str]:
    """Return the texts of some searched, clean documents, in the order of their ids from a seeded place on.

    clean: doc_id, shard (position in `corpus.shards`), row. Ids are hashes, so neighbours have nothing in common.
    """
    start = bytes.fromhex(digest_json(["hosts", seed]))
    turned = clean.sort(pl.col("doc_id") < start, "doc_id").head(num_hosts).with_row_index("host")
    texts: dict[int, str] = {}
    shards = list(corpus.shards)
    for (shard,), rows in turned.group_by("shard", maintain_order=True):
        taken = shards[int(str(shard))].read_text().take(pa.array(rows["row"].to_numpy()))
        texts |= dict(zip(rows["host"], taken.to_pylist(), strict=True))
    return [texts[host] or "" for host in sorted(texts)]


def _recall(is_found: pl.Expr) -> pl.Expr:
    # Rounded down to 1e-4: one copy that was missed never reads as a recall of 1.
    units = is_found.sum().cast(pl.Int64) * 10_000 // is_found.len()
    return pl.when(is_found.len() > 0).then((units / 10_000).round(4))


def _rewrapped(text: str) -> str:
    words = text.split()
    lines = (" ".join(words[start : start + WORDS_PER_LINE]) for start in range(0, len(words), WORDS_PER_LINE))
    return "\n".join(lines)


def _bury(passage: str, host: str) -> str:
    middle = len(host) // 2
    return f"{host[:middle]}\n\n{passage}\n\n{host[middle:]}"
