"""The funnel says what the ledger says."""

import re
from pathlib import Path

import polars as pl
import pytest

from engine.formats.parquet import read_parquet, write_parquet
from engine.report import report
from engine.report.evidence import open_evidence
from engine.report.funnel import Funnel, funnel, funnel_charts, funnel_tables


@pytest.fixture(scope="module")
def numbers(finished: Path) -> Funnel:
    found = funnel(open_evidence(finished))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def ledger(finished: Path) -> pl.DataFrame:
    return read_parquet(next(finished.glob("selections/*/ledger.parquet")))


def test_losses_stand_in_the_order_of_the_rules_and_kept_comes_last(numbers: Funnel) -> None:
    assert numbers.steps.select("outcome", "reason", "documents").rows() == [
        ("in", "in", 300),
        ("dropped", "exact_duplicate", 6),
        ("dropped", "near_duplicate", 23),
        ("held_out", "domain", 10),
        ("held_out", "general", 10),
        ("dropped", "too_short", 24),
        ("kept", "kept", 227),
    ]


def test_reasons_before_all_rules_come_first(workspace: Path, ledger: pl.DataFrame) -> None:
    unread = ledger.with_columns(pl.col("reason").str.replace("too_short", "no_text"))
    write_parquet(next(workspace.glob("selections/*/ledger.parquet")), unread)
    found = funnel(open_evidence(workspace))
    assert found is not None
    assert found.steps.get_column("reason").to_list()[:3] == ["in", "no_text", "exact_duplicate"]


@pytest.mark.parametrize("unit", ["documents", "bytes"])
def test_every_number_adds_up_to_the_ledger(numbers: Funnel, ledger: pl.DataFrame, unit: str) -> None:
    came = ledger.filter(pl.col("outcome") == "in").get_column(unit).sum()
    assert numbers.total("in", unit) == came
    assert numbers.steps.filter(pl.col("outcome") != "in").get_column(unit).sum() == came
    for source in numbers.source_names:
        rows = numbers.by_source.filter((pl.col("source") == source) & (pl.col("outcome") != "in"))
        assert rows.get_column(unit).sum() == numbers.of_source(source, "in", unit)


def test_every_row_of_the_table_adds_up_to_its_first_number(numbers: Funnel) -> None:
    documents = funnel_tables(numbers)[0]
    assert [row[0] for row in documents.rows] == ["stdlib_docs", "medquad", "code", "licenses", "all"]
    for row in documents.rows:
        came, *parts = (int(cell) for cell in row[1:-1])
        assert came == sum(parts)
    for column in zip(*(row[1:-1] for row in documents.rows), strict=True):
        *sources, total = (int(cell) for cell in column)
        assert total == sum(sources)


def test_bars_of_the_funnel_join_without_gap_or_overlap(numbers: Funnel) -> None:
    for chart in funnel_charts(numbers):
        wide = chart[: chart.index('class="narrow"')]
        bars = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', wide)
        (_, *whole), *losses, (_, *kept) = [(tone, float(x), float(x) + float(width)) for tone, x, width in bars]
        assert [tone for tone, *_ in losses] == ["lost", "lost", "held", "held", "lost"]
        assert whole == [0, 408]
        ends = [end for _, _, end in losses]
        starts = [start for _, start, _ in losses]
        assert ends == pytest.approx([408, *starts[:-1]], abs=0.21)
        assert kept == pytest.approx([0, starts[-1]], abs=0.21)


def test_ledger_that_does_not_balance_is_said_first(workspace: Path, ledger: pl.DataFrame) -> None:
    lost = (pl.col("source") == "code") & (pl.col("outcome") == "kept")
    wrong = ledger.with_columns(pl.when(lost).then(pl.col("documents") - 1).otherwise("documents").alias("documents"))
    write_parquet(next(workspace.glob("selections/*/ledger.parquet")), wrong)
    result = report(workspace)
    assert result["findings"][1].startswith("THE LEDGER DOES NOT BALANCE for code:")
    assert 'class="alert">THE LEDGER' in Path(result["path"]).read_text(encoding="utf-8")
