"""`provender show`: the rows of one step of training, as the trainer sees them, before or after it was trained."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.base.errors import InputError, RecipeError, closest, problem
from engine.explain.training import TrainingRun
from engine.formats.doc_ids import id_text
from engine.formats.manifest import role_label
from engine.formats.mixture import Mixture, mixture_names, open_mixture
from engine.formats.run import open_run, run_names
from engine.formats.schedule import open_schedule
from engine.formats.token_parts import parts_of
from engine.formats.token_store import open_token_store
from engine.formats.tokenizer import load_tokenizer
from engine.formats.workspace import Workspace

_DOCUMENT = ("doc_id", "source", "is_replay", "phase", "num_tokens", "repeats")


def show(run: str, step: int, workspace: Path | str, row: int | None = None) -> dict[str, Any]:
    """Return the rows of one step: their spans, documents, text in parts, and what the run measured.

    Args:
        run: A training run, or a mixture (name, name@v1, name@latest, name@<digest>) before it is trained on.
        step: Counted from 1, as in metrics, checkpoints and the view `schedule`.
        workspace: Folder of all artifacts.
        row: Only this row of the step, counted from 0.

    Returns:
        run (null for a mixture), is_also_a_mixture (a mixture has the run's name: the run was taken), mixture, step,
        schedule_step (in schedule.parquet, which counts from 0), num_steps, row (as asked for), row_tokens, tokens,
        supervised_tokens, sources (tokens and labels of each in this step, and its loss), loss, learning_rate and
        grad_norm (null where the step was not made yet), and rows: row, tokens, spans (start, length, document,
        document_start, repeat, doc_id, source, is_replay, phase, supervised_tokens, parts). Parts: text, supervised,
        special, tokens.

    Raises:
        RecipeError, InputError: no such run, mixture, step or row; files are gone.
    """
    place = Workspace.open(workspace)
    training, mixture = _opened(place, run)
    last = training.planned_steps(mixture) if training is not None else mixture.manifest.num_steps
    if not 1 <= step <= last:
        found = f"no step {step}"
        raise RecipeError(
            problem(run, found, f"a step from 1 to {last:,}; steps are counted from 1, as in the metrics")
        )
    spans = _spans(place, mixture, step - 1)
    whole = _totals(spans)
    if row is not None:
        rows = spans["row"].unique().sort().to_list()
        if row not in rows:
            raise RecipeError(problem(f"{run}, step {step}", f"no row {row}", f"a row from {rows[0]} to {rows[-1]}"))
    shown = spans if row is None else spans.filter(pl.col("row") == row)
    return {
        "run": training.run.name if training is not None else None,
        "mixture": mixture.reference,
        "is_also_a_mixture": training is not None and run.partition("@")[0] in mixture_names(place),
        "step": step,
        "schedule_step": step - 1,
        "num_steps": last,
        "row": row,
        "row_tokens": mixture.manifest.row_tokens,
        **_measured(training, step, whole),
        "rows": _rows(place, mixture, shown),
    }


def _opened(workspace: Workspace, name: str) -> tuple[TrainingRun | None, Mixture]:
    runs, mixtures = run_names(workspace), mixture_names(workspace)
    if name in runs:
        training = TrainingRun(open_run(workspace, name))
        return training, training.open_mixture(workspace)
    if name.partition("@")[0] in mixtures:
        return None, open_mixture(workspace, name)
    guess = closest(name, [*runs, *mixtures])
    listed = f"runs: {', '.join(runs) or 'none'}; mixtures: {', '.join(mixtures) or 'none'}"
    fix = f"did you mean '{guess}'" if guess else None
    raise InputError(problem(workspace.root, f"no run and no mixture '{name}' (have {listed})", fix=fix))


def _spans(workspace: Workspace, mixture: Mixture, step: int) -> pl.DataFrame:
    """Return the spans of a step of the schedule (from 0) with the columns of their documents and their store row."""
    schedule = open_schedule(workspace.schedule(mixture.manifest.schedule))
    spans = schedule.spans_where(pl.col("step") == step)
    if spans.is_empty():
        raise InputError(problem(schedule.folder, f"step {step} has no spans", "at least one"))
    used = spans["document"].unique().sort()
    chosen = mixture.documents_where(pl.col("document").is_in(used.implode()))
    columns = chosen.select("document", "store_row", *_DOCUMENT)
    return spans.join(columns, on="document", how="left", maintain_order="left")


def _totals(spans: pl.DataFrame) -> pl.DataFrame:
    """Return source, is_replay, tokens and supervised_tokens of a step, domain text first."""
    sums = [pl.col(name).cast(pl.Int64).sum() for name in ("length", "supervised_tokens")]
    totals = spans.group_by("source", "is_replay").agg(sums).sort("is_replay", "source")
    return totals.rename({"length": "tokens"})


def _measured(training: TrainingRun | None, step: int, totals: pl.DataFrame) -> dict[str, Any]:
    """Return what the step holds of each source, and what the run measured of it."""
    found = {} if training is None else {row["source"]: row for row in training.run.metrics([step]).to_dicts()}
    whole = found.get(None, {})
    sources = [
        {**row, "loss": found.get(role_label(row["source"], row["is_replay"]), {}).get("loss")}
        for row in totals.to_dicts()
    ]
    return {
        "tokens": int(totals["tokens"].sum()),
        "supervised_tokens": int(totals["supervised_tokens"].sum()),
        **{name: whole.get(name) for name in ("loss", "learning_rate", "grad_norm")},
        "sources": sources,
    }


def _rows(workspace: Workspace, mixture: Mixture, spans: pl.DataFrame) -> list[dict[str, Any]]:
    store = open_token_store(workspace.tokens(mixture.manifest.token_store))
    tokenizer = load_tokenizer(workspace.tokenizer(mixture.manifest.tokenizer))
    offsets = store.documents(["offset"])["offset"].gather(spans["store_row"])
    lengths = spans["length"].to_numpy().astype(np.int64)
    ids, is_label = store.spans((offsets + spans["document_start"]).to_numpy(), lengths)
    borders = np.cumsum(lengths)[:-1]
    gathered = list(zip(np.split(ids, borders), np.split(is_label, borders), strict=True))
    rows: dict[int, dict[str, Any]] = {}
    for span, parts in zip(spans.to_dicts(), parts_of(tokenizer, gathered), strict=True):
        row = rows.setdefault(span["row"], {"row": span["row"], "tokens": 0, "spans": []})
        row["tokens"] += span["length"]
        kept = {name: value for name, value in span.items() if name not in ("step", "row", "store_row")}
        row["spans"].append(kept | {"doc_id": id_text(span["doc_id"]), "parts": parts})
    return list(rows.values())
