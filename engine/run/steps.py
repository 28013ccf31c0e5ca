"""What a run is made of: steps that are fresh or stale, and the record of what was done with each.

A step is fresh when its receipt and all its files are there under a digest made of the step's version, its config and
the digests of its inputs; nothing else makes it stale. A dry run stops at the first stale step it depends on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from engine.base.progress import progress, say
from engine.base.stage import StrictModel
from engine.formats.receipt import Receipt, read_receipt
from engine.formats.workspace import Workspace
from engine.recipe import DataRecipe

FRESH, MADE, STALE = "fresh", "made", "stale"
TOKEN_STORE = "token store"
"""The step that makes the token store; with a space, so that no stage can have its name."""
NEW_PIECES = "new pieces"
"""The step that extends the vocabulary of a tokenizer for a domain."""
CONTROL_TOKENS = "control tokens"
"""The step that gives control tokens their ids in a copy of the tokenizer."""
PAIRS = "(pairs)"
"""What the step that finds a stage's pairs has behind the stage's name."""


class PlanEndsError(Exception):
    """Raised in a dry run where the next step needs the result of a stale one; never leaves engine.run."""


class Step(StrictModel):
    """One step of a run, as `provender run` shows it."""

    name: str
    state: str
    why: str = ""
    rows: int | None = None
    seconds: float = 0.0
    details: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Annotating:
    """The shard work of one wave of stages."""

    num_bytes: int
    """Text of the shards that were worked on, in UTF-8."""
    num_shards: int
    wall_seconds: float
    work_seconds: dict[str, float]
    """Column prefix, or in brackets what stages share -> seconds of all workers."""
    stage_bytes: dict[str, int]
    """Column prefix -> text of the shards it had to work on."""


@dataclass
class RunContext:
    """Everything the steps share."""

    recipe: DataRecipe
    workspace: Workspace
    jobs: int
    memory_bytes: int
    dry_run: bool = False
    steps: list[Step] = field(default_factory=list)
    annotating: list[Annotating] = field(default_factory=list)

    def note(self, name: str, state: str, why: str = "", receipt: Receipt | None = None) -> None:
        """Record a step; say so on stderr where work was done."""
        rows, seconds = (receipt.rows, receipt.seconds) if receipt is not None else (None, 0.0)
        details = receipt.details if receipt is not None else {}
        self.steps.append(
            Step(name=name, state=state, why=why, rows=rows, seconds=seconds if state == MADE else 0.0, details=details)
        )
        if state == MADE:
            count = f"{counted_rows(name, rows)}, " if rows is not None else ""
            say(f"{name}: {count}{seconds:,.1f} s")

    def ensure(self, name: str, folder: Path, digest: str, work: Callable[[], None], whole: bool = True) -> Receipt:
        """Return the receipt of a fresh step, or do `work` (which ends by writing the receipt) and return the new one.

        `whole`: whether all files of the step are there, where a receipt alone does not tell.
        """
        receipt = read_receipt(folder)
        if receipt is not None and receipt.digest == digest and whole:
            self.note(name, FRESH, receipt=receipt)
            return receipt
        if self.dry_run:
            self.note(name, STALE, "no result for this input and config")
            raise PlanEndsError(name)
        with progress(name):
            work()
        receipt = read_receipt(folder)
        if receipt is None or receipt.digest != digest:
            raise ValueError(f"{name}: the step left no receipt for {digest} in {folder}")
        self.note(name, MADE, receipt=receipt)
        return receipt


def counted_rows(name: str, rows: int) -> str:
    """Return how much a step made: a mixture's schedule has a row per span, a piece of a document in a training row."""
    return f"{rows:,} {'span' if name.startswith('mixture ') else 'row'}{'s' * (rows != 1)}"


class Stopwatch:
    """Wall-clock seconds since it was made, for receipts."""

    def __init__(self) -> None:
        """Start."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds, rounded to a millisecond."""
        return round(time.monotonic() - self._started, 3)
