"""The items, the texts they are planted in, and one way to search and judge them all."""

import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.near_dup.corpora import DATA
from engine.annotate.contamination.index import Index, make_index
from engine.annotate.contamination.items import searched_items
from engine.annotate.contamination.judge import document_counts, judge
from engine.annotate.contamination.search import Found, search
from engine.sources._benchmarks import find_benchmarks

BENCHMARKS = DATA / "benchmarks"
CORPORA = DATA / "corpora"
FRIENDLY = {"test": "gsm8k_test", "train": "gsm8k_train", "_cot_prompts": "mmlu_dev", "question": "mt_bench"}
"""Benchmarks whose file has a name that says nothing."""
THREADS = 2
BATCH_CHARS = 2_000_000
LONGEST_PASSAGE = 3_000
FOREIGN = ("enwiki", "zhwiki", "kowiki", "wikitext-2", "gesetze")

Texts = list[tuple[str, str]]
"""(name, text) of documents."""


@cache
def all_items() -> pl.DataFrame:
    """Return the items (formats.items.ITEMS) of all shared benchmarks, after the column benchmark."""
    frames = [
        benchmark.items.select(pl.lit(FRIENDLY.get(benchmark.name, benchmark.name)).alias("benchmark"), pl.all())
        for benchmark in find_benchmarks([str(BENCHMARKS)]).benchmarks
    ]
    return pl.concat(frames)


def index_of(benchmarks: Sequence[str] | None = None, without: Sequence[str] = ()) -> Index:
    """Return the index of all benchmarks, of those named, or of all without some."""
    frames = [
        searched_items(name, items.drop("benchmark"))
        for (name,), items in all_items().group_by("benchmark", maintain_order=True)
        if (benchmarks is None or name in benchmarks) and name not in without
    ]
    return make_index(pl.concat(frames))


@dataclass(frozen=True)
class Corpus:
    """What the rarity of n-grams is taken from: documents per n-gram, of so many searched."""

    counts: np.ndarray
    num_documents: int


NOTHING = Corpus(np.zeros(0, np.int64), 0)


def search_all(texts: Sequence[str], index: Index) -> Found:
    """Search texts in batches on two threads; rows are positions in `texts`."""
    batches, size, begin = [], 0, 0
    for number, text in enumerate(texts):
        size += len(text)
        if size >= BATCH_CHARS or number + 1 == len(texts):
            batches.append((begin, number + 1))
            begin, size = number + 1, 0
    with ThreadPoolExecutor(THREADS) as executor:
        found = list(
            executor.map(lambda edges: search(pa.array(texts[slice(*edges)], pa.large_string()), index), batches)
        )
    rows = [pl.lit(first, pl.UInt32) for first, _ in batches]
    return Found(
        pl.concat([one.matches.with_columns(pl.col("row") + row) for one, row in zip(found, rows, strict=True)]),
        pl.concat([one.ngrams.with_columns(pl.col("row") + row) for one, row in zip(found, rows, strict=True)]),
    )


def corpus_of(found: Found, index: Index, num_documents: int, before: Corpus = NOTHING) -> Corpus:
    """Return the corpus that some searched texts make, together with one that was there before."""
    counts = document_counts(found.ngrams["ngram"], index.num_ngrams)
    if before.num_documents:
        counts = counts + before.counts
    return Corpus(counts, num_documents + before.num_documents)


def hits_of(found: Found, index: Index, corpus: Corpus) -> pl.DataFrame:
    """Return the hits, with the benchmark and the name of each item in place of its number."""
    hits = judge(found.matches, index, corpus.counts, corpus.num_documents)
    names = index.items.select("benchmark", pl.col("item").alias("name")).with_row_index("item")
    return hits.join(names, on="item", how="left", maintain_order="left")


def seeded(*parts: object) -> int:
    """Return a number that is the same on every machine."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest(), "little")


@cache
def shared_corpora() -> dict[str, Texts]:
    """Return the documents of every shared corpus; books and the like are cut into passages."""
    folders = sorted(path.name for path in CORPORA.iterdir() if path.is_dir())
    return {name: list(_documents(name)) for name in folders}


def _documents(name: str) -> Iterator[tuple[str, str]]:
    folder = CORPORA / name
    if name.endswith("wiki"):
        for path in sorted(folder.glob("text/AA/wiki_*")):
            pages = re.findall(r"<doc id=\"(\d+)[^>]*>\n(.*?)</doc>", path.read_text("utf-8"), re.DOTALL)
            yield from ((f"{name}/{number}", page) for number, page in pages)
        return
    if name == "nltk":
        for archive in ("inaugural.zip", "state_union.zip", "webtext.zip"):
            with zipfile.ZipFile(folder / archive) as zipped:
                for member in zipped.namelist():
                    if member.endswith(".txt"):
                        yield from _cut(f"nltk/{member}", zipped.read(member).decode("utf-8", "replace"))
        return
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name.startswith(("LICENSE", "SHA256SUMS", "README", "readme")):
            continue
        text = path.read_text("utf-8", "replace")
        where = f"{name}/{path.relative_to(folder)}"
        if name == "wikitext-2":
            pages = re.split(r"\n(?= = [^=].*[^=] = \n)", text)
            yield from ((f"{where}#{number}", page) for number, page in enumerate(pages) if page.strip())
        elif name in ("gutenberg", "tinyshakespeare", "bible"):
            yield from _cut(where, text)
        else:
            yield where, text


def _cut(name: str, text: str) -> Iterable[tuple[str, str]]:
    """Yield a long text in passages that end where a line ends."""
    begin = 0
    while begin < len(text):
        end = text.rfind("\n", begin, begin + LONGEST_PASSAGE) + 1
        end = end if end > begin and begin + LONGEST_PASSAGE < len(text) else begin + LONGEST_PASSAGE
        yield f"{name}@{begin}", text[begin:end]
        begin = end


def hosts(size: int = 1_500) -> list[str]:
    """Return the beginnings of documents of the shared corpora, so many characters each, in a seeded order."""
    texts = [(name, text[:size]) for documents in shared_corpora().values() for name, text in documents]
    return [text for name, text in sorted(texts, key=lambda pair: seeded("host", pair[0])) if len(text) > size // 2]


def long_host(size: int) -> str:
    """Return one text of so many characters."""
    parts, length = [], 0
    for text in hosts(3_000):
        parts.append(text)
        length += len(text)
        if length >= size:
            break
    return "\n".join(parts)[:size]


def written(path: Path, frame: pl.DataFrame) -> None:
    """Write rows to read by hand, one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_ndjson(path)
