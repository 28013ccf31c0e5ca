"""Speed: our search beside the plain any-hit rule and beside near_dup's pass over the same text, on two threads."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contamination.any_hit import AnyHit
from benchmarks.contamination.world import index_of
from benchmarks.harness import Row
from engine.annotate.contamination.index import Index
from engine.annotate.contamination.judge import document_counts, judge
from engine.annotate.contamination.search import Found, search
from engine.annotate.near_dup.bands import choose_bands
from engine.annotate.near_dup.minhash import sign_words
from engine.text.batches import TextRun, each_batch, word_room
from engine.text.words import split_words

THREADS = 2
NGRAM_WORDS, PERMUTATIONS = 5, 256
SIGNING = "near_dup's pass"


def speed_rows(corpus: Path, any_hit: AnyHit, repeats: int = 3) -> tuple[str, list[Row], pl.DataFrame]:
    """Return (about, rows, our hits on the corpus to read by hand)."""
    runs, documents, size = _runs(sorted(corpus.glob("*.parquet")))
    started = time.perf_counter()
    index = index_of()
    seconds = time.perf_counter() - started
    about = f"{documents:,} documents, {size:,.0f} MB of text, {index.items.height:,} items, {THREADS} threads."
    made = f"{index.num_ngrams:,} n-grams of {index.targets.height:,} targets"
    rows = [
        Row("index of all items", seconds, "s", "read the files, make the tables", made),
        Row("index, in memory", index.num_bytes / 1e6, "MB", "tables of n-grams and runs", "the bar is 500 MB"),
    ]
    signing = choose_bands(0.8, 0.95, PERMUTATIONS)
    num_rows = signing[0] * signing[1]
    sign = partial(_sign, num_rows)
    found: list[tuple[int, Found]] = []
    works: dict[str, tuple[Callable[[int, pa.Array], object], str]] = {
        "decode only": (lambda *_: None, "read Parquet"),
        "ours": (lambda _, texts: search(texts, index), "read, split, look up, evidence"),
        "any 13-gram": (lambda _, texts: any_hit.flags(texts), "read, split, look up"),
        SIGNING: (sign, "read, split, sign"),
        "near_dup's pass and ours": (
            lambda first, texts: (sign(first, texts), search(texts, index)),
            "read once, split twice, sign, look up, evidence",
        ),
    }
    took = {name: _seconds(runs, work, repeats) for name, (work, _) in works.items()}
    for name, (_, includes) in works.items():
        middle, least, most, of_cores = took[name]
        more: dict[str, float | int | str] = {"MB per second of a core": round(size / of_cores, 1)}
        said = _said(name, took)
        rows.append(Row(name, size / middle, "MB/s", includes, said, size / most, size / least, more))
    each_batch(runs, lambda first, texts: found.append((first, search(texts, index))), THREADS)
    return about, rows, _hits(sorted(found, key=lambda pair: pair[0]), index, documents)


def _said(name: str, took: dict[str, tuple[float, float, float, float]]) -> str:
    if name == "ours":
        return f"{took['any 13-gram'][0] / took['ours'][0]:.2f} times the rate of the any-hit rule; the bar is 80 MB/s"
    if name == "near_dup's pass and ours":
        return f"ours adds {took[name][0] / took[SIGNING][0] - 1:.0%} to near_dup's pass"
    return ""


def _sign(num_rows: int, _first: int, texts: pa.Array) -> object:
    return sign_words(split_words(texts, room=word_room()), NGRAM_WORDS, num_rows, PERMUTATIONS, 1)


def _seconds(
    runs: Sequence[TextRun], work: Callable[[int, pa.Array], object], repeats: int
) -> tuple[float, float, float, float]:
    """Return (median, least, most) seconds, and the least seconds of all cores together; the first run warms up."""

    def done(first: int, texts: pa.Array) -> None:
        work(first, texts)

    each_batch(runs[:1], done, THREADS)
    seconds, of_cores = [], []
    for _ in range(repeats):
        started, before = time.perf_counter(), time.process_time()
        each_batch(runs, done, THREADS)
        seconds.append(time.perf_counter() - started)
        of_cores.append(time.process_time() - before)
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2], ordered[0], ordered[-1], min(of_cores)


def _runs(files: Sequence[Path]) -> tuple[list[TextRun], int, float]:
    """Return (a run per row group, documents, megabytes of text)."""
    runs, first, size = [], 0, 0
    for file in files:
        size += int(pl.read_parquet(file, columns=["text"])["text"].str.len_bytes().sum())
        metadata = pq.ParquetFile(file).metadata
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            runs.append(TextRun(first, rows, partial(_texts, file, group)))
            first += rows
    return runs, first, size / 1e6


def _texts(file: Path, group: int) -> Iterator[pa.Array]:
    with pq.ParquetFile(file) as opened:
        for chunk in opened.read_row_group(group, columns=["text"], use_threads=False)["text"].chunks:
            yield chunk.cast(pa.large_string())


def _hits(found: Sequence[tuple[int, Found]], index: Index, documents: int) -> pl.DataFrame:
    rows = [pl.lit(first, pl.UInt32) for first, _ in found]
    matches = pl.concat(
        [one.matches.with_columns(pl.col("row") + row) for (_, one), row in zip(found, rows, strict=True)]
    )
    ngrams = pl.concat([one.ngrams["ngram"] for _, one in found])
    hits = judge(matches, index, document_counts(ngrams, index.num_ngrams), documents)
    names = index.items.select("benchmark", pl.col("item").alias("name")).with_row_index("item")
    return hits.join(names, on="item", how="left").select("row", "benchmark", "name", "kind", "score", "evidence")
