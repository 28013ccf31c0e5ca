"""The schedule: one row per span of a document placed in a training row. The trainer replays it and decides nothing.

schedules/<digest>/
    schedule.parquet   SCHEMA, sorted by step, row, start
    schedule.json      what it was made from, and its totals
    receipt.json

A span never crosses a training row. `document` is the position in the mixture's documents.parquet.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import Field

from engine.base.errors import InputError, problem
from engine.base.stage import StrictModel
from engine.formats.json_model import read_model
from engine.formats.parquet import read_parquet, read_parquet_where

SCHEMA = {
    "step": pl.UInt32,  # optimizer step, from 0
    "row": pl.UInt16,  # training row within the step
    "start": pl.UInt32,  # first token of the span in its training row
    "length": pl.UInt32,  # tokens
    "document": pl.UInt32,  # position in the mixture's documents.parquet
    "document_start": pl.UInt32,  # first token of the span in its document
    "repeat": pl.UInt16,  # 0 the first time a document is used
    "supervised_tokens": pl.UInt32,  # labels the span contributes: its supervised tokens less the first
}
AGAIN = "delete the folder and run the data recipe again, which makes the same schedule"


class ScheduleMeta(StrictModel):
    """What schedule.json says; all counts in tokens."""

    digest: str
    mixture: str = Field(description="digest of the mixture's documents and order")
    token_store: str = Field(description="digest of the token store")
    row_tokens: int
    rows_per_step: int
    num_steps: int
    num_tokens: int = Field(description="tokens placed, padding not counted")
    supervised_tokens: int
    steps_without_labels: int = Field(
        default=0, description="steps that teach nothing, of pieces of long documents; training refuses them"
    )
    first_steps: dict[str, int] = Field(
        default_factory=dict, description="phase (position in the manifest's phases) -> step of its first row"
    )


@dataclass(frozen=True)
class Schedule:
    """A finished schedule."""

    folder: Path
    meta: ScheduleMeta

    def spans(self, from_step: int = 0) -> pl.DataFrame:
        """Return the spans (SCHEMA) of all steps from `from_step` on, sorted by step, row, start.

        Parts of the file that hold only earlier steps are not read.
        """
        if from_step == 0:
            return read_parquet(self.folder / "schedule.parquet", fix=AGAIN)
        return self.spans_where(pl.col("step") >= from_step)

    def spans_where(self, condition: pl.Expr) -> pl.DataFrame:
        """Return the spans for which a condition holds, in order; parts of the file that it rules out are not read."""
        return read_parquet_where(self.folder / "schedule.parquet", condition, AGAIN)


def rank_rows(num_rows: int, world_size: int, rank: int) -> range:
    """Return which rows of a step the rank takes: numbers 0 to num_rows - 1, a run of them in order.

    The runs of all ranks are the step's rows, each once, and differ by at most one row, so a step holds the same
    whatever the number of ranks; with more ranks than rows some get none. The loss is summed and divided by the labels
    of the whole step, so nothing depends on who takes which row.

    num_rows: rows of this step (the last step may have fewer); rank: 0 to world_size - 1.
    """
    assert 0 <= rank < world_size, "a rank of this world"
    return range(num_rows * rank // world_size, num_rows * (rank + 1) // world_size)


def open_schedule(folder: Path) -> Schedule:
    """Open a finished schedule; raises InputError where there is none."""
    if not (folder / "receipt.json").is_file():
        raise InputError(problem(folder, "no finished schedule", fix="run the data recipe again"))
    return Schedule(folder, read_model(folder / "schedule.json", ScheduleMeta, AGAIN))
