"""Training runs: settings, speed, and the loss on the training text, in total and per source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from engine.base.errors import InputError, problem
from engine.base.hashing import digest_json
from engine.formats.mixture import Mixture
from engine.formats.parquet import read_parquet
from engine.formats.run import METRICS_SCHEMA, Run
from engine.report.charts import NUM_SERIES, Line, lines, series
from engine.report.evidence import Evidence
from engine.report.mixtures import reached_replay
from engine.report.table import Table, table
from engine.report.wording import MISSING, brief, count, decimal, duration, settings

_MAX_POINTS = 150


@dataclass(frozen=True)
class RunNumbers:
    """One training run."""

    run: Run
    label: str
    """Name and, where the mixture is known, its share of replay."""
    mixture: Mixture | None
    position: int
    """Place among the runs of the report; decides the colour."""
    metrics: pl.DataFrame
    """METRICS_SCHEMA; the rows without a source are the whole step."""

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run.name

    @property
    def waived(self) -> list[str]:
        """What the gate was told to let through."""
        return list(self.run.content.get("waived", []))

    @property
    def totals(self) -> pl.DataFrame:
        """One row per optimizer step."""
        return self.metrics.filter(pl.col("source").is_null())

    @property
    def replay_share(self) -> float | None:
        """Replay's part of the mixture's supervised tokens, or None where the mixture is not known."""
        return None if self.mixture is None else reached_replay(self.mixture.manifest)

    @property
    def is_from_scratch(self) -> bool:
        """Whether the run began with a new model, which has nothing to forget."""
        base = setting(self.run.content, "base")
        return isinstance(base, Mapping) and base.get("kind") == "tiny"

    @property
    def base_name(self) -> str:
        """What the run calls its base."""
        base = setting(self.run.content, "base")
        return str(base.get("name", "unknown")) if isinstance(base, Mapping) else "unknown"

    @property
    def seconds(self) -> float:
        """Seconds of the optimizer steps, probes not counted."""
        return float(self.totals.get_column("seconds").sum())

    @property
    def tokens(self) -> int:
        """Real tokens of all steps, padding not counted."""
        return int(self.totals.get_column("tokens").sum())

    @property
    def tokens_per_second(self) -> float | None:
        """Real tokens (no padding) per second of the optimizer steps, probes not counted."""
        return self.tokens / self.seconds if self.seconds else None


def training(evidence: Evidence) -> list[RunNumbers]:
    """Return the chosen runs, each with its metrics and mixture."""
    versions = evidence.all_mixtures()
    found = []
    for position, run in enumerate(evidence.runs):
        mixture = _mixture_of(run, versions)
        label = run.name
        if mixture is not None:
            percent = f"{100 * reached_replay(mixture.manifest):.1f}".removesuffix(".0")
            label += f" ({percent} % replay)"
        found.append(RunNumbers(run, label, mixture, position, _metrics(run)))
    return found


def loss_charts(runs: Sequence[RunNumbers]) -> list[Markup]:
    """Return the training loss over all sources: one chart per base, with a line per run."""
    bases = {base: number for number, base in enumerate(dict.fromkeys(base_of(run.run) for run in runs))}
    panels: dict[tuple[int, int], list[RunNumbers]] = {}
    for run in runs:
        if run.totals.height:
            # More runs than colours stand in several charts.
            panels.setdefault((bases[base_of(run.run)], run.position // NUM_SERIES), []).append(run)
    charts = []
    for _, members in sorted(panels.items(), key=lambda panel: panel[0]):
        title = "Training loss, all sources"
        if len(bases) > 1:
            title += f", from base {members[0].base_name}"
        drawn = [_line(run.label, series(run.position), run.totals) for run in members]
        note = _thinning([each for _, each in drawn])
        charts.append(lines(title, [line for line, _ in drawn], _LABELS, note=note))
    return charts


def source_loss_charts(runs: Sequence[RunNumbers]) -> list[Markup]:
    """Return the training loss per source, one chart for every run on more than one source."""
    charts = []
    for run in runs:
        parts = run.metrics.filter(pl.col("source").is_not_null())
        sizes = parts.group_by("source").agg(pl.col("supervised_tokens").sum())
        names = sizes.sort(["supervised_tokens", "source"], descending=[True, False]).get_column("source").to_list()
        if len(names) < 2:
            continue
        shown = enumerate(names[:NUM_SERIES])
        drawn = [_line(name, series(i), parts.filter(pl.col("source") == name)) for i, name in shown]
        notes = [f"The {NUM_SERIES} largest of {len(names)} sources."] if len(names) > NUM_SERIES else []
        note = " ".join([*notes, _thinning([each for _, each in drawn])])
        title = f"Training loss per source: {run.label}"
        charts.append(lines(title, [line for line, _ in drawn], _LABELS, half=True, note=note))
    return charts


def runs_table(runs: Sequence[RunNumbers]) -> Table:
    """Return one row per run: mixture, steps, tokens, speed, time, first and last loss."""
    rows = []
    for run in runs:
        totals, speed = run.totals, run.tokens_per_second
        supervised = int(totals.get_column("supervised_tokens").sum())
        ends = [totals.get_column("loss").item(i) for i in (0, -1)] if totals.height else [None, None]
        rows.append([
            run.name, "finished" if run.run.is_finished else "not finished",
            run.mixture.reference if run.mixture else MISSING,
            count(totals.height), count(run.tokens), count(supervised),
            MISSING if speed is None else decimal(speed, 0), duration(run.seconds),
            *(decimal(loss, 3) for loss in ends),
        ])  # fmt: skip
    headings = ["run", "state", "mixture", "steps", "tokens", "supervised", "tokens/s", "wall time"]
    caption = "Tokens without padding; wall time and tokens/s without probes; loss in nats per token"
    return table([*headings, "first loss", "last loss"], rows, 3, caption)


def run_settings(run: RunNumbers) -> Table:
    """Return what run.json says of recipe, mixture, base, lineage, model and machine, as dotted keys."""
    content = {key: value for key, value in run.run.content.items() if key != "summary"}
    return table(["setting", "value"], settings(content), 2)


def setting(content: Mapping[str, Any], key: str) -> Any:
    """Return the first value under `key` at any depth of a run's settings, or None."""
    if key in content:
        return content[key]
    inner = (setting(value, key) for value in content.values() if isinstance(value, Mapping))
    return next((value for value in inner if value is not None), None)


