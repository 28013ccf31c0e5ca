"""Forgetting curves and the paired difference between runs."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.base.atomic import read_json, write_json
from engine.formats.parquet import read_parquet, write_parquet
from engine.report.evidence import open_evidence
from engine.report.forgetting import POOLED, Curve, forgetting, forgetting_charts, forgetting_table, paired_difference
from engine.report.training import training


def _curves(workspace: Path) -> list[Curve]:
    return forgetting(training(open_evidence(workspace)))


def _by_name(workspace: Path) -> dict[tuple[str, str], Curve]:
    return {(curve.run.name, curve.probe): curve for curve in _curves(workspace)}


def test_curves_are_the_numbers_of_the_file(finished: Path) -> None:
    stored = read_parquet(finished / "runs" / "replay_0" / "forgetting.parquet").filter(pl.col("probe") == "general")
    curve = _by_name(finished)["replay_0", "general"]
    assert curve.steps == (0, 10, 20, 30, 40)
    assert curve.bits_per_byte == tuple(stored.get_column("bits_per_byte"))
    assert (curve.budget, curve.over, curve.documents, curve.num_bytes) == (0.02, [20, 30, 40], 10, 900)


def test_general_sets_come_first_and_only_they_have_a_budget(finished: Path) -> None:
    curves = _curves(finished)
    assert [curve.probe for curve in curves] == ["general", "general", "domain", "domain"]
    assert [curve.budget for curve in curves] == [0.02, 0.02, None, None]


def test_every_run_of_one_base_is_in_the_same_chart_with_the_budget(finished: Path) -> None:
    general, domain = forgetting_charts(_curves(finished))
    for chart in (general, domain):
        assert chart.count('class="line s0"') == chart.count('class="line s1"') == 3  # wide, narrow, legend
        assert chart.count('class="band s0"') == chart.count('class="band s1"') == 2
    assert general.count("budget +2.00 %") == 2
    assert "budget" not in domain


def test_band_is_the_interval_of_the_rise_around_step_zero(finished: Path) -> None:
    chart = forgetting_charts(_curves(finished))[0]
    # Step 40 of replay_0: 1.9 * (1 + 0.04 -+ 0.004).
    assert "replay_0 (0 % replay), optimizer step 40: 1.9760 (1.9684 to 1.9836)" in chart


def test_runs_of_different_bases_have_charts_of_their_own(workspace: Path) -> None:
    _edit_base(workspace, "replay_10", {"kind": "path", "name": "other", "digest": "0" * 32})
    charts = forgetting_charts(_curves(workspace))
    assert len(charts) == 4
    assert "General text: general, from base other" in "".join(charts)


def test_table_has_before_after_change_and_verdict(finished: Path) -> None:
    table = forgetting_table(_curves(finished))
    row = dict(zip([f"{i} {h}" for i, h in enumerate(table.headings)], table.rows[0], strict=True))
    assert row["3 bits per byte before"] == "1.9000"
    assert row["4 after"] == "1.9760"
    assert row["5 change"] == "+4.00 %"
    assert row["6 95 % interval"] == "+3.60 to +4.40 %"
    assert row["7 within budget"] == "no"
    nats = 1.9 * 900 * math.log(2) / 250
    assert row["8 nats per token before"] == f"{nats:.4f}"
    assert [r[7] for r in table.rows] == ["no", "yes", "-", "-"]


def test_rise_since_the_lowest_point_is_reported(workspace: Path) -> None:
    path = workspace / "runs" / "replay_0" / "forgetting.parquet"
    fell = pl.when(pl.col("step") == 10).then(1.8).otherwise("bits_per_byte").alias("bits_per_byte")
    write_parquet(path, read_parquet(path).with_columns(fell))
    assert _by_name(workspace)["replay_0", "general"].above_lowest == pytest.approx(1.976 / 1.8 - 1)


def test_pooled_general_text_decides_where_there_is_one(workspace: Path) -> None:
    folder = workspace / "runs" / "replay_0"
    rows = read_parquet(folder / "forgetting.parquet")
    pooled = rows.filter(pl.col("probe") == "general").with_columns(
        pl.lit(POOLED).alias("probe"), pl.lit(value=True).alias("within_budget")
    )
    write_parquet(folder / "forgetting.parquet", pl.concat([rows, pooled.select(rows.columns)]))
    curves = [curve for curve in _curves(workspace) if curve.run.name == "replay_0"]
    assert [(curve.probe, curve.decides) for curve in curves] == [(POOLED, True), ("general", False), ("domain", False)]
    assert curves[0].documents == curves[1].documents == 10


def test_new_model_is_judged_by_no_budget(workspace: Path) -> None:
    _edit_base(workspace, "replay_0", {"kind": "tiny", "name": "tiny", "digest": "0" * 32})
    curve = _by_name(workspace)["replay_0", "general"]
    assert (curve.decides, curve.budget) == (False, None)


def test_equal_rise_of_every_document_has_no_uncertainty(finished: Path) -> None:
    one = _shifted(finished, lambda nats, _: nats)
    other = _shifted(finished, lambda nats, sizes: nats - 0.01 * sizes * math.log(2))
    middle, low, high = paired_difference(one, other) or (0, 0, 0)
    assert (middle, low, high) == pytest.approx((0.01 / 1.9,) * 3)


def test_interval_is_that_of_a_paired_bootstrap(finished: Path) -> None:
    random = np.random.default_rng(5)
    curve = _by_name(finished)["replay_0", "general"]
    sizes = random.integers(500, 4000, 80)
    before = sizes * random.uniform(0.5, 2.0, 80)
    after = before + sizes * random.normal(0.02, 0.05, 80)
    one, other = (_with_last(curve, nats, sizes) for nats in (after, before))
    draws = random.integers(0, 80, (4000, 80))
    ratios = (after - before)[draws].sum(axis=1) / sizes[draws].sum(axis=1) / math.log(2) / 1.9
    middle, low, high = paired_difference(one, other) or (0, 0, 0)
    assert middle == pytest.approx((after - before).sum() / sizes.sum() / math.log(2) / 1.9)
    assert (low, high) == pytest.approx(tuple(np.percentile(ratios, [2.5, 97.5])), abs=0.15 * (high - low))


def test_no_difference_is_claimed_for_few_or_other_documents(finished: Path) -> None:
    curve = _by_name(finished)["replay_0", "general"]
    few = _with_last(curve, np.ones(9), np.ones(9, dtype=np.int64))
    many = _with_last(curve, np.ones(20), np.ones(20, dtype=np.int64))
    assert paired_difference(few, few) is None
    assert paired_difference(many, curve) is None


def _edit_base(workspace: Path, name: str, base: dict[str, str]) -> None:
    path = workspace / "runs" / name / "run.json"
    write_json(path, {**read_json(path), "base": base})


def _shifted(workspace: Path, change: Any) -> Curve:
    curve = _by_name(workspace)["replay_0", "general"]
    return _with_last(
        curve, change(curve.last["nats"].to_numpy(), curve.last["bytes"].to_numpy()), curve.last["bytes"].to_numpy()
    )


def _with_last(curve: Curve, nats: np.ndarray, sizes: np.ndarray) -> Curve:
    ids = [i.to_bytes(16, "big") for i in range(len(nats))]
    last = pl.DataFrame({"probe": "general", "doc_id": ids, "nats": nats, "bytes": sizes})
    return Curve(**{**{name: getattr(curve, name) for name in Curve.__dataclass_fields__}, "last": last})
