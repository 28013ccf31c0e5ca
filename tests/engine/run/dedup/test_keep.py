"""Who stays among those that compete: the longest, the first as given, or the best by a column."""

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from .corpora import edited_copies, kept_ids, pairs, removed, run, span, survivors, write
from .oracle import assert_follows_definition

BASE = span(0, 60)


def stays(folder: Path, scores: Sequence[Any], texts: Sequence[str] | None = None, kind: Any = None) -> set[str]:
    """Ids that stay by best:score of near-duplicates; the later, the longer."""
    texts = texts or [BASE + "!" * row for row in range(len(scores))]
    path = write(folder / "in.parquet", texts, score=pa.array(scores, kind))
    run([path], folder / "out", id_column="uid", keep="best:score")
    return kept_ids(folder / "out")


def test_longest_in_characters_stays_by_default(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [BASE + "!", BASE + "!!!", BASE + "!!"], score=[9, 1, 5])
    for name, options in (("default", {}), ("named", {"keep": "longest"})):
        run([path], tmp_path / name, id_column="uid", **options)
        assert kept_ids(tmp_path / name) == {"d1"}


def test_highest_score_stays(tmp_path: Path) -> None:
    assert stays(tmp_path, [1, 7, -3, 2]) == {"d1"}


@pytest.mark.parametrize(
    ("scores", "kind", "kept"),
    [
        ([None, float("nan"), -1e300, None, float("nan")], pa.float64(), "d2"),
        ([0.1, float("inf"), 1e30, float("-inf")], pa.float32(), "d1"),
        ([True, False, None], pa.bool_(), "d0"),
        ([3, 2**62, 2**62 - 1, None], pa.int64(), "d1"),
        ([2**63 + 1, 2**63, None], pa.uint64(), "d0"),
        ([date(2024, 1, 1), date(2025, 1, 1), None], pa.date32(), "d1"),
    ],
    ids=["null and NaN", "infinity", "boolean", "near integers", "large integers", "date"],
)
def test_null_and_nan_come_last_whatever_the_type(
    tmp_path: Path, scores: list[Any], kind: pa.DataType, kept: str
) -> None:
    assert stays(tmp_path, scores, kind=kind) == {kept}


def test_ties_in_score_fall_to_the_longer_text(tmp_path: Path) -> None:
    assert stays(tmp_path, [0.5, 0.5, 0.25, -0.0, 0.0]) == {"d1"}
    assert stays(tmp_path / "zeros", [0.0, -0.0]) == {"d1"}


def test_null_and_nan_are_equally_bad(tmp_path: Path) -> None:
    assert stays(tmp_path, [None, float("nan"), None, float("nan")], kind=pa.float64()) == {"d3"}
    assert stays(tmp_path / "other", [float("nan"), None, float("nan"), None], kind=pa.float64()) == {"d3"}


def test_score_decides_among_equal_texts_too(tmp_path: Path) -> None:
    assert stays(tmp_path, [0.1, None, 0.9, 0.3], [BASE] * 4) == {"d2"}
    assert set(removed(tmp_path / "out").values()) == {("d2", "exact_dup", 1.0)}


def test_exact_duplicate_points_to_the_survivor_that_a_score_chose(tmp_path: Path) -> None:
    texts = [BASE, BASE, BASE + " and more", "unlike them"]
    assert stays(tmp_path, [3, 2, 9, None], texts) == {"d2", "d3"}
    # 56 of 58 5-grams.
    assert removed(tmp_path / "out") == {"d0": ("d2", "near_dup", 0.9655), "d1": ("d2", "exact_dup", 0.9655)}


def test_score_of_the_best_of_equal_texts_stands_for_all_of_them(tmp_path: Path) -> None:
    assert stays(tmp_path, [1, 9, 5], [BASE, BASE, BASE + " and more"]) == {"d1"}
    assert removed(tmp_path / "out") == {"d0": ("d1", "exact_dup", 1.0), "d2": ("d1", "near_dup", 0.9655)}


@pytest.mark.parametrize(
    ("order", "kept"), [(("a", "b", "c"), "d0"), (("b", "a", "c"), "d2"), (("c", "b", "a"), "d3")], ids=str
)
def test_first_is_the_order_of_inputs_as_given_and_then_the_row(
    tmp_path: Path, order: tuple[str, ...], kept: str
) -> None:
    files = {
        "a": write(tmp_path / "a.parquet", [BASE, BASE + " and more"], rows_per_group=1),
        "b": write(tmp_path / "b.parquet", [BASE + "!!!"], 2),
        "c": write(tmp_path / "c.parquet", [BASE + "!", BASE], 3),
    }
    run([files[name] for name in order], tmp_path / "out", id_column="uid", keep="first", jobs=2)
    assert kept_ids(tmp_path / "out") == {kept}
    assert {row.kept_id for row in removed(tmp_path / "out").values()} == {kept}


def test_first_takes_the_files_of_a_folder_by_name(tmp_path: Path) -> None:
    write(tmp_path / "in" / "2.parquet", [BASE + "!!"], 1)
    write(tmp_path / "in" / "10.parquet", [BASE], 0)
    run([tmp_path / "in"], tmp_path / "out", id_column="uid", keep="first")
    assert kept_ids(tmp_path / "out") == {"d0"}


def test_first_follows_the_definition_in_the_order_of_rows(tmp_path: Path) -> None:
    documents = edited_copies(21)
    texts = list(documents.values())
    files = [write(tmp_path / "z.parquet", texts[:30]), write(tmp_path / "a.parquet", texts[30:], 30, 10)]
    run(files, tmp_path / "out", id_column="uid", keep="first")
    found = removed(tmp_path / "out")
    order = list(dict.fromkeys(texts))
    assert_follows_definition(documents, found, pairs(tmp_path / "out"), Fraction("0.8"), order)
    first_of_text = {text: name for name, text in reversed(documents.items())}
    assert {first_of_text[documents[name]] for name in set(documents) - set(found)} == set(documents) - set(found)


def test_best_follows_the_definition_in_the_order_of_scores(tmp_path: Path) -> None:
    documents = edited_copies(22)
    scores = [(number * 37) % 11 / 4 for number in range(len(documents))]
    path = write(tmp_path / "in.parquet", list(documents.values()), score=scores)
    run([path], tmp_path / "out", id_column="uid", keep="best:score")
    best: dict[str, float] = {}
    for text, score in zip(documents.values(), scores, strict=True):
        best[text] = max(score, best.get(text, score))
    order = sorted(best, key=lambda text: (-best[text], -len(text)))
    assert_follows_definition(documents, removed(tmp_path / "out"), pairs(tmp_path / "out"), Fraction("0.8"), order)
    assert all(row["score"] == best[row["text"]] for row in survivors(tmp_path / "out"))