def base_of(run: Run) -> str:
    """Return what tells bases apart: runs with the same one start from the same numbers and can be compared."""
    return digest_json(setting(run.content, "base"))


_LABELS = ("optimizer step", "nats per token")


def _mixture_of(run: Run, versions: Sequence[Mixture]) -> Mixture | None:
    named = {value for _, value in settings({"mixture": setting(run.content, "mixture")})}
    by_digest = [m for m in versions if m.manifest.digest in named]
    return next(iter(by_digest or [m for m in versions if m.reference in named]), None)


def _metrics(run: Run) -> pl.DataFrame:
    if run.has_all_metrics:
        return read_parquet(run.metrics_path)
    path = run.folder / "metrics.jsonl"
    if not path.is_file():
        return pl.DataFrame(schema=METRICS_SCHEMA)
    return _metrics_so_far(path.read_bytes(), path)


def _metrics_so_far(content: bytes, path: object) -> pl.DataFrame:
    # The last line of a run that is writing, or was killed, may be cut: only whole lines count.
    import json

    rows = []
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            step = json.loads(line)
        except ValueError as error:
            raise InputError(problem(path, f"not a line of JSON ({error})", fix="start the run again")) from error
        rows.append({**step, "source": None})
        rows += [
            {"step": step["step"], "source": name, **values} for name, values in (step.get("sources") or {}).items()
        ]
    return pl.DataFrame([{name: row.get(name) for name in METRICS_SCHEMA} for row in rows], schema=METRICS_SCHEMA)


def _line(name: str, tone: str, metrics: pl.DataFrame) -> tuple[Line, int]:
    # Many steps are averaged in equal runs of steps, weighted by tokens; the note under the chart says how many.
    steps = metrics.filter(pl.col("loss").is_not_null()).sort("step")
    each = -(-steps.height // _MAX_POINTS) or 1
    weight = pl.col("supervised_tokens").fill_null(1).clip(lower_bound=1)
    points = (
        steps.with_row_index("at")
        .group_by(pl.col("at") // each, maintain_order=True)
        .agg(pl.col("step").mean(), ((pl.col("loss") * weight).sum() / weight.sum()).alias("loss"))
    )
    return Line(name, tone, tuple(points.get_column("step")), tuple(points.get_column("loss"))), each


def _thinning(steps: Sequence[int]) -> str:
    most = max(steps, default=1)
    return f"Each point is the mean of up to {brief(most)} steps, weighted by tokens." if most > 1 else ""
