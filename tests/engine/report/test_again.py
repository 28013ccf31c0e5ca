"""Every number can be had again: the commands of the page name queries and views that exist."""

import re
import shlex
from pathlib import Path

import pytest

from engine.catalog import sql
from engine.report.again import again
from engine.report.diversity import diversity
from engine.report.evidence import open_evidence
from engine.report.funnel import funnel
from engine.report.numbers import gather
from engine.report.sources import sources

SQL = Path(__file__).parents[3] / "sql"


@pytest.fixture(scope="module")
def queries(finished: Path) -> list[str]:
    evidence = open_evidence(finished)
    commands = [row[1] for row in again(evidence, gather(evidence)).rows]
    words = [shlex.split(command) for command in commands]
    # Another recipe may have finished since.
    assert all([*one[:2], *one[3:]] == ["provender", "sql", "--recipe", "demo"] for one in words)
    return [one[2] for one in words]


def test_named_queries_exist(queries: list[str]) -> None:
    named = [query.removeprefix("@") for query in queries if query.startswith("@")]
    assert "funnel" in named
    assert {name for name in named if not list(SQL.glob(f"*/{name}.sql"))} == set()


def test_views_exist(queries: list[str]) -> None:
    views = {view for query in queries for view in re.findall(r"(?:FROM|JOIN) (\w+)", query)}
    assert {view for view in views if not (SQL / "catalog" / f"{view}.sql").is_file()} == set()


def test_every_command_answers(queries: list[str], finished: Path) -> None:
    for query in queries:
        assert sql(query, workspace=finished)["columns"], query


def test_funnel_of_the_page_is_that_of_the_named_query(finished: Path) -> None:
    found = funnel(open_evidence(finished))
    assert found is not None
    answer = sql("@funnel", workspace=finished)
    rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    totals = {(r["outcome"], r["reason"] or r["outcome"]): r["documents"] for r in rows if r["source"] == "(all)"}
    assert totals == {(o, r): n for o, r, n in found.steps.select("outcome", "reason", "documents").iter_rows()}


def test_effective_numbers_of_the_page_are_those_of_the_named_query(finished: Path) -> None:
    answer = sql("@n_eff", workspace=finished)
    rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    evidence = open_evidence(finished)
    found = diversity(evidence, sources(evidence))
    levels = {"read": found.read, "kept": found.kept}
    asked = {(r["level"], r["unit"]): r["n_eff"] for r in rows if r["level"] in levels}
    assert asked == {(level, unit): n for level, figures in levels.items() for unit, n in figures.items()}
