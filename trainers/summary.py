"""What a finished run says of itself: losses, speed, and the verdict on forgetting."""

import time
from typing import Any

import polars as pl

from trainers.forgetting import deciding, forgetting
from trainers.job import Job


def summary_of(job: Job, metrics: pl.DataFrame) -> dict[str, Any]:
    """Return losses, speed, and the verdict on forgetting, from METRICS_SCHEMA and the run's probes."""
    totals = metrics.filter(pl.col("source").is_null())
    seconds, tokens = float(totals.get_column("seconds").sum()), int(totals.get_column("tokens").sum())
    summary: dict[str, Any] = {
        "mixture": job.mixture.reference,
        "base": job.base.described(),
        "steps": job.num_steps,
        "tokens": tokens,
        "supervised_tokens": int(totals.get_column("supervised_tokens").sum()),
        "loss_first": totals.get_column("loss").item(0),
        "loss_last": totals.get_column("loss").item(-1),
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds, 1),
    }
    recipe = job.recipe
    if not recipe.probes.sets:
        return summary | {"probes": [], "max_general_bpb_rise": None, "within_budget": None}
    allowed = recipe.budget.max_general_bpb_rise
    rows = forgetting(job.record.probes(), recipe.probes, allowed, recipe.seed)
    last = rows.filter(pl.col("step") == job.num_steps)
    before = rows.filter(pl.col("step") == 0).select("probe", pl.col("bits_per_byte").alias("bits_per_byte_before"))
    verdict = deciding(last).get_column("within_budget").to_list()
    probes = last.drop("step").join(before, on="probe", how="left", maintain_order="left").to_dicts()
    return summary | {
        "probes": probes,
        "max_general_bpb_rise": allowed,
        "within_budget": verdict[0] if verdict else None,
    }


def wall_seconds(metrics: pl.DataFrame, sessions: list[dict[str, Any]], started: float) -> float:
    """Return the seconds of this session (from `started`), and of the steps of earlier ones that still count."""
    earlier = metrics.filter(pl.col("source").is_null() & (pl.col("step") <= sessions[-1]["from_step"]))
    return round(time.monotonic() - started + float(earlier.get_column("seconds").sum()), 3)
