"""Runs the annotate stages of a recipe: in waves, each shard's text read once per wave, only what is missing.

1. A stage is ready when every column it reads was written. Corpus stages that read no text go first (exact duplicates
   are then known before anything is signed); all other ready stages form one wave, but for those that keep the whole
   machine busy by themselves (a language model): each of them is a wave.
2. In a wave, stages that train get their model first; then each shard is decoded once and handed to every stage that
   has no part for it yet; then corpus stages combine their stored parts, some by way of verified pairs, which are an
   artifact of their own: another threshold starts from the same ones.
3. The split is made as soon as the columns it reads are there, because contamination searches for held-out documents.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from engine.base.atomic import atomic_folder, read_json
from engine.base.hashing import digest_json, short
from engine.base.stage import StageConfig, prefixed, stage_adds, stage_edits, stage_trains
from engine.formats.annotation import Annotation, Corpus, ShardView, write_part
from engine.formats.documents import Shard, SourceDocuments
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.run.benchmark_items import benchmark_items
from engine.run.extension import Extension
from engine.run.memory import workers_within
from engine.run.splitting import make_split, split_is_ready
from engine.run.stage_run import Annotated, StageRun
from engine.run.steps import FRESH, MADE, PAIRS, STALE, Annotating, PlanEndsError, RunContext, Stopwatch
from engine.run.workers import work
from engine.text.spans import holds_spans


def annotate(context: RunContext, sources: tuple[SourceDocuments, ...], extends: Extension | None = None) -> Annotated:
    """Run or re-use every stage and the split; raises PlanEndsError in a dry run at the first stale wave.

    extends: the version that the documents of one of the sources are to be added to.
    """
    state = Annotated(sources, benchmarks=benchmark_items(context), extends=extends)
    pending = [StageRun(stage, state, context) for stage in context.recipe.annotate]
    while pending or (context.recipe.split is not None and state.split is None):
        if context.recipe.split is not None and state.split is None and split_is_ready(context, state):
            make_split(context, state)
            continue
        ready = [run for run in pending if run.is_ready()]
        if not ready:
            raise ValueError(
                f"no stage of {[run.prefix for run in pending]} can run; the recipe check should have said so"
            )
        wave = _next_wave(ready)
        _run_wave(context, state, wave)
        pending = [run for run in pending if run not in wave]
    return state


def _next_wave(ready: list[StageRun]) -> list[StageRun]:
    """Return the stages to run now: corpus stages that read no text, else all that share, else one that does not."""
    without_text = [run for run in ready if run.is_corpus and "text" not in run.reads]
    sharing = [run for run in ready if not getattr(run.module, "OWN_THREADS", False)]
    return without_text or sharing or ready[:1]


def _run_wave(context: RunContext, state: Annotated, wave: list[StageRun]) -> None:
    untrained = [run for run in wave if stage_trains(run.module, run.config) and not _trained(context, run)]
    wave = [run for run in wave if run not in untrained]
    seconds = _annotate_shards(context, state, wave)
    for run in wave:
        if run.is_corpus:
            _combine(context, run, seconds.get(run.prefix, 0.0))
        elif run.prefix in seconds or read_receipt(run.folder) is None:
            write_receipt(run.folder, _receipt(run, run.part_digest, seconds.get(run.prefix, 0.0)))
            context.note(run.prefix, MADE, receipt=read_receipt(run.folder))
        else:
            context.note(run.prefix, FRESH, receipt=read_receipt(run.folder))
        columns = tuple(prefixed(name, run.config) for name in stage_adds(run.module, run.config))
        digest = run.corpus_digest if run.is_corpus else run.part_digest
        state.annotations.append(Annotation(run.prefix, run.config.stage, digest, run.columns_folder, columns))
        state.digests[run.prefix] = digest
        edits = stage_edits(run.module, run.config)
        state.edit_columns |= {prefixed(name, run.config): kind for name, kind in edits.items()}
        if run.is_corpus:
            state.artifacts[run.prefix] = run.columns_folder
    if untrained:
        raise PlanEndsError(untrained[0].prefix)


def _receipt(
    run: StageRun, digest: str, seconds: float, details: dict[str, Any] | None = None, rows: int | None = None
) -> Receipt:
    return Receipt(
        made_by=f"{run.config.stage}/{run.module.VERSION}",
        digest=digest,
        inputs={source.name: source.digest for source in run.state.sources}
        | run.state.input_digests(run.reads)
        | ({f"{run.prefix} (model)": run.model_digest} if run.model_digest is not None else {}),
        config=run.config.model_dump(mode="json"),
        rows=sum(source.num_documents for source in run.state.sources) if rows is None else rows,
        seconds=round(seconds, 3),
        details=details or {},
    )


@dataclass(frozen=True)
class ShardTask:
    """One shard and the stages that lack a part for it; picklable, so that a process can do it."""

    shard: Shard
    annotations: tuple[Annotation, ...]
    stages: tuple[tuple[str, StageConfig, Path, Path | None], ...]
    """(module name, config, folder of the parts, folder of the model)"""


def _annotate_shards(context: RunContext, state: Annotated, wave: Sequence[StageRun]) -> dict[str, float]:
    """Make the missing parts of a wave; return the seconds of work of every stage that had any, by prefix."""
    missing = {run.prefix: set(map(_key, run.missing())) for run in wave}
    tasks = []
    for source in state.sources:
        for shard in source.shards:
            lacking = [run for run in wave if _key(shard) in missing[run.prefix]]
            if lacking:
                stages = tuple((run.module.__name__, run.config, run.folder, run.model) for run in lacking)
                tasks.append(ShardTask(shard, tuple(state.annotations), stages))
    if tasks and context.dry_run:
        for run in wave:
            stale = len(missing[run.prefix])
            context.note(run.prefix, STALE if stale else FRESH, f"{stale} shards to do" if stale else "")
        raise PlanEndsError(wave[0].prefix)
    in_processes = any(getattr(run.module, "HOLDS_GIL", False) and missing[run.prefix] for run in wave)
    own_threads = any(getattr(run.module, "OWN_THREADS", False) for run in wave)
    jobs = 1 if own_threads else workers_within(context.memory_bytes, context.jobs, [task.shard for task in tasks])
    names = " + ".join(run.prefix for run in wave if missing[run.prefix])
    seconds: dict[str, float] = {}
    watch = Stopwatch()
    for spent in work(names or "annotate", annotate_shard, tasks, jobs, in_processes):
        for prefix, more in spent.items():
            seconds[prefix] = round(seconds.get(prefix, 0.0) + more, 3)
    if tasks:
        of_stage = {
            run.prefix: sum(task.shard.num_bytes for task in tasks if _key(task.shard) in missing[run.prefix])
            for run in wave
            if missing[run.prefix]
        }
        num_bytes = sum(task.shard.num_bytes for task in tasks)
        context.annotating.append(Annotating(num_bytes, len(tasks), watch.seconds, seconds, of_stage))
    return seconds


def _key(shard: Shard) -> tuple[str, str]:
    return shard.source, shard.key


def annotate_shard(task: ShardTask) -> dict[str, float]:
    """Decode one shard once and write the part of every stage that lacks one; return the seconds each took.

    What stages share (reading, words, windows) stands under names of its own, in brackets.
    """
    views: dict[str, ShardView] = {}
    shared: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for module_name, config, folder, model in task.stages:
        module = importlib.import_module(module_name)
        if config.field not in views:
            views[config.field] = ShardView(replace(task.shard, field=config.field), task.annotations, shared)
        view = views[config.field]
        watch, shared_before = Stopwatch(), sum(shared.values())
        frame = module.annotate(view, config, model) if model is not None else module.annotate(view, config)
        if module.SCOPE == "shard":
            frame = _checked(frame, module, config, view.shard)
        write_part(folder, task.shard, frame)
        # What stages share is nobody's own: whoever asks first would pay for all.
        seconds[config.column_prefix] = watch.seconds - (sum(shared.values()) - shared_before)
    return seconds | shared


def _checked(frame: pl.DataFrame, module: ModuleType, config: StageConfig, shard: Shard) -> pl.DataFrame:
    """Return the stage's columns under its prefix, spans as spans of the whole text."""
    wanted = {name: column.dtype for name, column in stage_adds(module, config).items()}
    if dict(frame.schema) != wanted:
        raise TypeError(f"{module.__name__} returned {frame.schema}, but ADDS says {wanted}")
    frame = frame.with_columns(shard.spans_of_text(frame[name]) for name in wanted if holds_spans(wanted[name]))
    return frame.rename({name: prefixed(name, config) for name in wanted})


