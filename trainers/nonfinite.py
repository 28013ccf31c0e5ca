"""A loss or a gradient that is no number: the run stops, and says which documents were in the step."""

from typing import Any, NoReturn

import numpy as np
import polars as pl

from engine.base.atomic import write_json
from engine.base.errors import AuditError, problem
from engine.formats.training_rows import StepRows, TrainingRows
from trainers.checkpoint import latest_checkpoint
from trainers.record import RunRecord
from trainers.world import World

LISTED = 3
OTHERWISE = "lower optimizer.learning_rate, or leave fp16, and train under another --name"


def stop(
    record: RunRecord,
    rows: TrainingRows,
    step_rows: StepRows,
    nats: np.ndarray,
    figures: dict[str, Any],
    world: World,
) -> NoReturn:
    """Write the step's documents to nonfinite.json and raise, on every rank, the AuditError that names the worst.

    `step_rows`: those of all ranks; nats: fp64[labels] of them, in their order; `figures`: step (from 1), loss,
    grad_norm.
    """
    documents = worst_documents(rows, step_rows, nats)
    path = record.folder / "nonfinite.json"
    written = {name: value if np.isfinite(value) else str(value) for name, value in figures.items()}
    if world.is_main:
        write_json(path, {**written, "documents": documents})
    world.wait()
    worst = ", ".join(
        f"{d['doc_id']} ({d['source']}, {d['nats']} nats in {d['labels']} labels)" for d in documents[:LISTED]
    )
    kept, _ = latest_checkpoint(record.folder / "checkpoints")
    found = (
        f"step {figures['step']}: loss {figures['loss']:.4g}, gradient norm {figures['grad_norm']:.4g}; "
        f"worst documents: {worst}; all {len(documents)} are in {path.name}; the checkpoint of step {kept} stands"
    )
    raise AuditError(problem(record.folder, found, "finite numbers", f"look at these documents; or {OTHERWISE}"))


def require_finite(probes: pl.DataFrame, record: RunRecord) -> None:
    """Raise AuditError where held-out documents (PROBES_SCHEMA) have no finite likelihood."""
    broken = probes.filter(~pl.col("nats").is_finite())
    if broken.height:
        step, probe, doc_id = broken.row(0)[:3]
        found = f"after {step} steps {broken.height} held-out documents have a likelihood that is no number"
        found += f", {doc_id.hex()} of {probe} the first"
        raise AuditError(problem(record.folder, found, "finite numbers", OTHERWISE))


def worst_documents(rows: TrainingRows, step_rows: StepRows, nats: np.ndarray) -> list[dict[str, Any]]:
    """Return doc_id, source, labels and nats of a step's documents: those that are no number, then by nats per label.

    Nats are rounded to 1e-4, and text where they are no number.
    """
    owners = step_rows.of_tokens(step_rows.document)[step_rows.is_label]
    documents, position = np.unique(owners, return_inverse=True)
    labels = np.bincount(position)
    with np.errstate(all="ignore"):
        sums = np.bincount(position, weights=nats) if len(nats) == len(owners) else np.full(len(documents), np.nan)
    names = rows.mixture.documents().filter(pl.col("document").is_in(documents)).sort("document")
    frame = names.select("doc_id", "source").with_columns(
        pl.Series("labels", labels, dtype=pl.Int64), pl.Series("nats", sums, dtype=pl.Float64)
    )
    mean = pl.when(pl.col("nats").is_finite()).then(pl.col("nats") / pl.col("labels")).otherwise(float("inf"))
    ordered = frame.sort(mean, "doc_id", descending=[True, False])
    return [
        {
            "doc_id": row["doc_id"].hex(),
            "source": row["source"],
            "labels": row["labels"],
            "nats": round(row["nats"], 4) if np.isfinite(row["nats"]) else str(row["nats"]),
        }
        for row in ordered.iter_rows(named=True)
    ]
