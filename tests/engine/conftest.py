"""Corpora of a few documents, written as files the way the reader of sources leaves them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from engine.base.hashing import digest_bytes
from engine.base.stage import StageConfig, stage_adds, stage_trains
from engine.formats.annotation import Annotation, Corpus, ShardView, part_path, write_part
from engine.formats.columns import STATED
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.parquet import write_parquet

Documents = Mapping[str, Mapping[str, str | None]]
"""source -> name of the document -> text"""


def id_of(name: str) -> bytes:
    """A doc_id that can be read: the name, filled up; sorts like the name."""
    return name.encode().ljust(16, b"\0")


@dataclass
class World:
    """A corpus under construction, and the stages that already ran over it."""

    folder: Path
    sources: tuple[SourceDocuments, ...]
    annotations: tuple[Annotation, ...] = ()
    artifacts: dict[str, Path] = field(default_factory=dict)
    benchmarks: dict[str, Path] = field(default_factory=dict)

    def corpus(self, parts: Path | None = None, **options: Any) -> Corpus:
        """What combine and train are handed; options: jobs, memory_bytes, model."""
        return Corpus(self.sources, self.annotations, parts, self.artifacts, self.benchmarks, **options)

    def add_columns(self, prefix: str, by_name: Mapping[str, Mapping[str, Any]], dtypes: Mapping[str, Any]) -> "World":
        """Write columns by document name, as another stage would have done; absent documents get null."""
        folder = self.folder / "columns" / prefix
        for shard in self.corpus().shards:
            names = [name_of(doc_id) for doc_id in shard.read_core(["doc_id"])["doc_id"]]
            values = {column: [rows.get(name) for name in names] for column, rows in by_name.items()}
            write_part(folder, shard, pl.DataFrame(values, schema=dict(dtypes)))
        return self._with(prefix, folder, tuple(by_name))

    def run(self, stage: ModuleType, config: StageConfig, jobs: int = 1, memory_bytes: int = 1 << 30) -> "World":
        """Run a stage as the runner does: train, every shard part, pairs, combine."""
        folder = self.folder / f"{config.column_prefix}-{len(self.annotations)}"
        model = folder / "model"
        trains = stage_trains(stage, config)
        if trains:
            model.mkdir(parents=True)
            stage.train(self.corpus(jobs=jobs), config, model)
        for shard in self.corpus().shards:
            view = ShardView(shard, self.annotations)
            frame = stage.annotate(view, config, model) if trains else stage.annotate(view, config)
            write_part(folder / "parts" if stage.SCOPE == "corpus" else folder, shard, frame)
        if stage.SCOPE == "corpus":
            trained = model if trains else None
            corpus = self.corpus(folder / "parts", jobs=jobs, memory_bytes=memory_bytes, model=trained)
            if hasattr(stage, "find_pairs"):
                (folder / "pairs").mkdir()
                stage.find_pairs(corpus, config, folder / "pairs")
                corpus = replace(corpus, pairs_folder=folder / "pairs")
            for shard, frame in stage.combine(corpus, config, folder):
                write_part(folder, shard, frame)
        for shard in self.corpus().shards:
            schema = pl.read_parquet_schema(part_path(folder, shard))
            assert list(schema) == list(stage_adds(stage, config))
        return self._with(config.column_prefix, folder, tuple(stage_adds(stage, config)))

    def columns(self, *names: str) -> dict[str, list[Any]]:
        """Columns of all documents in the order of their names, doc_ids as names."""
        frame = self.corpus().all_columns(["doc_id", *names]).sort("doc_id").select("doc_id", *names)
        return {name: named(frame[name]) for name in ["doc_id", *names]}

    def by_name(self, column: str) -> dict[str, Any]:
        """One column: name of the document -> value."""
        columns = self.columns(column)
        return dict(zip(columns["doc_id"], columns[column], strict=True))

    def _with(self, prefix: str, folder: Path, columns: tuple[str, ...]) -> "World":
        made = Annotation(prefix, prefix, prefix, folder, columns)
        return replace(self, annotations=(*self.annotations, made), artifacts={**self.artifacts, prefix: folder})


def name_of(doc_id: bytes | None) -> str | None:
    """The name in a doc_id of `id_of`."""
    return None if doc_id is None else doc_id.rstrip(b"\0").decode()


def named(values: pl.Series) -> list[Any]:
    """Values as a list; doc_ids as names."""
    return [name_of(value) for value in values] if values.dtype == pl.Binary else values.to_list()


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    """A function from literal documents to a `World`; `policies` is the configuration of sources."""
    worlds = iter(range(10**6))

    def build(
        documents: Documents,
        shard_rows: int = 3,
        policies: Mapping[str, Mapping[str, Any]] | None = None,
        **core: Mapping[str, str],
    ) -> World:
        folder = tmp_path / f"world-{next(worlds)}"
        sources = tuple(
            _source(folder, name, list(texts.items()), shard_rows, dict((policies or {}).get(name, {})), core)
            for name, texts in documents.items()
        )
        return World(folder, sources)

    return build


def _source(
    folder: Path,
    name: str,
    rows: Sequence[tuple[str, str | None]],
    shard_rows: int,
    config: dict[str, Any],
    core: Mapping[str, Mapping[str, str]],
) -> SourceDocuments:
    here = folder / "documents" / name
    shards = tuple(
        _shard(here, name, number, rows[start : start + shard_rows], core)
        for number, start in enumerate(range(0, len(rows), shard_rows))
    )
    return SourceDocuments(name, name, here, shards, config)


def _shard(
    folder: Path,
    source: str,
    number: int,
    rows: Sequence[tuple[str, str | None]],
    core: Mapping[str, Mapping[str, str]],
) -> Shard:
    texts = [text for _, text in rows]
    full = [text if text is not None and text.strip() else None for text in texts]
    ids = pl.DataFrame(
        {
            "doc_id": [id_of(name) for name, _ in rows],
            "source": [source] * len(rows),
            **{column: [core.get(column, {}).get(name) for name, _ in rows] for column in STATED},
            "text_digest": [None if text is None else digest_bytes(text.encode()) for text in full],
            "num_bytes": [len((text or "").encode()) for text in texts],
            "num_chars": [len(text or "") for text in texts],
            "read_problem": [core.get("read_problem", {}).get(name) for name, _ in rows],
        },
        schema_overrides={
            "doc_id": pl.Binary,
            "text_digest": pl.Binary,
            "num_bytes": pl.Int64,
            "num_chars": pl.Int64,
            "read_problem": pl.String,
            **dict.fromkeys(STATED, pl.String),
        },
    )
    key = f"{source}-{number:05}"
    write_parquet(folder / f"{key}.ids.parquet", ids)
    write_parquet(folder / f"{key}.parquet", pl.DataFrame({"text": texts}, schema={"text": pl.String}))
    num_bytes = int(ids["num_bytes"].sum())
    return Shard(
        source, key, key, len(rows), num_bytes, folder / f"{key}.ids.parquet", folder / f"{key}.parquet", "text", (0,)
    )


@pytest.fixture
def read_pairs() -> Callable[[Path], Iterator[tuple[str, str, float]]]:
    """A function from pairs.parquet to (name, name, similarity)."""

    def read(path: Path) -> Iterator[tuple[str, str, float]]:
        frame = pl.read_parquet(path)
        return zip(named(frame["doc_id"]), named(frame["other_id"]), frame["similarity"].to_list(), strict=True)

    return read
