"""The schedule and the token store become batches: rows are gathered by position, the step number is the only state.

Shapes: R rows of the micro-batch, T tokens of its longest row, L labels. Rows shorter than T end with padding that
counts as a document of its own, so it is isolated like every other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import torch

from engine.base.errors import InputError, problem
from engine.formats.manifest import Mixture
from engine.formats.schedule import Schedule
from engine.formats.token_store import TokenStore


@dataclass(frozen=True)
class MicroBatch:
    """Rows that go through the model at once."""

    ids: torch.Tensor
    """int64[R, T]."""
    positions: torch.Tensor
    """int64[R, T]: counts from 0 within each span, which is what keeps documents apart."""
    predictors: torch.Tensor
    """int64[L]: positions in the flattened rows whose next token is a label; ascending, each once."""
    labels: torch.Tensor
    """int64[L]: ids to be predicted there."""
    label_sources: np.ndarray
    """int64[L]: source of each label, position in `TrainingRows.sources`."""

    def to(self, device: torch.device) -> "MicroBatch":
        """Return the batch with its tensors on `device`."""
        if device.type == "cpu":
            return self
        ids, positions, predictors, labels = (
            tensor.to(device) for tensor in (self.ids, self.positions, self.predictors, self.labels)
        )
        return MicroBatch(ids, positions, predictors, labels, self.label_sources)


@dataclass(frozen=True)
class StepRows:
    """The spans of one step, gathered; one dimension over N tokens in the order of the schedule."""

    ids: np.ndarray
    rows: np.ndarray
    """int64[N]: row within the step, numbered without gaps."""
    columns: np.ndarray
    """int64[N]: position in the row."""
    positions: np.ndarray
    """int64[N]: position in the span."""
    is_label: np.ndarray
    """bool[N]: whether the token is to be predicted by the one in front of it."""
    sources: np.ndarray
    """int64[N]: position in `TrainingRows.sources`."""
    pad_id: int

    @property
    def num_rows(self) -> int:
        """Rows of the step."""
        return int(self.rows[-1]) + 1

    @property
    def supervised_tokens(self) -> int:
        """Labels of the step, over all its micro-batches."""
        return int(self.is_label.sum())

    def micro_batches(self, rows_at_once: int | None) -> Iterator[MicroBatch]:
        """Yield the rows in runs of at most `rows_at_once` (None: all at once)."""
        size = rows_at_once or self.num_rows
        for first in range(0, self.num_rows, size):
            start, stop = np.searchsorted(self.rows, (first, first + size))
            yield self._micro_batch(int(start), int(stop))

    def _micro_batch(self, start: int, stop: int) -> MicroBatch:
        chosen = slice(start, stop)
        rows = self.rows[chosen] - self.rows[start]
        num_rows, num_columns = int(rows[-1]) + 1, int(self.columns[chosen].max()) + 1
        flat = rows * num_columns + self.columns[chosen]
        ids = np.full(num_rows * num_columns, self.pad_id, dtype=np.int64)
        ids[flat] = self.ids[chosen]
        positions = _pad_positions(rows, self.columns[chosen], num_rows, num_columns)
        positions[flat] = self.positions[chosen]
        is_label = self.is_label[chosen]
        return MicroBatch(
            ids=torch.from_numpy(ids.reshape(num_rows, num_columns)),
            positions=torch.from_numpy(positions.reshape(num_rows, num_columns)),
            predictors=torch.from_numpy(flat[is_label] - 1),
            labels=torch.from_numpy(self.ids[chosen][is_label]),
            label_sources=self.sources[chosen][is_label],
        )


def _pad_positions(rows: np.ndarray, columns: np.ndarray, num_rows: int, num_columns: int) -> np.ndarray:
    # Counts from 0 after the last token of each row; real positions are written over the rest.
    used = np.zeros(num_rows, dtype=np.int64)
    np.maximum.at(used, rows, columns + 1)
    return np.maximum(np.arange(num_columns)[None, :] - used[:, None], 0).reshape(-1)


@dataclass(frozen=True)
class TrainingRows:
    """A schedule over a token store."""

    mixture: Mixture
    schedule: Schedule
    store: TokenStore

    @property
    def num_steps(self) -> int:
        """Steps of the schedule."""
        return self.schedule.meta.num_steps

    @cached_property
    def sources(self) -> tuple[tuple[str, bool], ...]:
        """(name, is_replay) of every source in the mixture; a source of both kinds stands twice."""
        pairs = self._documents.select("source", "is_replay").unique().sort("is_replay", "source")
        return tuple((source, is_replay) for source, is_replay in pairs.iter_rows())

    @cached_property
    def _documents(self) -> pl.DataFrame:
        return self.mixture.documents().sort("document")

    @cached_property
    def _offsets(self) -> np.ndarray:
        """int64 per document of the mixture: its first token in the store."""
        store_rows = self._documents.get_column("store_row").to_numpy()
        return self.store.documents().get_column("offset").to_numpy()[store_rows]

    @cached_property
    def _source_numbers(self) -> np.ndarray:
        """int64 per document of the mixture: position in `sources`."""
        names = pl.DataFrame(self.sources, schema=["source", "is_replay"], orient="row").with_row_index("number")
        joined = self._documents.join(names, on=["source", "is_replay"], how="left", maintain_order="left")
        return joined.get_column("number").to_numpy().astype(np.int64)

    @cached_property
    def _spans(self) -> dict[str, np.ndarray]:
        # In the types of the file: a long schedule is large.
        spans = self.schedule.spans()
        return {name: spans.get_column(name).to_numpy() for name in spans.columns}

    @cached_property
    def _step_starts(self) -> np.ndarray:
        return np.searchsorted(self._spans["step"], np.arange(self.num_steps + 1))

    def spans_of(self, step: int) -> dict[str, np.ndarray]:
        """Return the columns of the schedule for one step (from 0), with `offset` in the store and `source`."""
        chosen = slice(*self._step_starts[step : step + 2])
        spans = {name: column[chosen].astype(np.int64) for name, column in self._spans.items()}
        spans["offset"] = self._offsets[spans["document"]] + spans["document_start"]
        spans["source"] = self._source_numbers[spans["document"]]
        return spans

    def gather(self, step: int) -> StepRows:
        """Return the rows of one step (from 0).

        Raises InputError where the store's supervised bits do not give the labels the schedule counted.
        """
        spans = self.spans_of(step)
        lengths = spans["length"]
        if not len(lengths):
            raise InputError(problem(self.schedule.folder, f"step {step} has no spans", "at least one"))
        first = np.cumsum(lengths) - lengths
        positions = np.arange(int(lengths.sum())) - np.repeat(first, lengths)
        _, rows = np.unique(spans["row"], return_inverse=True)
        labels = [self.store.labels(int(o), int(n)) for o, n in zip(spans["offset"], lengths, strict=True)]
        is_label = np.concatenate(labels)
        counted = np.add.reduceat(is_label.astype(np.int64), first)
        if not np.array_equal(counted, spans["supervised_tokens"]):
            planned = spans["supervised_tokens"].sum()
            found = f"step {step}: {counted.sum():,} labels in the token store, {planned:,} in the schedule"
            fix = "delete the schedule and run the data recipe again"
            raise InputError(problem(self.schedule.folder, found, "the same number", fix))
        return StepRows(
            ids=self.store.ids[np.repeat(spans["offset"], lengths) + positions].astype(np.int64),
            rows=np.repeat(rows, lengths),
            columns=np.repeat(spans["start"], lengths) + positions,
            positions=positions,
            is_label=is_label,
            sources=np.repeat(spans["source"], lengths),
            pad_id=self.store.meta.eos_id,
        )
