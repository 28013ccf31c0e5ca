"""On the way through the annotate stages: the columns so far, and of each stage what its results hang on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.base.hashing import digest_json, digest_path, short
from engine.base.paths import written_path
from engine.base.stage import StageConfig, stage_reads, with_files
from engine.formats.annotation import Annotation, Corpus, part_path
from engine.formats.columns import CORE
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.split import Split
from engine.recipe import Stage
from engine.run.benchmark_items import BenchmarkItems
from engine.run.extension import Extension
from engine.run.splitting import HELD_OUT, SPLIT
from engine.run.steps import RunContext
from engine.run.stored_edits import stored_edits
from engine.text.edits import Edits


@dataclass
class Annotated:
    """What the annotate part of a run ends with."""

    sources: tuple[SourceDocuments, ...]
    annotations: list[Annotation] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """Column prefix (or "split") -> digest of what made it."""
    models: dict[str, Path] = field(default_factory=dict)
    """Column prefix -> folder of what the stage's `train` left."""
    split: Split | None = None
    benchmarks: dict[str, BenchmarkItems] = field(default_factory=dict)
    edit_columns: dict[str, str] = field(default_factory=dict)
    """Column of spans -> "cut" or "replace"."""
    extends: Extension | None = None
    """The version the documents are for, where they extend one."""

    def columns(self) -> set[str]:
        """All columns that can be read now."""
        return set(CORE) | {name for annotation in self.annotations for name in annotation.columns}

    def corpus(
        self, context: RunContext, parts_folder: Path | None = None, sources: Iterable[str] | None = None
    ) -> Corpus:
        """The corpus as `combine` and `train` see it, all sources or only some."""
        chosen = self.sources if sources is None else tuple(s for s in self.sources if s.name in set(sources))
        return Corpus(
            chosen,
            tuple(self.annotations),
            parts_folder,
            dict(self.artifacts),
            {name: items.path for name, items in self.benchmarks.items()},
            jobs=context.jobs,
            memory_bytes=context.memory_bytes,
            pinned=self.extends.doc_ids if self.extends is not None else None,
        )

    def input_digests(self, reads: Sequence[str]) -> dict[str, str]:
        """Digests of the annotations that hold `reads`, by prefix."""
        return {a.prefix: a.digest for a in self.annotations if set(a.columns) & set(reads)}

    def edits_of(self, shard: Shard) -> dict[int, Edits]:
        """Row -> what stages want changed in its text, of the rows with any; when all stages are done."""
        return stored_edits(shard, self.edit_columns, self.annotations)

    def documents_digest(self) -> str:
        """Digest of all documents and of what decides between equal ones, the same for any cut into shards."""
        sources = [
            [s.name, s.digest, s.config.get("priority", 0), s.config.get("protected", False)] for s in self.sources
        ]
        return digest_json(sources if self.extends is None else [*sources, self.extends.digest])


@dataclass
class StageRun:
    """One stage of the recipe on its way through the run."""

    stage: Stage
    state: Annotated
    context: RunContext
    model: Path | None = None
    model_digest: str | None = None

    @property
    def module(self) -> ModuleType:
        """The stage's module."""
        return self.stage.module

    @cached_property
    def config(self) -> StageConfig:
        """Its checked configuration, paths absolute."""
        base = self.context.recipe.base.absolute()
        return with_files(self.module, self.stage.config, lambda path: str(base / written_path(path)))

    @property
    def prefix(self) -> str:
        """The prefix of its columns."""
        return self.config.column_prefix

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Columns it reads, text included."""
        return stage_reads(self.module, self.config)

    @property
    def is_corpus(self) -> bool:
        """Whether it has a `combine`."""
        return bool(self.module.SCOPE == "corpus")

    @property
    def needs_split(self) -> bool:
        """Whether it works on the held-out documents, of a recipe that has them."""
        return SPLIT in getattr(self.module, "NEEDS", ()) and self.context.recipe.split is not None

    def is_ready(self) -> bool:
        """Whether everything it reads has been written."""
        return set(self.reads) - {"text"} <= self.state.columns() and (
            self.state.split is not None or not self.needs_split
        )

    def identity(self, config: dict[str, Any], reads: Sequence[str]) -> dict[str, Any]:
        """What the stage's results depend on, under `config` and the columns it `reads`, besides the documents."""
        identity: dict[str, Any] = {
            "stage": self.config.stage,
            "version": self.module.VERSION,
            "config": config | {"field": self.config.field},
            "inputs": self.state.input_digests(reads),
            "model": self.model_digest,
        }
        if self.needs_split:
            identity[HELD_OUT] = self.state.digests[HELD_OUT]
        if "benchmarks" in getattr(self.module, "NEEDS", ()):
            identity["benchmarks"] = {name: items.stored for name, items in self.state.benchmarks.items()}
        return identity

    @cached_property
    def part_digest(self) -> str:
        """Digest of everything a shard's part depends on but the shard itself."""
        part_config = getattr(self.module, "part_config", None)
        config = part_config(self.by_content) if part_config is not None else self.full_config()
        return digest_json(self.identity(config, getattr(self.module, "PART_READS", self.reads)))

    @cached_property
    def corpus_digest(self) -> str:
        """Digest of everything the corpus columns depend on: config, documents, upstream columns."""
        identity = self.identity(self.full_config(), self.reads) | {"documents": self.state.documents_digest()}
        if self.needs_split:
            identity[SPLIT] = self.state.digests[SPLIT]
        return digest_json(identity)

    def full_config(self) -> dict[str, Any]:
        """All settings but the prefix, which changes names only."""
        return self.by_content.model_dump(mode="json", exclude={"prefix"})

    @cached_property
    def by_content(self) -> StageConfig:
        """Its configuration with the digest of what is in them in place of paths."""
        return with_files(self.module, self.config, lambda path: digest_path(Path(path)))

    def corpus(self, parts_folder: Path | None = None, sources: Iterable[str] | None = None) -> Corpus:
        """The corpus as the stage sees it: its field is the text."""
        corpus = self.state.corpus(self.context, parts_folder, sources)
        return replace(corpus, sources=tuple(source.of_field(self.config.field) for source in corpus.sources))

    @cached_property
    def folder(self) -> Path:
        """Folder of the shard parts."""
        return self.context.workspace.annotation(self.prefix, self.part_digest)

    @property
    def columns_folder(self) -> Path:
        """Folder of the columns."""
        return self.folder / "_corpus" / short(self.corpus_digest) if self.is_corpus else self.folder

    def missing(self) -> list[Shard]:
        """Shards that have no part yet."""
        return [s for source in self.state.sources for s in source.shards if not part_path(self.folder, s).is_file()]

    def pairs_digest(self, corpus: Corpus) -> str:
        """Digest of everything that what `find_pairs` leaves depends on, but for what it finds out itself."""
        shards = [[shard.source, shard.key] for shard in corpus.shards]
        key = self.module.pairs_key(corpus, self.config)
        return digest_json({"parts": self.part_digest, "shards": shards, "key": key})

    def columns_whole(self) -> bool:
        """Whether every shard has its columns."""
        return all(part_path(self.columns_folder, s).is_file() for source in self.state.sources for s in source.shards)
