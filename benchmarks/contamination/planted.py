"""Recall: every item that can be found at all, planted in documents of the shared corpora in all variants."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from benchmarks.contamination.any_hit import AnyHit
from benchmarks.contamination.variants import VARIANTS, Kind, Parts
from benchmarks.contamination.world import Corpus, all_items, corpus_of, hits_of, hosts, long_host, search_all, seeded
from benchmarks.harness import Row
from engine.annotate.contamination.index import Index

PLANTED = {
    "variant": pl.String,
    "benchmark": pl.String,
    "name": pl.String,
    "is_found": pl.Boolean,
    "has_any_hit": pl.Boolean,
    "text": pl.String,
}
"""text: what was planted, where it was not found."""
AT_ONCE = 4_000


@dataclass(frozen=True)
class Copy:
    """An item to plant: its row in the index, its parts."""

    item: int
    name: str
    parts: Parts


def copies(index: Index, every: int = 1) -> list[Copy]:
    """Return the matchable items, or one in `every` of them."""
    rows = all_items().iter_rows(named=True)
    can_match = index.items["why_not"].is_null().to_list()
    made = []
    for item, (row, is_matchable) in enumerate(zip(rows, can_match, strict=True)):
        if is_matchable and seeded("copy", row["benchmark"], row["item"]) % every == 0:
            choices, answer = tuple(row["choices"]), row["answer"] or ""
            question, passage = row["question"] or "", row["passage"] or ""
            parts = Parts(row["benchmark"], passage, question, choices, row["gold"], answer, row["blank"])
            made.append(Copy(item, row["item"], parts))
    return made


def plant_all(index: Index, corpus: Corpus, any_hit: AnyHit, every: int = 1) -> pl.DataFrame:
    """Return what became of every copy (PLANTED)."""
    chosen = copies(index, every)
    frames = [frame for kind in VARIANTS for frame in _planted(kind, chosen, index, corpus, any_hit)]
    return pl.concat(frames)


def _planted(
    kind: Kind, chosen: Sequence[Copy], index: Index, corpus: Corpus, any_hit: AnyHit
) -> Iterator[pl.DataFrame]:
    fitting = [copy for copy in chosen if kind.is_for(copy.parts)]
    if kind.at_most and len(fitting) > kind.at_most:
        fitting = sorted(fitting, key=lambda copy: seeded("few", copy.parts.benchmark, copy.name))[: kind.at_most]
    around = [long_host(kind.host_chars)] if kind.host_chars > 100_000 else hosts(kind.host_chars)
    # As many documents at once as memory allows; each lot is a corpus of its own with the documents searched before.
    at_once = max(min(AT_ONCE, 300_000_000 // kind.host_chars), 1)
    for begin in range(0, len(fitting), at_once):
        lot = fitting[begin : begin + at_once]
        planted = [kind.make(copy.parts, copy.item) for copy in lot]
        texts = [
            _bury(text, around[seeded(kind.name, copy.item) % len(around)])
            for text, copy in zip(planted, lot, strict=True)
        ]
        found = search_all(texts, index)
        hits = hits_of(found, index, corpus_of(found, index, len(texts), corpus))
        is_hit = set(hits.select("row", "item").iter_rows())
        flagged = any_hit.flags(pa.array(texts, pa.large_string()))
        yield pl.DataFrame(
            [
                (
                    kind.name,
                    copy.parts.benchmark,
                    copy.name,
                    is_found := (row, copy.item) in is_hit,
                    bool(flagged[row]),
                    None if is_found else text,
                )
                for row, (copy, text) in enumerate(zip(lot, planted, strict=True))
            ],
            schema=PLANTED,
            orient="row",
        )


def _bury(passage: str, host: str) -> str:
    middle = host.rfind("\n", 0, len(host) // 2) + 1 or len(host) // 2
    return f"{host[:middle]}\n\n{passage}\n\n{host[middle:]}"


def recall_table(planted: pl.DataFrame) -> pl.DataFrame:
    """Return recall by variant, in the order of VARIANTS: copies, recall, any_hit, worst (benchmark and recall)."""
    order = {kind.name: place for place, kind in enumerate(VARIANTS)}
    by_benchmark = planted.group_by("variant", "benchmark").agg(pl.col("is_found").mean().alias("of_benchmark"))
    worst = (
        by_benchmark.sort("of_benchmark", "benchmark")
        .group_by("variant", maintain_order=True)
        .agg(pl.format("{} {}", pl.col("benchmark").first(), pl.col("of_benchmark").first().round(4)).alias("worst"))
    )
    table = planted.group_by("variant").agg(
        pl.len().alias("copies"),
        pl.col("is_found").mean().alias("recall"),
        pl.col("has_any_hit").mean().alias("any_hit"),
    )
    return table.join(worst, on="variant").sort(pl.col("variant").replace_strict(order, return_dtype=pl.Int64))


def recall_rows(planted: pl.DataFrame, num_documents: int) -> tuple[str, list[Row]]:
    """Return (about, rows): recall by variant, and the benchmark with the lowest."""
    has_bar = {kind.name: kind.has_bar for kind in VARIANTS}
    rows = []
    for row in recall_table(planted).iter_rows(named=True):
        more: dict[str, float | int | str] = {
            "copies": row["copies"],
            "recall": row["recall"],
            "any 13-gram": row["any_hit"],
            "lowest": row["worst"],
        }
        bar = "the bar is 0.99" if has_bar[row["variant"]] else "no bar"
        rows.append(
            Row(
                row["variant"], 100 * row["recall"], "%", "planted in a document of 1,500 characters", bar, details=more
            )
        )
    about = (
        "Every matchable item of all shared benchmarks, planted whole (passage, question, choices, answer) in "
        f"documents of the shared corpora; rarity is that of {num_documents:,} shared documents and 4,000 planted at a "
        "time. "
        "Found: the hit names this very item. Beside it a plain rule: any 13 words in a row of any item."
    )
    return about, rows
