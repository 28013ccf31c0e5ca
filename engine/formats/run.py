"""A training run on disk: what it was, what it measured, where it stands.

runs/<name>/
    run.json            the resolved train recipe, mixture and base by digest, lineage, versions; written at the start
    metrics.jsonl       one line per optimizer step (METRICS below, per-source figures under `sources`)
    metrics.parquet     the same, one row per step and source (source null = the whole step); made at every checkpoint
    probes.parquet      one row per probe, step and document
    forgetting.parquet  one row per probe and step: paired difference to step 0 with its interval
    nonfinite.json      only where a loss or gradient was no number: the documents of that step, worst first
    tensorboard/ wandb/ only where the recipe asks for them
    checkpoints/step-000100/
    final/              a normal Hugging Face folder, or a PEFT adapter folder
    receipt.json        done
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.atomic import read_json
from engine.base.errors import InputError, problem, unknown
from engine.formats.parquet import read_parquet, read_parquet_where
from engine.formats.workspace import Workspace

METRICS_SCHEMA = {
    "step": pl.UInt32,  # the step that was just made, from 1
    "source": pl.String,  # null: all sources of the step
    "loss": pl.Float64,  # nats per supervised token
    "supervised_tokens": pl.Int64,
    "tokens": pl.Int64,  # real tokens, padding not counted
    "learning_rate": pl.Float64,
    "grad_norm": pl.Float64,
    "seconds": pl.Float64,  # wall clock of the step, probes not counted
}
PROBES_SCHEMA = {
    "step": pl.UInt32,  # optimizer steps made; 0 is the base
    "probe": pl.String,  # held-out set
    "doc_id": pl.Binary,
    "nats": pl.Float64,  # summed negative log-likelihood
    "tokens": pl.Int64,  # labels
    "bytes": pl.Int64,  # UTF-8 bytes those labels stand for
}
FORGETTING_SCHEMA = {
    "step": pl.UInt32,
    "probe": pl.String,
    "is_general": pl.Boolean,  # counts against the forgetting budget
    "bits_per_byte": pl.Float64,
    "nats_per_token": pl.Float64,
    "relative_rise": pl.Float64,  # (bits per byte now - at step 0) / at step 0
    "rise_low": pl.Float64,  # 95 % interval, paired by document
    "rise_high": pl.Float64,
    "within_budget": pl.Boolean,  # rise_high <= the budget; null for probes that do not count
}


@dataclass(frozen=True)
class Run:
    """A training run, finished or not."""

    folder: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.folder / "receipt.json").is_file()

    @property
    def metrics_path(self) -> Path:
        """metrics.parquet, which is there from the first checkpoint on."""
        return self.folder / "metrics.parquet"

    @property
    def has_all_metrics(self) -> bool:
        """Whether metrics.parquet holds every step: while a run goes on, metrics.jsonl is ahead of it."""
        is_ahead = not self.is_finished and (self.folder / "metrics.jsonl").is_file()
        return self.metrics_path.is_file() and not is_ahead

    def made_steps(self) -> int:
        """Return the last step that is in its metrics, 0 for none."""
        if self.has_all_metrics:
            return int(read_parquet(self.metrics_path, columns=["step"])["step"].max() or 0)  # type: ignore[arg-type]
        return max((int(figures["step"]) for _, figures in metrics_lines(self.folder)), default=0)

    def metrics(self, steps: Iterable[int]) -> pl.DataFrame:
        """Return METRICS_SCHEMA of those of these steps (from 1) that were made; source null: the whole step."""
        is_wanted = pl.col("step").is_in(sorted(set(steps)))
        if self.has_all_metrics:
            return read_parquet_where(self.metrics_path, is_wanted).select(list(METRICS_SCHEMA))
        return written_metrics(self.folder).filter(is_wanted)


def metrics_lines(folder: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the lines of metrics.jsonl of a run, each as written and as read.

    A last line without its end is left out: the run is writing it right now, or was killed when it did. Raises
    InputError, which names the line, where one is no JSON.
    """
    path = folder / "metrics.jsonl"
    content = path.read_bytes() if path.is_file() else b""
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            return
        try:
            figures = json.loads(line)
        except ValueError as error:
            raise InputError(problem(f"{path}:{number}", "the line is not JSON", fix="start the run again")) from error
        yield line, figures


def written_metrics(folder: Path) -> pl.DataFrame:
    """Return metrics.jsonl as METRICS_SCHEMA: one row per step with source null, and one per step and source.

    Learning rate, gradient norm and seconds belong to the step alone and are null in the rows of sources.
    """
    rows = []
    for _, figures in metrics_lines(folder):
        rows.append({**figures, "source": None})
        parts = figures.get("sources", {})
        rows += [{**part, "step": figures["step"], "source": name} for name, part in parts.items()]
    return pl.DataFrame([{name: row.get(name) for name in METRICS_SCHEMA} for row in rows], schema=METRICS_SCHEMA)


def run_names(workspace: Workspace) -> list[str]:
    """Return the names of all runs of the workspace."""
    folder = workspace.root / "runs"
    return sorted(path.parent.name for path in folder.glob("*/run.json"))


def open_run(workspace: Workspace, name: str) -> Run:
    """Open a run; raises InputError that lists what there is, or says that its run.json is damaged."""
    path = workspace.run(name) / "run.json"
    if not path.is_file():
        raise InputError(unknown(workspace.root, "run", name, run_names(workspace)))
    try:
        content = read_json(path)
    except ValueError as error:
        fix = "restore it from a copy, or delete the folder and train again"
        raise InputError(problem(path, f"cannot be read ({str(error).splitlines()[0]})", fix=fix)) from error
    return Run(path.parent, content)


def require_finished(run: Run) -> Run:
    """Return the run where it is finished; raises InputError where it is not."""
    if not run.is_finished:
        raise InputError(
            problem(run.folder, "the run is not finished", fix="start it again with the same command, it goes on")
        )
    return run
