"""One-shot deduplication: survivors keep their columns, every removal names a survivor that is that similar."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.base.errors import InputError, RecipeError
from engine.run.dedup import dedup

BASE = " ".join(f"word{number}" for number in range(60))
LONGER = BASE + " and a little more"
OTHER = " ".join(f"other{number}" for number in range(60))


def write(path: Path, texts: Sequence[str | None], start: int = 0) -> Path:
    ids = [f"d{start + n}" for n in range(len(texts))]
    table = {"uid": ids, "text": pa.array(texts, pa.string()), "votes": list(range(len(texts)))}
    pq.write_table(pa.table(table), path)
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())


def jaccard(one: str, other: str, n: int = 5) -> float:
    sets = [{tuple(words[i : i + n]) for i in range(len(words) - n + 1)} for words in (one.split(), other.split())]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_longest_of_its_kind_survives_with_all_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [BASE, LONGER, OTHER, BASE, None, ""])
    report = dedup([path], tmp_path / "out", id="uid")
    (survivors,) = (tmp_path / "out" / "survivors").iterdir()
    assert rows(survivors) == [
        {"uid": "d1", "text": LONGER, "votes": 1},
        {"uid": "d2", "text": OTHER, "votes": 2},
        {"uid": "d4", "text": None, "votes": 4},
        {"uid": "d5", "text": "", "votes": 5},
    ]
    assert report["documents"] == 6
    assert report["survivors"] == 4
    assert report == {"out": str(tmp_path / "out"), **json.loads((tmp_path / "out" / "report.json").read_text())}


def test_removal_names_the_final_survivor_and_the_similarity_to_it(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [BASE, LONGER, OTHER, BASE])
    dedup([path], tmp_path / "out", id="uid")
    removed = {row["id"]: row for row in rows(tmp_path / "out" / "removed.parquet")}
    assert set(removed) == {"d0", "d3"}
    for row in removed.values():
        assert row["kept_id"] == "d1"
        assert row["similarity"] == pytest.approx(jaccard(BASE, LONGER), abs=1e-4)
    assert {row["reason"] for row in removed.values()} == {"near_duplicate", "exact_duplicate"}
    assert [removed["d0"]["row"], removed["d3"]["row"]] == [0, 3]


def test_pairs_are_verified_and_at_or_above_the_threshold(tmp_path: Path) -> None:
    dedup([write(tmp_path / "in.parquet", [BASE, LONGER, OTHER])], tmp_path / "out", id="uid")
    (pair,) = rows(tmp_path / "out" / "pairs.parquet")
    assert {pair["id"], pair["other_id"]} == {"d0", "d1"}
    assert pair["similarity"] == pytest.approx(jaccard(BASE, LONGER), abs=1e-4)


def test_documents_of_against_stay_and_only_new_ones_go(tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", [BASE, BASE])
    new = write(tmp_path / "new.parquet", [LONGER, OTHER], start=10)
    dedup([new], tmp_path / "out", against=[old])
    (survivors,) = (tmp_path / "out" / "survivors").iterdir()
    assert [row["text"] for row in rows(survivors)] == [OTHER]


def test_order_of_the_files_changes_nothing(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.parquet", [BASE]),
        write(tmp_path / "b.parquet", [BASE.replace("word3 ", "WORD3 ")], 5),
    ]
    results = []
    for name, order in (("one", files), ("two", files[::-1])):
        dedup(order, tmp_path / name, id="uid")
        results.append(rows(tmp_path / name / "removed.parquet"))
    assert results[0] == results[1]


def test_json_lines_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in (BASE, BASE, OTHER)))
    report = dedup([path], tmp_path / "out", text="body")
    assert report["removed"] == {"exact_duplicate": 1}


def test_a_folder_that_holds_something_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(RecipeError, match="it is not empty"):
        dedup([write(tmp_path / "in.parquet", [BASE])], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_ids_that_stand_twice_across_files_are_an_error(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.parquet", [BASE]), write(tmp_path / "b.parquet", [OTHER])]
    with pytest.raises(InputError, match="ids stand twice in these files: d0"):
        dedup(files, tmp_path / "out", id="uid")
    assert not (tmp_path / "out").exists()
