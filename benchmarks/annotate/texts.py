"""What annotators are run on: texts of a corpus in memory, cut into shards of two megabytes."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from benchmarks.near_dup.corpora import DATA

SHARD_BYTES = 2_000_000
BOOK_PART_CHARS = 6000


@dataclass(frozen=True)
class Sample:
    """Texts of one kind; `texts` is without nulls."""

    name: str
    texts: pl.Series

    @property
    def num_bytes(self) -> int:
        """Bytes of all texts."""
        return int(self.texts.str.len_bytes().cast(pl.Int64).sum())

    def first(self, max_bytes: int) -> "Sample":
        """Return the first texts, up to so many bytes."""
        until = self.texts.str.len_bytes().cast(pl.Int64).cum_sum()
        return Sample(self.name, self.texts.filter(until <= max_bytes))

    def shards(self) -> list[pa.ChunkedArray]:
        """Return the texts as stages see them, about `SHARD_BYTES` each."""
        until = self.texts.str.len_bytes().cast(pl.Int64).cum_sum()
        frame = pl.DataFrame({"text": self.texts, "part": until // SHARD_BYTES})
        parts = frame.partition_by("part", maintain_order=True)
        return [pa.chunked_array([part["text"].to_arrow().cast(pa.large_string())]) for part in parts]


def sample_of(corpus: Path, megabytes: int) -> Sample:
    """Return the first texts of the Parquet files of a folder (column text)."""
    frames, size = [], 0
    for file in sorted(corpus.glob("*.parquet")):
        frames.append(pl.read_parquet(file, columns=["text"])["text"].drop_nulls())
        size += int(frames[-1].str.len_bytes().cast(pl.Int64).sum())
        if size >= megabytes * 1_000_000:
            break
    return Sample("files of a system", pl.concat(frames)).first(megabytes * 1_000_000)


def prose(megabytes: int) -> list[Sample]:
    """Return English books and encyclopedia pages of the shared data, as one sample; none where that is absent."""
    # In the order of a digest, so that the first of them are a sample of all.
    texts = sorted(_prose(), key=lambda text: hashlib.blake2b(text.encode()).digest())
    return [Sample("English prose", pl.Series(texts)).first(megabytes * 1_000_000)] if texts else []


def _prose() -> Iterator[str]:
    for file in sorted((DATA / "corpora" / "enwiki").glob("text/*/wiki_*")):
        yield from re.findall(r"<doc [^>]*>\n(.*?)</doc>", file.read_text(encoding="utf-8"), re.DOTALL)
    for file in sorted((DATA / "corpora" / "gutenberg").glob("*.txt")):
        text = file.read_text(encoding="utf-8", errors="replace")
        yield from (text[start : start + BOOK_PART_CHARS] for start in range(0, len(text), BOOK_PART_CHARS))
