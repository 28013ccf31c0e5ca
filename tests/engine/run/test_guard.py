"""The guard stops a run that loses a source, and shows examples."""

import polars as pl
import pytest

from engine.base.errors import AuditError
from engine.formats.ledger import SCHEMA
from engine.recipe import GuardConfig
from engine.run.guard import require_sane_removal


def ledger(dropped: int) -> pl.DataFrame:
    values = [("in", None, 100), ("kept", None, 100 - dropped), ("dropped", "near_duplicate", dropped)]
    return pl.DataFrame([("selection", "web", o, r, d, d, None) for o, r, d in values], schema=SCHEMA, orient="row")


def test_half_a_source_may_go_and_more_may_not() -> None:
    require_sane_removal(ledger(50), 2, GuardConfig(), list)
    with pytest.raises(AuditError, match=r"source web: 51 of 100 .*51 near_duplicate.*allow: \{web: 0.52\}"):
        require_sane_removal(ledger(51), 2, GuardConfig(), list)


def test_what_the_recipe_allows_passes() -> None:
    require_sane_removal(ledger(97), 2, GuardConfig(allow={"web": 0.97}), list)


def test_huge_cluster_stops_the_run_with_examples() -> None:
    with pytest.raises(AuditError, match=r"cluster of 10,001 documents(.|\n)*chat template"):
        require_sane_removal(ledger(0), 10_001, GuardConfig(), lambda: ["chat template"])
