"""The rows of a training step as arrays: the schedule laid over the token store, for all ranks or for one of them.

Nothing is decided here. The step number is the only position: any step is read on its own, without those before it, and
of a long schedule only the steps around it are held. Letters: S spans, in the order of the schedule; N tokens, span
after span; R rows. A span is a document or a piece of one, so spans are what attention and positions are kept to.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.errors import InputError, problem
from engine.formats.mixture import Mixture
from engine.formats.schedule import AGAIN, Schedule, open_schedule, rank_rows
from engine.formats.token_store import TokenStore, open_token_store
from engine.formats.workspace import Workspace

Integers = NDArray[np.int64]
_TOKENS_AT_ONCE = 1 << 24
"""Of the schedule, so many tokens' worth of spans are read at a time: some ten megabytes."""
_OF_SPANS = ("row", "start", "length", "document", "document_start", "supervised_tokens")


@dataclass(frozen=True, eq=False)
class StepRows:
    """Rows of one step: all of them, or those of a rank, which may be none."""

    ids: Integers
    """int64[N]."""
    is_label: NDArray[np.bool_]
    """bool[N]: is it to be predicted by the token in front of it? Never true of the first token of a span."""
    row: Integers
    """int64[S]: row within the whole step, from 0, whichever rank has it."""
    start: Integers
    """int64[S]: first token in its row."""
    length: Integers
    """int64[S]."""
    document: Integers
    """int64[S]: position in the mixture's documents."""
    source: Integers
    """int64[S]: position in `TrainingRows.sources`."""
    step_labels: int
    """Labels of the whole step, over all ranks: what the summed loss is divided by."""
    most_rows: int
    """Rows of the rank that has most, so that all ranks know how many micro-batches there are."""

    @cached_property
    def row_number(self) -> Integers:
        """int64[S]: which of these rows it is in, 0 to R - 1."""
        return np.unique(self.row, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def bounds(self) -> Integers:
        """int64[S + 1]: where spans begin and end in `ids`, which is what cu_seqlens of varlen attention holds."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.length)])

    @cached_property
    def positions(self) -> Integers:
        """int64[N]: position of each token in its span, from 0."""
        return np.arange(self.ids.size) - self.of_tokens(self.bounds[:-1])

    @cached_property
    def columns(self) -> Integers:
        """int64[N]: position of each token in its row."""
        return self.of_tokens(self.start) + self.positions

    def of_tokens(self, of_spans: Integers) -> Integers:
        """Return int64[N]: for each token what its span has, such as `of_tokens(rows.source)`."""
        return np.repeat(of_spans, self.length)


@dataclass(frozen=True)
class TrainingRows:
    """A mixture's schedule over its token store."""

    mixture: Mixture
    schedule: Schedule
    store: TokenStore
    _window: dict[int, pl.DataFrame] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def num_steps(self) -> int:
        """Steps of the schedule."""
        return self.schedule.meta.num_steps

    @cached_property
    def sources(self) -> tuple[tuple[str, bool], ...]:
        """(name, is_replay) of every source in the mixture; a source of both kinds stands twice."""
        pairs = self._documents.select("source", "is_replay").unique().sort("is_replay", "source")
        return tuple((source, is_replay) for source, is_replay in pairs.iter_rows())

    def step(self, step: int, rank: int = 0, world_size: int = 1) -> StepRows:
        """Return the rows of one step (from 0) that a rank trains on (engine.formats.schedule.rank_rows).

        Raises InputError where the schedule has no such step, or the token store's supervised bits do not give the
        labels the schedule counted.
        """
        spans = self._spans_of(step)
        if spans.is_empty():
            raise InputError(problem(self.schedule.folder, f"step {step} has no spans", "at least one", AGAIN))
        of_ranks = [rank_rows(int(spans["row"][-1]) + 1, world_size, one) for one in range(world_size)]
        mine = of_ranks[rank]
        chosen = spans if world_size == 1 else spans.filter(pl.col("row").is_between(mine.start, mine.stop - 1))
        columns = {name: chosen[name].to_numpy().astype(np.int64) for name in _OF_SPANS}
        planned, lengths = columns.pop("supervised_tokens"), columns["length"]
        starts = self._offsets[columns["document"]] + columns.pop("document_start")
        ids, is_label = self.store.spans(starts, lengths)
        counted = np.bincount(np.repeat(np.arange(lengths.size), lengths)[is_label], minlength=lengths.size)
        if not np.array_equal(counted, planned):
            found = f"step {step}: {counted.sum():,} labels in the token store, {planned.sum():,} in the schedule"
            raise InputError(problem(self.schedule.folder, found, "the same number", AGAIN))
        return StepRows(
            ids=ids,
            is_label=is_label,
            **columns,
            source=self._source_numbers[columns["document"]],
            step_labels=int(spans["supervised_tokens"].cast(pl.Int64).sum()),
            most_rows=max(len(rows) for rows in of_ranks),
        )

    def _spans_of(self, step: int) -> pl.DataFrame:
        meta = self.schedule.meta
        size = max(1, _TOKENS_AT_ONCE // (meta.row_tokens * meta.rows_per_step))
        number = step // size
        if number not in self._window:
            is_near = pl.col("step").is_between(number * size, (number + 1) * size - 1)
            found = self.schedule.spans_where(is_near)
            self._window.clear()
            self._window[number] = found
        spans = self._window[number]
        begin, end = (spans["step"].search_sorted(step, side) for side in ("left", "right"))
        return spans[begin:end]

    @cached_property
    def _documents(self) -> pl.DataFrame:
        return self.mixture.documents(["document", "source", "is_replay", "store_row"]).sort("document")

    @cached_property
    def _offsets(self) -> Integers:
        """int64 per document of the mixture: its first token in the store."""
        return self.store.documents(["offset"])["offset"].to_numpy()[self._documents["store_row"].to_numpy()]

    @cached_property
    def _source_numbers(self) -> Integers:
        """int64 per document of the mixture: position in `sources`."""
        names = pl.DataFrame(self.sources, schema=["source", "is_replay"], orient="row").with_row_index("number")
        joined = self._documents.join(names, on=["source", "is_replay"], how="left", maintain_order="left")
        return joined["number"].to_numpy().astype(np.int64)


def open_training_rows(workspace: Workspace, mixture: Mixture) -> TrainingRows:
    """Open what a mixture is trained on.

    Raises InputError where its schedule or token store is not there or belongs to another, or a step has no label.
    Compared are digests and sizes; `provender mixture verify` compares every byte.
    """
    said = mixture.manifest
    schedule = open_schedule(workspace.schedule(said.schedule))
    store = open_token_store(workspace.tokens(said.token_store))
    named = (said.schedule, said.token_store, said.token_store, said.tokenizer)
    if named != (schedule.meta.digest, schedule.meta.token_store, store.meta.digest, store.meta.tokenizer):
        found = "its schedule or token store belongs to another mixture"
        raise InputError(problem(mixture.folder, found, fix="run the data recipe again"))
    unlabelled = schedule.meta.steps_without_labels
    if unlabelled:
        found = f"{unlabelled:,} of its {schedule.meta.num_steps:,} steps have no label"
        needed = "a label in every step, whose loss is divided by them"
        fix = (
            "set a larger rows_per_step or row_tokens, or drop what is longer than a row, and run the data recipe again"
        )
        raise InputError(problem(mixture.reference, found, needed, fix))
    return TrainingRows(mixture, schedule, store)
