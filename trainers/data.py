"""The rows of a step become batches of tensors.

Shapes: R rows of the micro-batch, T tokens of its longest row, L labels. Rows shorter than T end with padding that
counts as a document of its own, so it is isolated like every other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from engine.formats.training_rows import StepRows

TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 8192}
"""A CPU's products are no faster with more, and activations grow with them; a GPU wants to be filled."""


def tokens_at_once() -> int:
    """Return the tokens of a micro-batch where the recipe does not say how many rows it has."""
    return TOKENS_AT_ONCE["cuda" if torch.cuda.is_available() else "cpu"]


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
    edges: np.ndarray
    """int64[D + 1]: where each of the D documents begins in the flattened rows, padding being one, and their end."""

    def to(self, device: torch.device) -> "MicroBatch":
        """Return the batch with its tensors on `device`."""
        if device.type == "cpu":
            return self
        ids, positions, predictors, labels = (
            tensor.to(device) for tensor in (self.ids, self.positions, self.predictors, self.labels)
        )
        return MicroBatch(ids, positions, predictors, labels, self.label_sources, self.edges)


def micro_batches(
    step: StepRows, pad_id: int, rows_at_once: int | None = None, is_flat: bool = False
) -> Iterator[MicroBatch]:
    """Yield the rows in runs of at most `rows_at_once` (None: all at once), as many runs as every other rank.

    A model that is divided is run by all ranks together, so one that has no more rows gets a token of padding. is_flat:
    rows one after the other as a single row [1, N], without padding.
    """
    rows, sources = step.of_tokens(step.row_number), step.of_tokens(step.source)
    size = rows_at_once or max(1, step.most_rows)
    for first in range(0, step.most_rows, size):
        chosen = slice(*np.searchsorted(rows, (first, first + size)))
        if chosen.start == chosen.stop:
            yield _padding(pad_id)
            continue
        mine, columns, ids, is_label = (one[chosen] for one in (rows - first, step.columns, step.ids, step.is_label))
        if is_flat:
            mine, columns = np.zeros_like(mine), np.arange(len(mine))
        num_rows, num_columns = int(mine[-1]) + 1, int(columns.max()) + 1
        flat = mine * num_columns + columns
        padded = np.full(num_rows * num_columns, pad_id, dtype=np.int64)
        padded[flat] = ids
        positions = _pad_positions(mine, columns, num_rows, num_columns)
        positions[flat] = step.positions[chosen]
        yield MicroBatch(
            ids=torch.from_numpy(padded.reshape(num_rows, num_columns)),
            positions=torch.from_numpy(positions.reshape(num_rows, num_columns)),
            predictors=torch.from_numpy(flat[is_label] - 1),
            labels=torch.from_numpy(ids[is_label]),
            label_sources=sources[chosen][is_label],
            edges=np.append(np.flatnonzero(positions == 0), len(positions)),
        )


def _padding(pad_id: int) -> MicroBatch:
    none, one = torch.zeros(0, dtype=torch.int64), torch.zeros((1, 1), dtype=torch.int64)
    return MicroBatch(torch.full_like(one, pad_id), one, none, none, np.zeros(0, dtype=np.int64), np.array([0, 1]))


def _pad_positions(rows: np.ndarray, columns: np.ndarray, num_rows: int, num_columns: int) -> np.ndarray:
    # Counts from 0 after the last token of each row; real positions are written over the rest.
    used = np.zeros(num_rows, dtype=np.int64)
    np.maximum.at(used, rows, columns + 1)
    return np.maximum(np.arange(num_columns)[None, :] - used[:, None], 0).reshape(-1)