def _combine(context: RunContext, run: StageRun, part_seconds: float) -> None:
    folder, whole = run.columns_folder, run.columns_whole()
    corpus = replace(run.corpus(parts_folder=run.folder), model=run.model)
    receipt = read_receipt(folder)
    is_fresh = receipt is not None and receipt.digest == run.corpus_digest and whole
    if hasattr(run.module, "find_pairs") and not is_fresh:
        corpus = replace(corpus, pairs_folder=_find_pairs(context, run, corpus))

    def combine() -> None:
        watch = Stopwatch()
        with atomic_folder(folder) as temporary:
            for shard, frame in run.module.combine(corpus, run.config, temporary):
                write_part(temporary, shard, _checked(frame, run.module, run.config, shard))
            details = _details(temporary)
            write_receipt(temporary, _receipt(run, run.corpus_digest, part_seconds + watch.seconds, details))

    context.ensure(run.prefix, folder, run.corpus_digest, combine, whole=whole)


def _find_pairs(context: RunContext, run: StageRun, corpus: Corpus) -> Path:
    """Return the folder of the pairs that `combine` decides over; found again only where they would be others."""
    digest = run.pairs_digest(corpus)
    folder = run.folder / "_pairs" / short(digest)

    def find() -> None:
        watch = Stopwatch()
        with atomic_folder(folder) as temporary:
            num_pairs = run.module.find_pairs(corpus, run.config, temporary)
            write_receipt(temporary, _receipt(run, digest, watch.seconds, _details(temporary), num_pairs))

    holds = read_receipt(folder) is None or run.module.pairs_hold(corpus, run.config, folder)
    context.ensure(f"{run.prefix} {PAIRS}", folder, digest, find, whole=holds)
    return folder


