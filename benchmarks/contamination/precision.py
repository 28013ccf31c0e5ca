"""Precision: how many hard negatives are flagged, by group; every flag goes into a file to be read by hand."""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from benchmarks.contamination.any_hit import AnyHit
from benchmarks.contamination.negatives import GROUPS, Group
from benchmarks.contamination.world import NOTHING, Corpus, all_items, corpus_of, hits_of, index_of, search_all
from benchmarks.harness import Row
from engine.annotate.contamination.index import Index


@dataclass(frozen=True)
class Flagged:
    """A group: its documents, how many we flag and how many any 13-gram flags, and our hits to read."""

    group: Group
    documents: int
    ours: int
    any_hit: int
    hits: pl.DataFrame


def flag_all(index: Index, corpus: Corpus, any_hit: AnyHit) -> list[Flagged]:
    """Return what is flagged of every group; each is a corpus with the documents of the shared corpora."""
    return [_flagged(group, index, corpus, any_hit) for group in GROUPS]


def _flagged(group: Group, index: Index, corpus: Corpus, any_hit: AnyHit) -> Flagged:
    made = group.make()
    texts = [text for _, text in made]
    if group.benchmarks is not None:
        # Only these items are known: another index, and a corpus of the documents themselves.
        index, corpus = index_of(group.benchmarks), NOTHING
        items = all_items().filter(pl.col("benchmark").is_in(list(group.benchmarks)))
        any_hit = AnyHit(whole_items(items))
    found = search_all(texts, index)
    hits = hits_of(found, index, corpus_of(found, index, len(texts), corpus))
    names = pl.DataFrame(
        {"row": range(len(made)), "document": [name for name, _ in made]}, schema_overrides={"row": pl.UInt32}
    )
    known = all_items().select("benchmark", pl.col("item").alias("name"), "question", "answer")
    to_read = hits.join(names, on="row", how="left").join(known, on=["benchmark", "name"], how="left")
    columns = ["document", "benchmark", "name", "kind", "score", "evidence", "question", "answer"]
    plain = int(any_hit.flags(pa.array(texts, pa.large_string())).sum())
    read = to_read.select(pl.lit(group.name).alias("group"), *columns)
    return Flagged(group, len(made), hits["row"].n_unique(), plain, read)


def whole_items(items: pl.DataFrame) -> list[str]:
    """Return each item as one text."""
    return [
        "\n".join(part for part in (row["passage"], row["question"], *row["choices"], row["answer"]) if part)
        for row in items.iter_rows(named=True)
    ]


def negative_rows(flagged: list[Flagged], planted: pl.DataFrame) -> tuple[str, list[Row]]:
    """Return (about, rows): flags by group, then precision over all groups with a bar."""
    rows = [
        Row(
            one.group.name,
            100 * one.ours / one.documents,
            "%",
            "share of documents flagged",
            "counts as false" if one.group.has_bar else "no bar: whether these are copies is a matter of taste",
            details={"documents": one.documents, "flagged": one.ours, "any 13-gram": one.any_hit},
        )
        for one in flagged
    ]
    verbatim = planted.filter(pl.col("variant") == "verbatim")
    found = {"ours": int(verbatim["is_found"].sum()), "any 13-gram": int(verbatim["has_any_hit"].sum())}
    barred = [one for one in flagged if one.group.has_bar]
    false = {"ours": sum(one.ours for one in barred), "any 13-gram": sum(one.any_hit for one in barred)}
    for rule, true in found.items():
        precision = true / (true + false[rule])
        more: dict[str, float | int | str] = {"documents": sum(one.documents for one in barred), "flagged": false[rule]}
        said = f"{true:,} planted copies found, {false[rule]:,} negatives flagged; the bar is 0.98"
        rows.append(Row(f"precision, {rule}", 100 * precision, "%", "found / (found + flagged)", said, details=more))
    about = (
        "Documents that resemble items and hold none, each group a corpus together with the shared documents (the "
        "families alone). Flags are counted as false before they are read; build/bench/contamination has them all."
    )
    return about, rows
