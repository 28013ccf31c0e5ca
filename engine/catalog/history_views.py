"""The stored views of what a workspace holds whatever the recipe: mixture versions, training runs, what people said."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import duckdb
import polars as pl

from engine.base.errors import InputError
from engine.catalog.named import Named
from engine.catalog.relation import (
    STORED,
    beside,
    create_rows,
    create_table,
    create_view,
    typed,
    union,
)
from engine.catalog.version_views import VERSION_VIEWS, create_version_views
from engine.formats.labels import labels_frame, read_labels
from engine.formats.run import (
    FORGETTING_SCHEMA,
    METRICS_SCHEMA,
    PROBES_SCHEMA,
    Run,
    open_run,
    run_names,
    written_metrics,
)
from engine.formats.state import RecipeState
from engine.formats.takedowns import read_takedowns, takedowns_frame
from engine.formats.workspace import Workspace

T = TypeVar("T")
_RUN: dict[str, Any] = {"run": pl.String}
_RUNS: dict[str, Any] = _RUN | {"is_finished": pl.Boolean, "content": pl.String}

RUN_VIEWS = ("runs", "probes", "forgetting", "metrics")


def create_history_views(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    state: RecipeState | None,
    named: Named,
    is_audit: bool = False,
) -> None:
    """Create the stored views of versions, runs, labels and takedowns that are named, with what they come with.

    Raises InputError for damaged metrics.
    """
    if any(map(named.has_table, VERSION_VIEWS)):
        create_version_views(connection, workspace, state, is_audit)
    if any(map(named.has_table, RUN_VIEWS)):
        _create_runs(connection, [open_run(workspace, name) for name in run_names(workspace)])
    if named.has_table("labels"):
        _create_said(
            connection, "labels", lambda: read_labels(workspace.labels()), labels_frame, "labelled_at", ("doc_id",)
        )
    if named.has_table("takedowns"):
        ids = ("doc_id", "of")
        _create_said(connection, "takedowns", lambda: read_takedowns(workspace), takedowns_frame, "taken_down_at", ids)


def _create_runs(connection: duckdb.DuckDBPyConnection, runs: list[Run]) -> None:
    rows = [
        {"run": run.name, "is_finished": run.is_finished, "content": json.dumps(run.content, ensure_ascii=False)}
        for run in runs
    ]
    create_table(connection, "runs", pl.DataFrame(rows, schema=_RUNS, orient="row"))
    per_run: dict[str, dict[str, Any]] = {"probes": PROBES_SCHEMA, "forgetting": FORGETTING_SCHEMA}
    for view, schema in per_run.items():
        paths = {run.name: run.folder / f"{view}.parquet" for run in runs}
        selects = [beside({"run": name}, path, schema) for name, path in paths.items() if path.is_file()]
        create_view(connection, view, union(selects, typed(_RUN | schema)))
    running = [
        written_metrics(run.folder).select(pl.lit(run.name).alias("run"), pl.all())
        for run in runs
        if not run.has_all_metrics
    ]
    running_metrics = pl.concat([pl.DataFrame(schema=_RUN | METRICS_SCHEMA), *running])
    create_table(connection, "running_metrics", running_metrics)
    selects = [beside({"run": run.name}, run.metrics_path, METRICS_SCHEMA) for run in runs if run.has_all_metrics]
    create_view(connection, "metrics", union([*selects, f"SELECT * FROM {STORED}.running_metrics"], {}))


def _create_said(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    read: Callable[[], list[T]],
    frame: Callable[[list[T]], pl.DataFrame],
    when: str,
    ids: Sequence[str],
) -> None:
    """Create the view of a file of what people said; `when`: its column of the time, `ids`: its columns of ids."""
    found: list[T] = []
    damage = None
    try:
        found = read()
    except InputError as error:
        damage = str(error)
    create_rows(connection, name, frame(found).rename({"when": when}), damage, ids)
