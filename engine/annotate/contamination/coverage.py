"""The coverage sheet: what could be found at all, whether it is found, and how often what is none is flagged.

Copies of items are planted in documents of the very corpus that was searched, and searched for like everything else:

    verbatim     passage, question, choices in another order and answer, as they stand
    rewrapped    the same in lines of eight words
    recased      the same in capitals
    buried       the same in the middle of 100,000 characters

recall is the share of copies that were found as the item they are. The control are documents made of the same items,
cut into runs of up to ten words that are dealt anew: they say what the items say, and are none of them. No run holds
more than half of a question, or one that ends like many others would come together again.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.contamination.index import Index
from engine.annotate.contamination.judge import judge
from engine.annotate.contamination.search import search
from engine.annotate.contamination.targets import undressed
from engine.base.hashing import digest_json, seeded_order
from engine.formats.annotation import Corpus

SCHEMA = {
    "benchmark": pl.String,
    "items": pl.Int64,
    "matchable_items": pl.Int64,
    "searched_documents": pl.Int64,
    "flagged_documents": pl.Int64,
    "planted_copies": pl.Int64,
    "planted_recall": pl.Float64,
    "verbatim_recall": pl.Float64,
    "rewrapped_recall": pl.Float64,
    "recased_recall": pl.Float64,
    "buried_recall": pl.Float64,
    "control_documents": pl.Int64,
    "control_flag_rate": pl.Float64,
}
"""One row per benchmark. Recalls are shares of the copies (0 to 1, rounded down to 1e-4), null where none could be
planted; control_flag_rate is rounded up."""
WORDS_PER_LINE = 8
CONTROL_WORDS = 10
BURIED_CHARS = 100_000
PLANTED_ITEMS = 50
_BATCH_COPIES = 200

Judged = Callable[[pl.DataFrame], pl.DataFrame]
"""From matches (search.MATCHES) to hits, by the counts of the corpus."""


def coverage(
    index: Index,
    hosts: Sequence[str],
    counts: NDArray[np.int64],
    num_documents: int,
    flagged: pl.DataFrame,
    *,
    min_passage: float,
    planted_items: int = PLANTED_ITEMS,
    seed: int = 1,
) -> pl.DataFrame:
    """Return the sheet (SCHEMA), by benchmark.

    hosts: texts to plant copies in (none: they stand alone); counts: documents of the corpus per n-gram, of
    `num_documents` searched; flagged: benchmark, documents (how many were hit); planted_items: per benchmark at most.
    """

    def judged(matches: pl.DataFrame) -> pl.DataFrame:
        return judge(matches, index, counts, num_documents, min_passage)

    chosen = _chosen(index, planted_items, seed)
    planted = _planted(index, chosen, hosts, judged, seed)
    control = _control(index, chosen, judged, seed)
    items = index.items.group_by("benchmark").agg(
        pl.len().alias("items"), pl.col("why_not").is_null().sum().alias("matchable_items")
    )
    is_found = pl.col("is_found")
    recalls = planted.group_by("benchmark").agg(
        pl.len().alias("planted_copies"),
        _recall(is_found).alias("planted_recall"),
        *(_recall(is_found.filter(pl.col("variant") == variant)).alias(f"{variant}_recall") for variant in VARIANTS),
    )
    sheet = items.join(recalls, on="benchmark", how="left").join(control, on="benchmark", how="left")
    sheet = sheet.join(flagged.rename({"documents": "flagged_documents"}), on="benchmark", how="left")
    whole = ("flagged_documents", "planted_copies", "control_documents")
    return (
        sheet.with_columns(pl.col(*whole).fill_null(0), searched_documents=pl.lit(num_documents))
        .select(list(SCHEMA))
        .cast(SCHEMA)  # type: ignore[arg-type]
        .sort("benchmark")
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
    return [(texts[host] or "")[:BURIED_CHARS] for host in sorted(texts)]


def unmatchable(index: Index) -> pl.DataFrame:
    """Return the items that cannot be found: benchmark, item, why."""
    left = index.items.filter(pl.col("why_not").is_not_null())
    return left.select("benchmark", "item", pl.col("why_not").alias("why")).sort("benchmark", "item")


def _chosen(index: Index, planted_items: int, seed: int) -> pl.DataFrame:
    """Return the matchable items to plant, drawn with `seed`: row (of index.items) and its columns."""
    items = index.items.with_row_index("number").filter(pl.col("why_not").is_null())
    order = [seeded_order(seed, f"{name}/{item}".encode()) for name, item in items.select("benchmark", "item").rows()]
    drawn = items.with_columns(order=pl.Series(order, dtype=pl.UInt64)).sort("benchmark", "order", "number")
    return drawn.filter(pl.int_range(pl.len()).over("benchmark") < planted_items)


def _whole(item: dict[str, object], seed: int) -> str:
    """Return all of an item as one text, its choices in another order."""
    questions, answers, choices = (list(item[name] or []) for name in ("questions", "answers", "choices"))  # type: ignore[call-overload]
    turn = seed % len(choices) if choices else 0
    parts = [item["passage"], *questions[:1], *choices[turn:], *choices[:turn], *answers[:1]]
    return "\n".join(str(part) for part in parts if part)


def _rewrapped(text: str, words_per_line: int = WORDS_PER_LINE) -> str:
    words = text.split()
    return "\n".join(" ".join(words[at : at + words_per_line]) for at in range(0, len(words), words_per_line))


VARIANTS: dict[str, Callable[[str], str]] = {
    "verbatim": str,
    "rewrapped": _rewrapped,
    "recased": str.upper,
    "buried": str,
}


def _planted(index: Index, chosen: pl.DataFrame, hosts: Sequence[str], judged: Judged, seed: int) -> pl.DataFrame:
    """Return benchmark, variant, is_found of every copy."""
    copies = [
        (number, item["number"], item["benchmark"], variant, _whole(item, seed + number))
        for number, item in enumerate(chosen.iter_rows(named=True))
        for variant in VARIANTS
    ]
    found: list[tuple[str, str, bool]] = []
    long_host = _long(hosts)
    for start in range(0, len(copies), _BATCH_COPIES):
        batch = copies[start : start + _BATCH_COPIES]
        texts = []
        for number, _, _, variant, text in batch:
            host = long_host if variant == "buried" else hosts[number % len(hosts)] if hosts else ""
            texts.append(_bury(VARIANTS[variant](text), host))
        hits = judged(search(pa.array(texts, type=pa.large_string()), index).matches)
        is_found = set(hits.select("row", "item").rows())
        found += [
            (benchmark, variant, (row, item) in is_found) for row, (_, item, benchmark, variant, _) in enumerate(batch)
        ]
    return pl.DataFrame(found, {"benchmark": pl.String, "variant": pl.String, "is_found": pl.Boolean}, orient="row")


def _control(index: Index, chosen: pl.DataFrame, judged: Judged, seed: int) -> pl.DataFrame:
    """Return benchmark, control_documents, control_flag_rate."""
    rows = []
    for (benchmark,), items in chosen.group_by("benchmark", maintain_order=True):
        texts = list(_dealt([_cut(item, seed) for item in items.iter_rows(named=True)]))
        hits = judged(search(pa.array(texts, type=pa.large_string()), index).matches)
        own = set(items["number"])
        flagged = hits.filter(pl.col("item").is_in(list(own)))["row"].n_unique()
        rows.append((benchmark, len(texts), -(-flagged * 10_000 // len(texts)) / 10_000 if texts else None))
    names = {"benchmark": pl.String, "control_documents": pl.Int64, "control_flag_rate": pl.Float64}
    return pl.DataFrame(rows, names, orient="row")


def _cut(item: dict[str, Any], seed: int) -> list[str]:
    """Return all of an item in runs of words."""
    parts = [*map(undressed, item["questions"]), *([item["passage"]] if item["passage"] else [])]
    shortest = min(len(part.split()) for part in parts)
    return _rewrapped(_whole(item, seed), max(min(CONTROL_WORDS, shortest // 2), 1)).split("\n")


def _dealt(cut: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield as many texts, of the same runs of words: run r of text t goes to text t + r + 1."""
    if len(cut) > 1:
        for number in range(len(cut)):
            sources = (cut[(number - run) % len(cut)] for run in range(1, len(cut)))
            yield "\n".join(runs[run % len(runs)] for run, runs in zip(range(len(cut[number])), sources, strict=False))


def _long(hosts: Sequence[str]) -> str:
    """Return the hosts one after the other until there are BURIED_CHARS characters."""
    parts: list[str] = []
    length = 0
    while hosts and length < BURIED_CHARS:
        parts.append(hosts[len(parts) % len(hosts)] or " ")
        length += len(parts[-1]) + 1
    return "\n".join(parts)[:BURIED_CHARS]


def _bury(passage: str, host: str) -> str:
    middle = len(host) // 2
    return f"{host[:middle]}\n\n{passage}\n\n{host[middle:]}"


def _recall(is_found: pl.Expr) -> pl.Expr:
    # Rounded down to 1e-4: one copy that was missed never reads as a recall of 1.
    units = is_found.sum().cast(pl.Int64) * 10_000 // is_found.len()
    return pl.when(is_found.len() > 0).then((units / 10_000).round(4))