def _trained(context: RunContext, run: StageRun) -> bool:
    """Train a stage or re-use its model; return False in a dry run where it would be trained."""
    try:
        _train(context, run)
    except PlanEndsError:
        # The rest of its wave does not depend on it, and the plan says of each whether it is stale.
        return False
    return True


def _train(context: RunContext, run: StageRun) -> None:
    named = getattr(run.module, "training_sources", lambda _: None)(run.config)
    sources = [s for s in run.state.sources if named is None or s.name in named]
    settings = getattr(run.module, "train_config", None) or getattr(run.module, "part_config", None)
    identity = run.identity(settings(run.by_content) if settings is not None else run.full_config(), run.reads)
    if "documents" in getattr(run.module, "TRAINS_ON", ("documents",)):
        identity["documents"] = [[s.name, s.digest] for s in sources]
    digest = digest_json(identity)
    folder = context.workspace.model(digest)

    def train() -> None:
        watch = Stopwatch()
        with atomic_folder(folder) as temporary:
            run.module.train(run.corpus(sources=[s.name for s in sources]), run.config, temporary)
            write_receipt(temporary, _receipt(run, digest, watch.seconds, _details(temporary)))

    context.ensure(f"{run.prefix} (model)", folder, digest, train)
    run.model, run.model_digest = folder, digest
    run.state.models[run.prefix] = folder


def _details(folder: Path) -> dict[str, Any]:
    # A stage may leave counts for the receipt in details.json: expected recall, skipped buckets, AUC.
    return read_json(folder / "details.json") if (folder / "details.json").is_file() else {}
