"""Forgetting: how much worse a model got on held-out text, relative to step 0, with an interval.

The rise is (bits per byte now - at step 0) / at step 0, over the documents of a set together. Its 95 % interval is a
paired bootstrap: whole documents are drawn with replacement, each with its values of both steps, since documents differ
far more from each other than one document differs between two steps (unpaired intervals came out ten times wider). It
covers the choice of documents, not the chance of the run: another seed is another run.
"""

import math

import numpy as np
import polars as pl

from engine.formats.run import FORGETTING_SCHEMA
from trainers.recipe import ProbesConfig

POOLED = "general (all)"
RESAMPLES = 1000
_LOW, _HIGH = 2.5, 97.5


def forgetting(probes: pl.DataFrame, config: ProbesConfig, max_rise: float, seed: int) -> pl.DataFrame:
    """Return FORGETTING_SCHEMA, one row per probe and step, from per-document figures (PROBES_SCHEMA).

    Several general sets are also pooled as `general (all)`, whose interval is then the one that decides.
    """
    sets = {name: [name] for name in config.sets}
    if len(config.general) > 1:
        sets[POOLED] = config.general
    rows = []
    for probe, members in sets.items():
        chosen = probes.filter(pl.col("probe").is_in(members)).sort("step", "probe", "doc_id")
        is_general = set(members) <= set(config.general)
        rows += [
            {"step": step, "probe": probe, "is_general": is_general}
            | figures
            | {"within_budget": figures["rise_high"] <= max_rise if is_general else None}
            for step, figures in _compare(chosen, seed)
        ]
    return pl.DataFrame(rows, schema=FORGETTING_SCHEMA, orient="row").sort("step", maintain_order=True)


def deciding(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose interval decides: the pooled general sets, or the only one."""
    general = rows.filter("is_general")
    pooled = general.filter(pl.col("probe") == POOLED)
    return pooled if pooled.height else general


def _compare(probes: pl.DataFrame, seed: int) -> list[tuple[int, dict[str, float]]]:
    by_step = {int(key[0]): part for key, part in probes.group_by("step", maintain_order=True)}
    before = by_step[0].get_column("nats").to_numpy()
    # The same documents are drawn for every step, so curves do not jump with the draw.
    draws = np.random.Generator(np.random.PCG64(seed)).integers(0, len(before), (RESAMPLES, len(before)))
    result = []
    for step, part in by_step.items():
        assert part.get_column("doc_id").equals(by_step[0].get_column("doc_id"))
        nats = part.get_column("nats").to_numpy()
        # Bytes are the same at both steps, so the rise of bits per byte is that of the nats.
        drawn = nats[draws].sum(axis=1) / before[draws].sum(axis=1) - 1
        figures = {
            "bits_per_byte": nats.sum() / math.log(2) / part.get_column("bytes").sum(),
            "nats_per_token": nats.sum() / part.get_column("tokens").sum(),
            "relative_rise": nats.sum() / before.sum() - 1,
            "rise_low": np.percentile(drawn, _LOW),
            "rise_high": np.percentile(drawn, _HIGH),
        }
        result.append((step, {name: float(value) for name, value in figures.items()}))
    return result
