"""Which training runs saw some documents: in which steps, how many supervised tokens, and what started from them.

A run replays the schedule of its mixture from the first step; only steps that its metrics tell of were made.
"""

from collections.abc import Iterable
from typing import Any

import polars as pl

from engine.formats.mixture import Mixture, mixture_names, mixture_versions
from engine.formats.run import Run, open_run, run_names
from engine.formats.schedule import open_schedule
from engine.formats.workspace import Workspace


def trained_on(workspace: Workspace, doc_ids: pl.Series) -> dict[str, list[Any]]:
    """Return the runs that made a step with one of these documents, and the runs that started from such runs.

    Returns:
        runs: run, mixture (reference), is_finished, steps (as metrics.jsonl counts them, from 1; ascending), documents,
        supervised_tokens (labels of theirs, repeats included). descendants: run, from (runs behind it that saw one, or
        that are gone and whose mixture held one). unknown_runs: names of those whose mixture version is gone.
    """
    wanted = doc_ids.implode()
    versions = {version.manifest.digest: version for version in _versions(workspace)}
    holding = {digest: version for digest, version in versions.items() if _holds(version, wanted)}
    runs = [open_run(workspace, name) for name in run_names(workspace)]
    seen = [found for run in runs if (found := _seen(workspace, run, holding, wanted)) is not None]
    saw, there = {one["run"] for one in seen}, {run.name for run in runs}
    descendants = []
    for run in runs:
        behind = [
            one["run"]
            for one in run.content.get("lineage", {}).get("runs", [])
            if one["run"] in saw or (one["run"] not in there and _digest(one["mixture"]) in holding)
        ]
        if behind:
            descendants.append({"run": run.name, "from": behind})
    unknown = [run.name for run in runs if _digest(run.content.get("mixture")) not in {"", *versions}]
    return {"runs": seen, "descendants": descendants, "unknown_runs": unknown}


def _versions(workspace: Workspace) -> Iterable[Mixture]:
    return (version for name in mixture_names(workspace) for version in mixture_versions(workspace, name))


def _holds(version: Mixture, wanted: pl.Series) -> bool:
    return bool(version.documents()["doc_id"].is_in(wanted).any())


def _seen(workspace: Workspace, run: Run, holding: dict[str, Mixture], wanted: pl.Series) -> dict[str, Any] | None:
    """Return what a run saw of the documents, None where it saw nothing."""
    version = holding.get(_digest(run.content.get("mixture")))
    if version is None:
        return None
    used = version.documents().filter(pl.col("doc_id").is_in(wanted))
    schedule = run.content["mixture"].get("schedule", version.manifest.schedule)
    spans = open_schedule(workspace.schedule(schedule)).spans().with_columns(pl.col("step").cast(pl.Int64) + 1)
    spans = spans.filter(pl.col("step") <= run.made_steps(), pl.col("document").is_in(used["document"].implode()))
    if spans.is_empty():
        return None
    return {
        "run": run.name,
        "mixture": version.reference,
        "is_finished": run.is_finished,
        "steps": spans["step"].unique().sort().to_list(),
        "documents": used.filter(pl.col("document").is_in(spans["document"].implode()))["doc_id"].n_unique(),
        "supervised_tokens": int(spans["supervised_tokens"].cast(pl.Int64).sum()),
    }


def _digest(mixture: Any) -> str:
    return mixture["digest"] if isinstance(mixture, dict) else ""
