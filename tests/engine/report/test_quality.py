"""Quality: every scored document that was kept or dropped is in the histogram, once."""

from pathlib import Path

import polars as pl
import pytest

from engine.formats.parquet import read_parquet, write_parquet
from engine.report.evidence import Evidence, open_evidence
from engine.report.quality import quality, quality_table


def _scored(evidence: Evidence) -> pl.DataFrame:
    return pl.concat([frame for _, frame in evidence.frames(["source", "quality__score"])])


def test_histogram_counts_kept_and_dropped_and_no_held_out_document(finished: Path) -> None:
    (found,) = quality(open_evidence(finished))
    assert (sum(found.kept), sum(found.dropped)) == (227, 53)
    assert (found.edges[0], found.edges[-1]) == (0.0, 1.0)


def test_quantiles_are_scores_that_occur(finished: Path) -> None:
    evidence = open_evidence(finished)
    (found,) = quality(evidence)
    kept = _scored(evidence).filter((pl.col("decision") == "kept") & (pl.col("source") == "code"))
    values = sorted(kept.get_column("quality__score"))
    row = found.by_source.row(by_predicate=pl.col("source") == "code", named=True)
    assert row["documents"] == len(values) == 45
    places = {"p10": 4, "p25": 11, "median": 22, "p75": 33, "p90": 40}  # round(q * 44)
    assert {name: row[name] for name in places} == {name: values[place] for name, place in places.items()}


def test_decisions_of_the_table_are_all_there(finished: Path) -> None:
    (found,) = quality(open_evidence(finished))
    rows = {row[0]: int(row[1]) for row in quality_table(found).rows}
    assert rows == {"kept": 227, "too_short": 24, "near_duplicate": 23, "exact_duplicate": 6}


def test_document_without_a_score_is_not_counted(workspace: Path) -> None:
    part = next((workspace / "annotations" / "quality").glob("*/licenses/key0.parquet"))
    holes = [None, float("nan"), *read_parquet(part).get_column("quality__score")[2:]]
    write_parquet(part, pl.DataFrame({"quality__score": holes}, schema={"quality__score": pl.Float64}, strict=False))
    (found,) = quality(open_evidence(workspace))
    # Row 0 was kept, row 1 is a near-duplicate.
    assert (sum(found.kept), sum(found.dropped)) == (226, 52)
    assert found.by_reason.filter(pl.col("reason") == "near_duplicate").item(0, "documents") == 22


def test_scores_outside_zero_to_one_have_their_own_range(workspace: Path) -> None:
    for part in (workspace / "annotations" / "quality").glob("*/*/key*.parquet"):
        write_parquet(part, read_parquet(part).select(pl.col("quality__score") * 10 - 3))
    (found,) = quality(open_evidence(workspace))
    assert found.edges[0] == pytest.approx(-3.0)
    assert (sum(found.kept), sum(found.dropped)) == (227, 53)
