"""The page says what every quota got, and marks those that are not met."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from engine.catalog import sql
from engine.formats.parquet import write_parquet
from engine.formats.selection import BALANCE_SCHEMA
from engine.report import report
from engine.report.balance import Balance, balance, balance_findings, balance_table
from engine.report.evidence import open_evidence


@pytest.fixture(scope="module")
def numbers(balanced: Path) -> Balance:
    found = balance(open_evidence(balanced))
    assert found is not None
    return found


def made(rows: Sequence[tuple[object, ...]], left_over: int = 0) -> Balance:
    groups = pl.DataFrame(rows, schema=BALANCE_SCHEMA, orient="row")
    return Balance(groups, {"r": left_over} if left_over else {})


def test_unmet_quota_comes_first_and_alone_is_marked(numbers: Balance) -> None:
    table = balance_table(numbers)
    assert table is not None
    assert table.marked == (0,)
    assert table.rows == (
        ("source = medquad", "73", "27 (27.0 %)", "quota 100", "73", "0", "documents", "sources"),
        ("source = stdlib_docs", "50", "-", "quota 50", "100", "50", "documents", "sources"),
        ("source = licenses", "9", "-", "cap 40", "9", "0", "documents", "sources"),
    )


def test_groups_stand_in_the_order_of_the_named_query(numbers: Balance, balanced: Path) -> None:
    answer = sql("@balance", workspace=balanced)
    assert [row[1] for row in answer["rows"]] == numbers.groups["group"].to_list()


def test_recipe_without_balance_has_no_section(finished: Path) -> None:
    assert balance(open_evidence(finished)) is None
    assert list(balance_findings(None)) == []


def test_quotas_that_are_met_are_said_to_be() -> None:
    met = ("r", "documents", "a = 1", True, 5, 5, 5, 0, 5, 5)
    assert list(balance_findings(made([met]))) == ["The quota is met."]
    assert list(balance_findings(made([met, met]))) == ["All 2 quotas are met."]


def test_one_quota_and_one_document_are_spoken_of_in_the_singular() -> None:
    unmet = ("r", "documents", "a = 1", True, 5, 2, 2, 3, 2, 2)
    assert list(balance_findings(made([unmet], 1))) == [
        "1 of 1 quota is not met, and nothing was repeated to fill it: a = 1 has 2 of 5 documents.",
        "Balance left over 1 document by 'r'; it passed every filter and is in no mixture.",
    ]
    several = list(balance_findings(made([unmet, unmet], 2)))
    assert several[0].startswith("2 of 2 quotas are not met, and nothing was repeated to fill them: ")
    assert several[1].endswith("2 documents by 'r'; they passed every filter and are in no mixture.")


def test_many_groups_are_cut_but_no_unmet_quota_is() -> None:
    unmet = [("r", "bytes", f"a = {n}", True, 2_000, 500, 500, 1_500, 1, 1) for n in range(45)]
    capped = [("r", "bytes", f"b = {n}", False, 5, 9, 5, 0, 9, 5) for n in range(45)]
    table = balance_table(made([*unmet, *capped]))
    assert table is not None
    assert len(table.rows) == len(table.marked) == 45
    assert "45 of 90" in table.caption
    assert table.rows[0][1:6] == ("500 B", "1.50 kB (75.0 %)", "quota 2.00 kB", "500 B", "0 B")
    (quotas, left) = balance_findings(made([*unmet, *capped], 180))
    assert quotas.startswith("45 of 45 quotas are not met")
    assert "a = 0 has 500 B of 2.00 kB" in quotas
    assert quotas.endswith("; 42 more in the table.")
    assert left.startswith("Balance left over 180 documents by 'r';")


def test_rule_that_had_room_for_all_has_no_table(balanced: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(balanced, tmp_path / "workspace"))
    path = next(root.glob("selections/*/balance.parquet"))
    write_parquet(path, pl.DataFrame(schema=BALANCE_SCHEMA))
    found = balance(open_evidence(root))
    assert found is not None
    assert balance_table(found) is None
    assert "No group was too large" in Path(report(root)["path"]).read_text(encoding="utf-8")
