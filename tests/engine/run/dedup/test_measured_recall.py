"""The recall of this very run: planted copies of known similarity and a brute-force sample, with an interval."""

import json
from pathlib import Path
from typing import Any

import pytest

from .corpora import edited_copies, kept_ids, pairs, removed, run, span, write


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, str]]:
    """A corpus with duplicates among 900 documents without any: folder, report, documents."""
    folder = tmp_path_factory.mktemp("recall")
    texts = [*edited_copies(41).values(), *(span(0, 150, f"d{number}x") for number in range(900))]
    documents = {f"d{row}": text for row, text in enumerate(texts)}
    report = run([write(folder / "in.parquet", texts)], folder / "out", id_column="uid")
    return folder, report, documents


def test_share_of_planted_copies_found_has_a_narrow_interval(
    result: tuple[Path, dict[str, Any], dict[str, str]],
) -> None:
    recall = result[1]["recall"]
    assert 500 <= recall["planted"] <= 2000
    assert 0 <= recall["found"] <= recall["planted"]
    assert recall["share"] == pytest.approx(recall["found"] / recall["planted"], abs=1e-4)
    low, high = recall["interval_95"]
    assert 0 <= low <= recall["share"] <= high <= 1
    assert high - low < 0.05
    assert high > 0.99


def test_planted_copies_are_just_above_the_threshold_where_they_are_hardest_to_find(
    result: tuple[Path, dict[str, Any], dict[str, str]],
) -> None:
    assert 0.8 <= result[1]["recall"]["mean_similarity"] < 0.85


def test_a_brute_force_sample_stands_beside_the_planted_copies(
    result: tuple[Path, dict[str, Any], dict[str, str]],
) -> None:
    (name,) = (name for name in result[1]["recall"] if "brute" in name or "sample" in name)
    sample = result[1]["recall"][name]
    assert 0 <= sample["found"] <= sample["pairs"]
    assert sample["pairs"] > 0


def test_planted_copies_are_in_no_output(result: tuple[Path, dict[str, Any], dict[str, str]]) -> None:
    folder, report, documents = result
    out = folder / "out"
    assert report["documents"] == len(documents)
    assert report["bytes"] == sum(len(text.encode()) for text in documents.values())
    gone = removed(out)
    named = set(gone) | {row.kept_id for row in gone.values()} | {name for pair in pairs(out) for name in pair}
    assert named <= set(documents)
    assert kept_ids(out) == set(documents) - set(gone)
    assert report["pairs"]["verified"] == len(pairs(out))
    assert "plant" not in "".join(path.name for path in out.rglob("*"))


def test_recall_stands_in_report_json_as_numbers(result: tuple[Path, dict[str, Any], dict[str, str]]) -> None:
    folder, report, _ = result

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    written = json.loads((folder / "out" / "report.json").read_text(), parse_constant=refuse)
    assert written["recall"] == report["recall"]


def test_measuring_again_gives_the_same_recall(
    tmp_path: Path, result: tuple[Path, dict[str, Any], dict[str, str]]
) -> None:
    folder, report, _ = result
    again = run([folder / "in.parquet"], tmp_path / "out", id_column="uid", jobs=1)
    assert again["recall"] == report["recall"]


@pytest.mark.parametrize(
    "texts",
    [[None], ["..."], ["one word"], ["one", "two"], [span(0, 100)] * 3],
    ids=["null", "dots", "one", "two", "equal"],
)
def test_corpora_too_small_to_plant_in_still_have_a_report(tmp_path: Path, texts: list[str | None]) -> None:
    report = run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    assert report["documents"] == len(texts)
    assert "recall" in report


@pytest.mark.parametrize(("threshold", "least_planted"), [(0.5, 100), (0.95, 100), (1.0, 0)])
def test_recall_is_measured_at_other_thresholds_too(tmp_path: Path, threshold: float, least_planted: int) -> None:
    texts = [span(0, 400, f"d{number}x") for number in range(300)]
    report = run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", threshold=threshold)
    assert (report["kept"], report["pairs"]["verified"]) == (300, 0)
    recall = report["recall"]
    # No edit leaves a similarity of 1.
    assert recall["planted"] >= least_planted
    assert recall["found"] >= 0.97 * recall["planted"]
    assert recall["planted"] == 0 or recall["mean_similarity"] >= threshold
