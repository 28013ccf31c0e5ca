"""The stored views of what a workspace holds whatever the recipe: mixture versions, training runs, labels."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from engine.base.errors import InputError, problem
from engine.catalog.relation import (
    STORED,
    create_table,
    create_view,
    identifier,
    read_files,
    text_literal,
    typed,
    union,
)
from engine.formats.labels import labels_frame, read_labels
from engine.formats.manifest import DOCUMENTS_SCHEMA, Manifest, Mixture, MixtureSource, mixture_names, mixture_versions
from engine.formats.run import FORGETTING_SCHEMA, METRICS_SCHEMA, PROBES_SCHEMA, Run, open_run, run_names
from engine.formats.schedule import SCHEMA as SCHEDULE_SCHEMA
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace

_VERSION: dict[str, Any] = {"mixture": pl.String, "version": pl.Int64, "is_current": pl.Boolean}
_MIXTURES: dict[str, Any] = _VERSION | {
    "digest": pl.String,
    "recipe": pl.String,
    "documents": pl.Int64,
    "tokens": pl.Int64,
    "supervised_tokens": pl.Int64,
    "n_eff_before": pl.Float64,
    "n_eff_after": pl.Float64,
    "replay_share": pl.Float64,
    "curriculum": pl.String,
    "seed": pl.Int64,
    "row_tokens": pl.Int64,
    "rows_per_step": pl.Int64,
    "num_steps": pl.Int64,
    "tokenizer": pl.String,
    "token_store": pl.String,
    "selection": pl.String,
    "split": pl.String,
    "schedule": pl.String,
}
_MIXTURE_SOURCES: dict[str, Any] = _VERSION | {
    "source": pl.String,
    "is_replay": pl.Boolean,
    "budget_tokens": pl.Int64,
    "available_documents": pl.Int64,
    "available_tokens": pl.Int64,
    "documents": pl.Int64,
    "unique_tokens": pl.Int64,
    "tokens": pl.Int64,
    "supervised_tokens": pl.Int64,
    "max_repeats": pl.Int64,
}
_RUN: dict[str, Any] = {"run": pl.String}
_RUNS: dict[str, Any] = _RUN | {"is_finished": pl.Boolean, "content": pl.String}


def create_history_views(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, state: RecipeState | None
) -> None:
    """Create the stored views of mixture versions, runs and labels; raises InputError for damaged metrics."""
    mixtures = [mixture for name in mixture_names(workspace) for mixture in mixture_versions(workspace, name)]
    current = set(state.mixtures.values()) if state else set()
    versions = [(mixture, _version(mixture, mixture.reference in current)) for mixture in mixtures]
    _create_mixtures(connection, versions)
    documents = [
        _beside(version, mixture.folder / "documents.parquet", DOCUMENTS_SCHEMA) for mixture, version in versions
    ]
    create_view(connection, "mixture_documents", union(documents, typed(_VERSION | DOCUMENTS_SCHEMA)))
    spans = [
        _beside(version, path, SCHEDULE_SCHEMA)
        for mixture, version in versions
        if (path := workspace.schedule(mixture.manifest.schedule) / "schedule.parquet").is_file()
    ]
    create_view(connection, "spans", union(spans, typed(_VERSION | SCHEDULE_SCHEMA)))
    _create_runs(connection, [open_run(workspace, name) for name in run_names(workspace)])
    _create_labels(connection, workspace)


def _version(mixture: Mixture, is_current: bool) -> dict[str, Any]:
    return {"mixture": mixture.manifest.name, "version": mixture.manifest.version, "is_current": is_current}


def _create_mixtures(connection: duckdb.DuckDBPyConnection, versions: list[tuple[Mixture, dict[str, Any]]]) -> None:
    rows = [version | _chosen(mixture.manifest, _MIXTURES) for mixture, version in versions]
    create_table(connection, "mixtures", pl.DataFrame(rows, schema=_MIXTURES, orient="row"))
    shares = [
        version | _chosen(source, _MIXTURE_SOURCES)
        for mixture, version in versions
        for source in mixture.manifest.sources
    ]
    create_table(connection, "mixture_sources", pl.DataFrame(shares, schema=_MIXTURE_SOURCES, orient="row"))


def _chosen(model: Manifest | MixtureSource, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(model, name) for name in schema if name not in _VERSION}


def _beside(constants: Mapping[str, Any], path: Path, schema: Mapping[str, Any]) -> str:
    fixed = ", ".join(f"{_literal(value)} AS {identifier(name)}" for name, value in constants.items())
    return f"SELECT {fixed}, {', '.join(identifier(name) for name in schema)} FROM {read_files([path])}"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return text_literal(value)
    return str(value).lower() if isinstance(value, bool) else f"{value}::BIGINT"


def _create_runs(connection: duckdb.DuckDBPyConnection, runs: list[Run]) -> None:
    rows = [
        {"run": run.name, "is_finished": run.is_finished, "content": json.dumps(run.content, ensure_ascii=False)}
        for run in runs
    ]
    create_table(connection, "runs", pl.DataFrame(rows, schema=_RUNS, orient="row"))
    per_run: dict[str, dict[str, Any]] = {"probes": PROBES_SCHEMA, "forgetting": FORGETTING_SCHEMA}
    for view, schema in per_run.items():
        paths = {run.name: run.folder / f"{view}.parquet" for run in runs}
        selects = [_beside({"run": name}, path, schema) for name, path in paths.items() if path.is_file()]
        create_view(connection, view, union(selects, typed(_RUN | schema)))
    running = pl.DataFrame(
        [row for run in runs if not _metrics(run).is_file() for row in _running_metrics(run)],
        schema=_RUN | METRICS_SCHEMA,
        orient="row",
    )
    create_table(connection, "running_metrics", running)
    selects = [_beside({"run": run.name}, _metrics(run), METRICS_SCHEMA) for run in runs if _metrics(run).is_file()]
    create_view(connection, "metrics", union([*selects, "SELECT * FROM stored.running_metrics"], {}))


def _create_labels(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    damage = None
    try:
        found = read_labels(workspace.labels())
    except InputError as error:
        found, damage = [], str(error)
    labels = labels_frame(found).rename({"when": "labelled_at"})
    create_table(connection, "label_rows", labels)
    columns = ", ".join("doc_id::UUID AS doc_id" if name == "doc_id" else name for name in labels.columns)
    # Raised only where a query reads the view, so that all other questions can still be answered: of the one row.
    rows = "" if damage is None else f" FULL JOIN range(1) ON true WHERE error({text_literal(damage)})::BOOLEAN"
    create_view(connection, "labels", f"SELECT {columns} FROM {STORED}.label_rows{rows}")


def _metrics(run: Run) -> Path:
    return run.folder / "metrics.parquet"


def _running_metrics(run: Run) -> Iterator[dict[str, Any]]:
    path = run.folder / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            return  # the run is writing this line right now
        try:
            step = json.loads(line)
        except ValueError as error:
            raise InputError(problem(f"{path}:{number}", "the line is not JSON", fix="start the run again")) from error
        yield _metrics_row(run.name, step, step["step"], None)
        for source, figures in step.get("sources", {}).items():
            yield _metrics_row(run.name, figures, step["step"], source)


def _metrics_row(run: str, figures: Mapping[str, Any], step: int, source: str | None) -> dict[str, Any]:
    return {name: figures.get(name) for name in METRICS_SCHEMA} | {"run": run, "step": step, "source": source}
