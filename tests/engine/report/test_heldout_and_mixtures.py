"""Held-out sets, coverage sheets and mixtures, as manifests and files say."""

import re
from pathlib import Path

import polars as pl

from engine.base.atomic import read_json, write_json
from engine.formats.parquet import read_parquet, write_parquet
from engine.report import report
from engine.report.evidence import open_evidence
from engine.report.heldout import heldout, heldout_tables
from engine.report.mixtures import (
    mixture_phases_table,
    mixture_sources_table,
    mixtures,
    mixtures_chart,
    mixtures_section,
    mixtures_table,
)


def test_held_out_sets_are_counted_per_source(finished: Path) -> None:
    found = heldout(open_evidence(finished))
    assert found is not None
    assert found.sets.select("set", "source", "documents", "groups").rows() == [
        ("domain", "code", 10, 10),
        ("general", "stdlib_docs", 10, 10),
    ]
    assert found.grouped == {}
    assert found.lowest_recall == 0.985


def test_documents_that_only_belong_to_a_group_are_counted_apart(workspace: Path) -> None:
    path = next(workspace.glob("splits/*/heldout.parquet"))
    write_parquet(path, read_parquet(path)[1:])
    found = heldout(open_evidence(workspace))
    assert found is not None
    assert found.grouped == {"domain": 1}
    html = Path(report(workspace)["path"]).read_text(encoding="utf-8")
    assert "1 more document is similar to the set 'domain' and was kept out of training with it." in html


def test_coverage_sheet_is_shown_with_the_recall_of_all_copies_and_the_false_flags(workspace: Path) -> None:
    path = next(workspace.glob("annotations/contamination/*/_corpus/*/coverage.parquet"))
    write_parquet(path, read_parquet(path).with_columns(pl.Series("control_flag_rate", [0.0, 0.12])))
    found = heldout(open_evidence(workspace))
    assert found is not None
    tables = {table.caption: table for table in heldout_tables(found)}
    coverage = tables["Coverage of the search (contamination)"]
    assert coverage.headings[-2:] == ("planted recall", "control flag rate")
    assert [row[-2:] for row in coverage.rows] == [("100.0 %", "0.0 %"), ("98.5 %", "12.0 %")]


def test_recall_that_nobody_could_measure_is_none(workspace: Path) -> None:
    path = next(workspace.glob("annotations/contamination/*/_corpus/*/coverage.parquet"))
    write_parquet(path, read_parquet(path).with_columns(pl.lit(None, pl.Float64).alias("planted_recall")))
    found = heldout(open_evidence(workspace))
    assert found is not None
    assert found.lowest_recall is None


def test_recipe_without_split_and_search_has_no_section(workspace: Path) -> None:
    path = workspace / "recipes" / "demo.json"
    write_json(path, {**read_json(path), "split": None, "artifacts": {}})
    assert heldout(open_evidence(workspace)) is None


def test_replay_reached_is_counted_from_supervised_tokens(finished: Path) -> None:
    without, replayed = mixtures(open_evidence(finished))
    assert (without.replay_tokens, replayed.replay_tokens) == (0, 400)
    rows = mixtures_table([without, replayed])
    asked, reached = rows.headings.index("replay asked"), rows.headings.index("replay reached")
    assert [(row[asked], row[reached]) for row in rows.rows] == [("-", "0.0 %"), ("10.0 %", "10.0 %")]
    filled = rows.headings.index("rows filled")
    assert rows.rows[0][filled] == "90.0 %"  # 4,608 tokens in 40 x 2 x 64 slots


def test_shares_of_each_mixture_add_up_to_the_whole(finished: Path) -> None:
    table = mixture_sources_table(mixtures(open_evidence(finished)))
    share = table.headings.index("share")
    assert [row[1:2] + row[share : share + 1] for row in table.rows] == [
        ("code", "100.0 %"),
        ("code", "90.0 %"),
        ("stdlib_docs (replay)", "10.0 %"),
    ]
    assert "stdlib_docs (replay): 10.0 %, 400 supervised tokens" in mixtures_chart(mixtures(open_evidence(finished)))


def test_every_part_of_a_mixture_has_its_own_entry_in_the_legend(workspace: Path) -> None:
    path = workspace / "mixtures" / "demo_replay_10" / "v1" / "manifest.json"
    manifest = read_json(path)
    part = manifest["sources"][0]
    others = [{**part, "source": f"s{i}", "is_replay": replay} for i in range(10) for replay in (False, True)]
    write_json(path, {**manifest, "sources": others, "supervised_tokens": 20 * part["supervised_tokens"]})
    chart = mixtures_chart([mixtures(open_evidence(workspace))[1]])
    legend = re.findall(r'<rect class="([^"]*)" width="12" height="12"/></svg>([^<]*)</li>', chart)
    expected = [f"s{i}" for i in range(7)] + ["other sources"]
    assert [name for _, name in legend] == expected + [f"{name} (replay)" for name in expected]
    assert len({tone for tone, _ in legend}) == 16
    for tone, name in legend:
        hints = re.findall(rf'<rect class="{tone}" x=[^>]*><title>([^:]*):', chart)
        known = {f"s{i}{' (replay)' if 'replay' in tone else ''}" for i in (7, 8, 9)} if "other" in name else {name}
        assert set(hints) == known


def test_phases_and_objectives_are_shown_where_there_are_some(workspace: Path) -> None:
    before = mixtures(open_evidence(workspace))
    assert mixture_phases_table(before) is None
    assert len(mixtures_section(before)) == 2
    path = workspace / "mixtures" / "demo_replay_10" / "v1" / "manifest.json"
    manifest = read_json(path)
    sizes = {"documents": 24, "tokens": 2000, "budget_tokens": 1500}
    phases = [
        {"name": "broad", "curriculum": "shuffled", "supervised_tokens": 1600, **sizes},
        {"name": "exact", "curriculum": "by_length", "supervised_tokens": 2400, **sizes},
    ]
    code, replay = manifest["sources"]
    code |= {"phase": 1, "objective": "last_answer"}
    write_json(path, manifest | {"phases": phases, "sources": [code, replay]})
    after = mixtures(open_evidence(workspace))
    table = mixture_phases_table(after)
    assert table is not None
    assert [[*row[:3], *row[-3:]] for row in table.rows] == [
        ["demo_replay_0@v1", "all", "shuffled", "100.0 %", "4,000", "0.0 %"],
        ["demo_replay_10@v1", "broad", "shuffled", "40.0 %", "1,500", "25.0 %"],
        ["demo_replay_10@v1", "exact", "by_length", "60.0 %", "1,500", "0.0 %"],
    ]
    sources = mixture_sources_table(after)
    assert [(row[1], row[-2]) for row in sources.rows[1:]] == [
        ("code, exact", "last answer"),
        ("stdlib_docs (replay), broad", "text"),
    ]


def test_schedule_that_was_collected_leaves_its_cell_empty(workspace: Path) -> None:
    for path in workspace.glob("schedules/*/receipt.json"):
        path.unlink()
    assert [row[-1] for row in mixtures_table(mixtures(open_evidence(workspace))).rows] == ["-", "-"]
