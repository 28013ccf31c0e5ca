"""A training run as `explain` and `show` read it: its mixture, the steps it made, their losses.

Steps are counted from 1, as in metrics, checkpoints and charts: step 1 is what the first optimizer step was made of. In
the schedule, and in the SQL view `schedule`, the same step has the number 0.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.errors import InputError, problem
from engine.formats.manifest import Mixture, open_mixture
from engine.formats.run import METRICS_SCHEMA, Run
from engine.formats.workspace import Workspace


@dataclass(frozen=True)
class TrainingRun:
    """A training run, finished or not."""

    run: Run

    @property
    def mixture(self) -> tuple[str, str | None]:
        """Reference and digest of the mixture it trains on."""
        named = self.run.content["mixture"]
        return (named, None) if isinstance(named, str) else (named["reference"], named.get("digest"))

    def open_mixture(self, workspace: Workspace) -> Mixture:
        """Open its mixture; raises InputError where the version is gone, or is another one than it was trained on."""
        reference, digest = self.mixture
        mixture = open_mixture(workspace, reference)
        if digest is not None and mixture.manifest.digest != digest:
            found = f"{reference} is not the version it was trained on ({mixture.manifest.digest[:12]})"
            raise InputError(problem(self.run.folder, found, f"the version {digest[:12]}"))
        return mixture

    def planned_steps(self, mixture: Mixture) -> int:
        """Return how many steps of the schedule it makes in the end."""
        recipe = self.run.content.get("recipe") or {}
        return int(recipe.get("max_steps") or mixture.manifest.num_steps)

    @cached_property
    def made_steps(self) -> int:
        """The last step that is in its metrics, 0 for none."""
        if self._parquet.is_file():
            last = pl.scan_parquet(self._parquet, glob=False).select(pl.col("step").max()).collect().item()
            return int(last or 0)
        return max((int(line["step"]) for line in self._lines()), default=0)

    def metrics(self, steps: Iterable[int]) -> pl.DataFrame:
        """Return METRICS_SCHEMA of those of these steps (from 1) that were made; source null: the whole step."""
        wanted = sorted(set(steps))
        if self._parquet.is_file():
            metrics = pl.scan_parquet(self._parquet, glob=False).filter(pl.col("step").is_in(wanted))
            return metrics.select(list(METRICS_SCHEMA)).collect()
        rows = []
        for line in self._lines():
            if line["step"] in wanted:
                rows.append({name: line.get(name) for name in METRICS_SCHEMA} | {"source": None})
                for source, figures in line.get("sources", {}).items():
                    own = {name: figures.get(name) for name in METRICS_SCHEMA}
                    rows.append(own | {"step": line["step"], "source": source})
        return pl.DataFrame(rows, schema=METRICS_SCHEMA)

    @property
    def _parquet(self) -> Path:
        return self.run.folder / "metrics.parquet"

    def _lines(self) -> Iterator[dict[str, Any]]:
        path = self.run.folder / "metrics.jsonl"
        content = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        for number, line in enumerate(content, start=1):
            if not line.endswith("\n"):
                return  # the run is writing this line right now
            try:
                yield json.loads(line)
            except ValueError as error:
                fix = "start the run again"
                raise InputError(problem(f"{path}:{number}", "the line is not JSON", fix=fix)) from error


def source_label(source: str, is_replay: bool) -> str:
    """Return the name of a source in the metrics: replay is told apart from the same source as domain text."""
    return f"{source} (replay)" if is_replay else source
