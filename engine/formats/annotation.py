"""Annotation columns beside document shards, and what a stage is handed to make them.

annotations/<stage or its `as`>/<config digest>/
    <source>/<shard key>.parquet               SCOPE "shard": the columns; SCOPE "corpus": the stored shard part
    receipt.json
    _pairs/<inputs digest>/                    verified pairs, where the stage has `find_pairs`; settings that only
        *.parquet, details.json, receipt.json  decide over pairs (threshold, score) start from them again
    _corpus/<inputs digest>/
        <source>/<shard key>.parquet           SCOPE "corpus": the columns
        *.parquet                              pairs, hits, frequencies: whatever the stage leaves
        receipt.json
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa

from engine.base.errors import InputError, problem
from engine.formats import columns as core
from engine.formats.core_of_text import OF_TEXT
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.messages import WHOLE
from engine.formats.parquet import read_parquet, write_parquet
from engine.text.windows import text_windows
from engine.text.words import Words, split_words

Made = TypeVar("Made")


def part_path(folder: Path, shard: Shard) -> Path:
    """Return the file of `shard` in an annotation, selection or corpus folder."""
    return folder / shard.source / f"{shard.key}.parquet"


def write_part(folder: Path, shard: Shard, frame: pl.DataFrame) -> None:
    """Write the row-aligned part of a shard; raises ValueError (our bug) where the rows do not match."""
    if frame.height != shard.num_rows:
        raise ValueError(
            f"{folder.name}: {frame.height} rows for shard {shard.source}/{shard.name} of {shard.num_rows}"
        )
    write_parquet(part_path(folder, shard), frame)


def read_part(folder: Path, shard: Shard, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read the row-aligned part of a shard; raises InputError where it is missing or misaligned."""
    path = part_path(folder, shard)
    frame = read_parquet(path, list(columns) if columns is not None else None)
    if frame.height != shard.num_rows:
        raise InputError(
            problem(path, f"{frame.height} rows", f"{shard.num_rows}, one per document", "delete it, run again")
        )
    return frame


@dataclass(frozen=True)
class Annotation:
    """A finished annotation: where its columns are, and which."""

    prefix: str
    stage: str
    digest: str
    """Digest of stage, version, config, model and, for SCOPE "corpus", of all documents."""
    folder: Path
    """Folder that holds <source>/<shard key>.parquet with the columns."""
    columns: tuple[str, ...]


def read_columns(
    shard: Shard, names: Sequence[str], annotations: Sequence[Annotation], texts: pa.ChunkedArray | None = None
) -> pl.DataFrame:
    """Return core and annotation columns of a shard by name; raises KeyError for a name nobody wrote.

    texts: what `shard.read_text` returned, where the caller has it.
    """
    frames = []
    wanted_core = [name for name in names if name in core.CORE]
    if wanted_core:
        frames.append(shard.read_core(wanted_core, texts))
    for annotation in annotations:
        wanted = [name for name in names if name in annotation.columns]
        if wanted:
            frames.append(read_part(annotation.folder, shard, wanted))
    frame = pl.concat(frames, how="horizontal") if frames else pl.DataFrame()
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise KeyError(f"no stage wrote {', '.join(missing)}")
    return frame.select(names)


@dataclass
class ShardView:
    """What a shard stage sees: the text decoded once, its words split once, and the columns it declared in READS."""

    shard: Shard
    annotations: tuple[Annotation, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    """What the stages share -> seconds it took: the text's reading, its words, its windows."""
    _shared: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def text(self) -> pa.ChunkedArray:
        """Large strings, null where a row has no text."""
        return self._timed("(reading)", self.shard.read_text)

    @cached_property
    def words(self) -> Words:
        """The words of the text (engine.text.words)."""
        text = self.text
        return self._timed("(words)", lambda: split_words(text))

    @cached_property
    def windows(self) -> pl.DataFrame:
        """The windows of the text that models of whole documents read (engine.text.windows): row, window."""
        text = self.text
        return self._timed("(windows)", lambda: text_windows(pl.Series(pl.from_arrow(text))))

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Core and annotation columns, one row per document."""
        # Of a field of chats, digest and sizes are made of the text: of the one that is here already.
        needs_text = self.shard.field not in WHOLE and not set(OF_TEXT).isdisjoint(names)
        return read_columns(self.shard, names, self.annotations, self.text if needs_text else None)

    def shared(self, what: str, make: Callable[[], Made]) -> Made:
        """Return what several stages make of the text, made once; `what` names it, and its time."""
        if what not in self._shared:
            self._shared[what] = self._timed(f"({what})", make)
        made: Made = self._shared[what]
        return made

    def _timed(self, what: str, make: Callable[[], Made]) -> Made:
        started = time.monotonic()
        made = make()
        self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - started
        return made


@dataclass(frozen=True)
class Corpus:
    """What `combine` and `train` see: every shard, its columns, the stage's own shard parts, and text on demand."""

    sources: tuple[SourceDocuments, ...]
    annotations: tuple[Annotation, ...] = ()
    parts_folder: Path | None = None
    """Folder of this stage's shard parts, where it has any."""
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    """Folders of corpus artifacts of earlier steps, by column prefix; `split` is the split's folder."""
    benchmarks: Mapping[str, Path] = field(default_factory=dict)
    """The recipe's benchmarks: name -> items.parquet (engine.formats.items)."""
    model: Path | None = None
    """Folder of what the stage's `train` left, where it has one."""
    jobs: int = 1
    memory_bytes: int = 4 << 30
    """The run's memory ceiling; what takes more lies in a file. Changes no result."""
    pairs_folder: Path | None = None
    """Folder of what the stage's `find_pairs` left, where it has one."""
    pinned: pl.Series | None = None
    """doc_ids that stay whatever is like them, Binary; None: those of protected sources."""

    @property
    def shards(self) -> Iterator[Shard]:
        """All shards, in the order of sources and rows. No result may depend on this order."""
        return (shard for source in self.sources for shard in source.shards)

    def part(self, shard: Shard, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The frame `annotate` made for this shard, or some columns of it."""
        if self.parts_folder is None:
            raise ValueError("this stage has no shard parts")
        return read_part(self.parts_folder, shard, columns)

    def columns(self, shard: Shard, names: Sequence[str]) -> pl.DataFrame:
        """Core and annotation columns of a shard."""
        return read_columns(shard, names, self.annotations)

    def all_columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Columns of all documents with `shard` (UInt32 position in `shards`) and `row` (UInt32) in front."""
        frames = [
            self.columns(shard, names).select(
                pl.lit(position, dtype=pl.UInt32).alias("shard"),
                pl.int_range(shard.num_rows, dtype=pl.UInt32).alias("row"),
                pl.all(),
            )
            for position, shard in enumerate(self.shards)
        ]
        return pl.concat(frames)
