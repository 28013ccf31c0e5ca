"""The findings: few, plain, and bad news is said."""

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from engine.base.atomic import read_json, write_json
from engine.formats.parquet import read_parquet, write_parquet
from engine.report.evidence import open_evidence
from engine.report.findings import findings
from engine.report.numbers import gather


def _said(workspace: Path) -> list[str]:
    return findings(gather(open_evidence(workspace)))


def test_whole_workspace_has_three_to_seven_findings_in_ascii(finished: Path) -> None:
    said = _said(finished)
    assert 3 <= len(said) <= 7
    for sentence in said:
        assert sentence.isascii()
        assert sentence.endswith(".")


def test_first_finding_counts_documents(finished: Path) -> None:
    assert re.match(
        r"Of 300 documents \([0-9.]+ kB\) in 4 sources, 227 were kept \(75\.7 %; [0-9.]+ kB\), "
        r"53 were dropped and 20 held out for measuring\.",
        _said(finished)[0],
    )


def test_largest_loss_names_reason_source_and_hardest_hit_source(finished: Path) -> None:
    assert _said(finished)[1] == (
        "The largest loss is 'too_short' with 24 documents (8.0 % of all), 10 of them from 'stdlib_docs'; "
        "of all sources 'licenses' kept the smallest part, 9 of 30 documents."
    )


def test_effective_number_is_said_before_and_after(finished: Path) -> None:
    assert re.search(
        r"was 3\.60 by documents and 3\.53 by bytes as read and is 3\.24 by documents and 3\.16 by bytes after.* "
        r"1\.00 in demo_replay_0@v1 and 1\.38",
        _said(finished)[2],
    )


def test_lowest_recall_of_the_search_is_said(finished: Path) -> None:
    assert "the search found 98.5 % or more of the planted copies" in _said(finished)[3]


@pytest.mark.parametrize(
    ("rates", "named"), [([0.05, 0.12], "12.0 % ('domain') and 5.0 % ('general')"), ([0.04, 0.05], "5.0 % ('domain')")]
)
def test_search_that_flags_what_holds_no_item_is_said_openly(workspace: Path, rates: list[float], named: str) -> None:
    path = next(workspace.glob("annotations/contamination/*/_corpus/*/coverage.parquet"))
    write_parquet(path, read_parquet(path).with_columns(pl.Series("control_flag_rate", rates)))
    (said,) = [s for s in _said(workspace) if s.startswith("FLAGS MAY BE FALSE")]
    assert f"the search flagged {named};" in said


def test_few_flags_of_control_texts_are_no_finding(finished: Path, workspace: Path) -> None:
    path = next(workspace.glob("annotations/contamination/*/_corpus/*/coverage.parquet"))
    write_parquet(path, read_parquet(path).with_columns(pl.Series("control_flag_rate", [0.04, None])))
    assert _said(workspace) == _said(finished)


def test_replay_is_compared_by_general_text_and_its_cost_on_the_domain(finished: Path) -> None:
    (said,) = [s for s in _said(finished) if s.startswith("Replay against forgetting")]
    assert "changed by +4.00 % (95 % interval +3.60 to +4.40 %) without replay (replay_0, 40 steps)" in said
    assert "by +0.80 % (95 % interval +0.40 to +1.20 %) with 10.0 % replay (replay_10, 40 steps)" in said
    assert "the difference is 3.20 points" in said
    assert "On domain text ('domain') the changes are -20.00 % and -16.80 %." in said


def test_run_over_budget_is_said_openly_and_the_other_is_not_blamed(finished: Path) -> None:
    said = _said(finished)[-1]
    assert said.startswith("OVER BUDGET: run 'replay_0' exceeded its forgetting budget of +2.00 % on 'general'")
    assert "at steps 20, 30 and 40; it ends at +4.00 %" in said
    assert said.endswith("Within the forgetting budget at every step probed: 'replay_10'.")


def test_run_that_came_back_under_its_budget_is_still_said(workspace: Path) -> None:
    path = workspace / "runs" / "replay_0" / "forgetting.parquet"
    rows = read_parquet(path)
    only = pl.when(pl.col("is_general")).then(pl.col("step") != 20).alias("within_budget")
    write_parquet(path, rows.with_columns(only).select(rows.columns))
    said = _said(workspace)[-1]
    assert "OVER BUDGET: run 'replay_0'" in said
    assert "at step 20; at its last step it is within it again" in said


def test_nothing_is_over_budget_where_all_runs_are_within(workspace: Path) -> None:
    shutil.rmtree(workspace / "runs" / "replay_0")
    said = _said(workspace)
    assert not [s for s in said if "OVER BUDGET" in s or "Replay against" in s]
    assert said[-1] == "Within the forgetting budget at every step probed: 'replay_10'."


def test_difference_that_may_be_chance_is_not_claimed(workspace: Path) -> None:
    for name in ("probes.parquet", "forgetting.parquet"):
        shutil.copy(workspace / "runs" / "replay_0" / name, workspace / "runs" / "replay_10" / name)
    (said,) = [s for s in _said(workspace) if s.startswith("Replay against forgetting")]
    assert "so it is not shown that replay made one" in said


def test_interval_from_few_documents_is_not_trusted(workspace: Path) -> None:
    for name in ("replay_0", "replay_10"):
        path = workspace / "runs" / name / "probes.parquet"
        rows = read_parquet(path)
        few = rows.get_column("doc_id").unique().sort()[:4]
        write_parquet(path, rows.filter(pl.col("doc_id").is_in(few.implode())))
    (said,) = [s for s in _said(workspace) if s.startswith("Replay against forgetting")]
    assert "only, so the intervals say little" in said
    assert "paired by document" not in said


def test_runs_from_different_bases_are_not_compared(workspace: Path) -> None:
    path = workspace / "runs" / "replay_10" / "run.json"
    write_json(path, {**read_json(path), "base": {"kind": "path", "name": "other", "digest": "0" * 32}})
    assert not [s for s in _said(workspace) if s.startswith("Replay against forgetting")]


def test_new_model_is_not_said_to_forget(workspace: Path) -> None:
    for name in ("replay_0", "replay_10"):
        path = workspace / "runs" / name / "run.json"
        write_json(path, {**read_json(path), "base": {"kind": "tiny", "name": "tiny", "digest": "0" * 32}})
    assert not [s for s in _said(workspace) if "forgetting" in s]


@pytest.mark.parametrize("probed", [True, False])
def test_run_without_general_text_is_said_to_show_nothing(workspace: Path, probed: bool) -> None:
    path = workspace / "runs" / "replay_0" / "forgetting.parquet"
    rows = read_parquet(path)
    write_parquet(path, rows if probed else rows.filter(~pl.col("is_general")))
    assert ("Nothing is known about forgetting in 'replay_0'" in _said(workspace)[-1]) is not probed


def test_what_balance_left_over_is_neither_dropped_nor_hidden(balanced: Path) -> None:
    said = _said(balanced)
    assert "182 were kept" in said[0]
    assert "48 were dropped, 50 left over by balance and 20 held out for measuring." in said[0]
    assert said[2:5] == [
        "1 of 2 quotas is not met, and nothing was repeated to fill it: source = medquad has 73 of 100 documents.",
        "Balance left over 50 documents by 'sources'; they passed every filter and are in no mixture.",
        "Kept only because their source is protected: 5 documents of 'code' (8.3 %); a rule would have dropped them.",
    ]
