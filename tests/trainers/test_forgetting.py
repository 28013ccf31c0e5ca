import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.formats.run import FORGETTING_SCHEMA, PROBES_SCHEMA
from trainers.forgetting import POOLED, deciding, forgetting
from trainers.recipe import ProbesConfig

ONE = ProbesConfig(general=["g"], domain=["d"])
TWO = ProbesConfig(general=["g", "h"], domain=["d"])


def probes(*rows: tuple[int, str, int, float]) -> pl.DataFrame:
    """(step, probe, document, nats) with 10 labels and 40 bytes each."""
    full = [(step, probe, bytes([document]) * 16, nats, 10, 40) for step, probe, document, nats in rows]
    return pl.DataFrame(full, schema=PROBES_SCHEMA, orient="row")


def set_of(probe: str, *by_step: list[float]) -> list[tuple[int, str, int, float]]:
    return [(step, probe, i, nats) for step, values in enumerate(by_step) for i, nats in enumerate(values)]


def compared(before: list[float], after: list[float], budget: float = 0.2, seed: int = 1) -> dict[str, Any]:
    rows = probes(*set_of("g", before, after))
    return forgetting(rows, ProbesConfig(general=["g"]), budget, seed).row(-1, named=True)


def test_figures_are_those_of_all_documents_together() -> None:
    found = forgetting(probes(*set_of("g", [10.0, 30.0], [11.0, 33.0]), *set_of("d", [20.0], [10.0])), ONE, 0.2, seed=1)
    assert found.schema == pl.Schema(FORGETTING_SCHEMA)
    rows = {(row["step"], row["probe"]): row for row in found.to_dicts()}
    assert rows[1, "g"]["bits_per_byte"] == pytest.approx(44 / math.log(2) / 80)
    assert rows[1, "g"]["nats_per_token"] == pytest.approx(44 / 20)
    assert rows[1, "g"]["relative_rise"] == pytest.approx(0.1)
    assert rows[1, "d"]["relative_rise"] == pytest.approx(-0.5)
    assert rows[0, "g"]["relative_rise"] == rows[0, "g"]["rise_low"] == rows[0, "g"]["rise_high"] == 0


def test_interval_is_paired_so_documents_that_rise_alike_leave_no_doubt() -> None:
    nats = np.array([1.0, 5.0, 200.0, 3000.0])
    last = compared(nats.tolist(), (nats * 1.1).tolist())
    assert (last["rise_low"], last["rise_high"]) == pytest.approx((0.1, 0.1))


def test_interval_covers_the_true_rise_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        before = generator.uniform(50, 150, 40)
        after = before * (1 + generator.normal(0.05, 0.1, 40))
        last = compared(before.tolist(), after.tolist(), seed=trial)
        hits += last["rise_low"] <= 0.05 <= last["rise_high"]
    assert 178 <= hits <= 200


@pytest.mark.parametrize(("budget", "within"), [(0.09, False), (0.101, False), (0.2, True)])
def test_upper_bound_decides_not_the_value(budget: float, within: bool) -> None:
    before = [10.0] * 20
    after = [10.0] * 10 + [12.0] * 10
    last = compared(before, after, budget)
    assert last["relative_rise"] == pytest.approx(0.1)
    assert 0.101 < last["rise_high"] < 0.2
    assert last["within_budget"] is within


def test_domain_probe_has_no_verdict() -> None:
    found = forgetting(probes(*set_of("g", [1.0], [1.0]), *set_of("d", [1.0], [9.0])), ONE, 0.02, seed=1)
    assert found.filter(pl.col("probe") == "d").get_column("within_budget").to_list() == [None, None]


def test_several_general_sets_are_pooled_and_the_pool_decides() -> None:
    rows = [*set_of("g", [90.0], [90.0]), *set_of("h", [10.0], [11.0]), *set_of("d", [1.0], [1.0])]
    found = forgetting(probes(*rows), TWO, 0.5, seed=1)
    pooled = found.filter((pl.col("probe") == POOLED) & (pl.col("step") == 1)).row(0, named=True)
    assert pooled["relative_rise"] == pytest.approx(0.01)
    assert deciding(found).get_column("probe").unique().to_list() == [POOLED]


def test_single_general_set_is_not_pooled() -> None:
    found = forgetting(probes(*set_of("g", [1.0], [1.0]), *set_of("d", [1.0], [1.0])), ONE, 0.02, seed=1)
    assert found.get_column("probe").unique().sort().to_list() == ["d", "g"]
    assert deciding(found).get_column("probe").unique().to_list() == ["g"]


def test_order_of_the_rows_changes_nothing() -> None:
    rows = probes(*set_of("g", [10.0, 20.0, 30.0], [11.0, 25.0, 29.0]))
    config = ProbesConfig(general=["g"])
    assert forgetting(rows, config, 0.1, seed=1).equals(forgetting(rows.reverse(), config, 0.1, seed=1))
