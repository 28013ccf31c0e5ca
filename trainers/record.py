"""What a run writes down: run.json, one line per step, one row per probed document; and the way back to a checkpoint.

A line or row of a step after the newest checkpoint is thrown away when the run goes on: the step is made again, with
the same numbers.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.atomic import atomic_file, read_json, write_json
from engine.base.errors import RecipeError, ResourceError, problem
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.run import PROBES_SCHEMA, metrics_lines, written_metrics
from engine.formats.workspace_lock import in_use

METRICS = "metrics.parquet"
IDENTITY = ("recipe", "mixture", "base")
NOT_COMPARED = {("recipe", "name"), ("recipe", "mixture"), ("recipe", "track")}
"""Keys that change nothing of what comes out; another reference to the same version is no other run, and the mixture's
digest is compared."""


class RunRecord:
    """The files of one run but for its checkpoints."""

    def __init__(self, folder: Path) -> None:
        """`folder` is runs/<name>/."""
        self.folder = folder

    @property
    def content(self) -> dict[str, Any] | None:
        """run.json, or None where nothing was started."""
        path = self.folder / "run.json"
        return read_json(path) if path.is_file() else None

    def require_same(self, identity: Mapping[str, Any]) -> None:
        """Raise RecipeError that lists what differs where the name belongs to another run."""
        stored = self.content
        if stored is None:
            return
        differs = differences({key: stored[key] for key in IDENTITY}, dict(identity))
        if differs:
            found = f"there is a run of this name with another {'; '.join(differs)}"
            fix = "name this one differently with --name, or delete the run's folder"
            raise RecipeError(problem(self.folder, found, "the same recipe, mixture and base, to go on with it", fix))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other process out of the run; raises ResourceError where one is at work on it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with in_use(self.folder.parent.parent), (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                fix = "wait for it, or name this run differently with --name"
                raise ResourceError(problem(self.folder, "another process is training this run", fix=fix)) from error
            yield

    def write(self, content: Mapping[str, Any]) -> None:
        """Write run.json."""
        write_json(self.folder / "run.json", content)

    def go_back_to(self, step: int) -> None:
        """Drop what was written down after `step` steps."""
        path = self.folder / "metrics.jsonl"
        kept = [line for line, figures in metrics_lines(self.folder) if figures["step"] <= step]
        with atomic_file(path) as temporary:
            temporary.write_bytes(b"".join(kept))
        if (self.folder / METRICS).is_file():
            self.write_metrics()
        if (self.folder / "probes.parquet").is_file():
            self._write_probes(self.probes().filter(pl.col("step") <= step))

    def append_step(self, figures: Mapping[str, Any]) -> None:
        """Add the line of a step to metrics.jsonl."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures, ensure_ascii=False, allow_nan=False) + "\n")

    def probes(self) -> pl.DataFrame:
        """Per-document figures so far (PROBES_SCHEMA)."""
        path = self.folder / "probes.parquet"
        return read_parquet(path) if path.is_file() else pl.DataFrame(schema=PROBES_SCHEMA)

    def append_probes(self, rows: pl.DataFrame) -> None:
        """Add the figures of a step to probes.parquet."""
        self._write_probes(pl.concat([self.probes(), rows]))

    def write_metrics(self) -> pl.DataFrame:
        """Make metrics.parquet from metrics.jsonl; return it."""
        metrics = written_metrics(self.folder)
        write_parquet(self.folder / METRICS, metrics)
        return metrics

    def _write_probes(self, rows: pl.DataFrame) -> None:
        write_parquet(self.folder / "probes.parquet", rows)


def differences(stored: Any, wanted: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Return `key (value there, value here)` of whatever makes two identities those of different runs."""
    if path in NOT_COMPARED or stored == wanted:
        return []
    if isinstance(stored, dict) and isinstance(wanted, dict):
        keys = [*stored, *(key for key in wanted if key not in stored)]
        return [text for key in keys for text in differences(stored.get(key), wanted.get(key), (*path, key))]
    return [f"{'.'.join(path)} ({_shown(stored)} there, {_shown(wanted)} here)"]


def _shown(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 32 and text.isalnum() else text
