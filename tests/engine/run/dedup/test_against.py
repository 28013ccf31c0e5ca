"""--against: old documents stay as they are; of the new ones those go that resemble an old one."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from .corpora import kept_ids, pairs, removed, run, span, survivors, write

BASE = span(0, 60, "word")
LONGER = BASE + " and a little more"
OTHER = span(0, 60, "other")
THIRD = span(0, 60, "third")


def why(out: Path) -> dict[str, tuple[str, float]]:
    """Removed id -> (reason, similarity)."""
    return {name: (row.reason, row.similarity) for name, row in removed(out).items()}


def test_with_id_column_an_old_document_is_named_by_its_own_id(tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", [BASE, OTHER])
    new = write(tmp_path / "new.parquet", [LONGER, OTHER], 10)
    run([new], tmp_path / "out", id_column="uid", against=[old])
    assert removed(tmp_path / "out") == {"d10": ("d0", "near_dup", 0.9333), "d11": ("d1", "exact_dup", 1.0)}


def test_old_documents_need_no_id_and_may_have_those_of_new_ones(tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", [BASE, THIRD], 10)
    nameless = tmp_path / "nameless.parquet"
    pq.write_table(pq.read_table(old).select(["text"]), nameless)
    new = write(tmp_path / "new.parquet", [OTHER, LONGER], 10)
    for against in (old, nameless):
        run([new], tmp_path / against.stem, id_column="uid", against=[against])
        assert why(tmp_path / against.stem) == {"d11": ("near_dup", 0.9333)}


def test_only_new_documents_go_however_short_the_old_one(tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", [BASE])
    new = write(tmp_path / "new.parquet", [LONGER, OTHER, BASE], 10)
    report = run([new], tmp_path / "out", id_column="uid", against=[old])
    assert report["documents"] == 3
    assert why(tmp_path / "out") == {"d10": ("near_dup", 0.9333), "d12": ("exact_dup", 1.0)}
    assert [row["text"] for row in survivors(tmp_path / "out")] == [OTHER]


def test_old_documents_are_not_deduplicated_among_themselves(tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", [BASE, BASE, LONGER])
    new = write(tmp_path / "new.parquet", [OTHER, OTHER], 10)
    report = run([new], tmp_path / "out", id_column="uid", against=[old])
    assert report["documents"] == 2
    assert report["removed"] == {"exact_dup": 1, "near_dup": 0}
    assert {name for pair in pairs(tmp_path / "out") for name in pair} <= {"d10", "d11"}


def test_new_documents_are_deduplicated_among_themselves_too(tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", [THIRD])
    new = write(tmp_path / "new.parquet", [BASE, LONGER, OTHER, THIRD], 10)
    run([new], tmp_path / "out", id_column="uid", against=[old])
    assert why(tmp_path / "out") == {"d10": ("near_dup", 0.9333), "d13": ("exact_dup", 1.0)}
    assert removed(tmp_path / "out")["d10"].kept_id == "d11"


def test_removed_new_document_protects_no_other_new_one(tmp_path: Path) -> None:
    # old ~ a ~ b, old and b far apart: a goes for the old one, b stays although a is longer.
    old = write(tmp_path / "old.parquet", [span(0, 200)])
    new = write(tmp_path / "new.parquet", [span(15, 215) + "!" * 50, span(30, 230)], 10)
    run([new], tmp_path / "out", id_column="uid", against=[old])
    assert set(removed(tmp_path / "out")) == {"d10"}


@pytest.mark.parametrize("keep", ["longest", "first", "best:votes"])
def test_old_documents_come_before_every_policy_and_need_no_score(tmp_path: Path, keep: str) -> None:
    old = write(tmp_path / "old.parquet", [BASE])
    new = write(tmp_path / "new.parquet", [LONGER, OTHER], 10, votes=[99, 1])
    run([new], tmp_path / "out", id_column="uid", against=[old], keep=keep)
    assert kept_ids(tmp_path / "out") == {"d11"}


def test_without_id_column_an_old_document_is_named_by_its_file_and_row(tmp_path: Path) -> None:
    old = write(tmp_path / "old" / "b.parquet", [OTHER, BASE])
    new = write(tmp_path / "new.parquet", [LONGER])
    run([new], tmp_path / "out", against=[old.parent])
    assert removed(tmp_path / "out") == {f"{new}#0": (f"{old}#1", "near_dup", 0.9333)}


def test_folder_and_file_and_earlier_result_go_together(tmp_path: Path) -> None:
    file = write(tmp_path / "file.parquet", [BASE])
    write(tmp_path / "folder" / "one.parquet", [OTHER], 1)
    run([write(tmp_path / "in.parquet", [THIRD], 2)], tmp_path / "earlier", id_column="uid")
    texts = [LONGER, OTHER + " more", THIRD + " more", span(0, 60, "new")]
    new = write(tmp_path / "new.parquet", texts, 10)
    against = [file, tmp_path / "folder", tmp_path / "earlier"]
    run([new], tmp_path / "out", id_column="uid", against=against)
    assert set(removed(tmp_path / "out")) == {"d10", "d11", "d12"}
    assert kept_ids(tmp_path / "out") == {"d13"}


def test_of_an_earlier_result_only_the_survivors_count(tmp_path: Path) -> None:
    first = write(tmp_path / "first.parquet", [span(0, 200) + "!" * 50, span(15, 215)])
    run([first], tmp_path / "earlier", id_column="uid")
    assert kept_ids(tmp_path / "earlier") == {"d0"}
    # The new one resembles only the document that went.
    new = write(tmp_path / "new.parquet", [span(30, 230)], 10)
    run([new], tmp_path / "out", id_column="uid", against=[tmp_path / "earlier"])
    assert kept_ids(tmp_path / "out") == {"d10"}


def test_day_by_day_nothing_stays_twice(tmp_path: Path) -> None:
    days = [[BASE, OTHER], [LONGER, THIRD, THIRD], [OTHER, THIRD + " again", "something new here"]]
    results: list[Path] = []
    kept = []
    for day, texts in enumerate(days):
        path = write(tmp_path / f"day{day}.parquet", texts, 10 * day)
        run([path], tmp_path / f"out{day}", id_column="uid", against=list(results))
        results.append(tmp_path / f"out{day}")
        kept.append([row["text"] for row in survivors(results[-1])])
    assert kept == [[BASE, OTHER], [THIRD], ["something new here"]]


def test_result_with_decisions_only_leads_to_the_next_like_one_with_survivors(tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", [BASE, OTHER])
    new = write(tmp_path / "new.parquet", [LONGER, THIRD], 10)
    run([new], tmp_path / "whole", id_column="uid", against=[old])
    run([new], tmp_path / "only", id_column="uid", against=[old], decisions_only=True)
    assert removed(tmp_path / "only") == removed(tmp_path / "whole")


def test_old_files_may_have_other_columns(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "old.parquet", [BASE], stars=[5])).select(["stars", "text", "uid"])
    pq.write_table(table, tmp_path / "old.parquet")
    run(
        [write(tmp_path / "new.parquet", [LONGER], 10)],
        tmp_path / "out",
        id_column="uid",
        against=[tmp_path / "old.parquet"],
    )
    assert why(tmp_path / "out") == {"d10": ("near_dup", 0.9333)}


def test_old_folder_stays_as_it_was(tmp_path: Path) -> None:
    old = write(tmp_path / "old" / "a.parquet", [BASE])
    before = old.read_bytes()
    run([write(tmp_path / "new.parquet", [LONGER], 10)], tmp_path / "out", id_column="uid", against=[old.parent])
    assert old.read_bytes() == before
    assert list(old.parent.iterdir()) == [old]


def test_old_documents_without_text_change_nothing(tmp_path: Path) -> None:
    old = write(tmp_path / "old.parquet", [None, "", "..."])
    new = write(tmp_path / "new.parquet", [None, "", "...", "...."], 10)
    run([new], tmp_path / "out", id_column="uid", against=[old])
    assert why(tmp_path / "out") == {"d12": ("exact_dup", 1.0)}


def test_whole_input_that_is_old_goes(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", [BASE, OTHER, LONGER])
    report = run([path], tmp_path / "out", against=[path])
    assert (report["documents"], report["kept"]) == (3, 0)
    assert report["removed"] == {"exact_dup": 3, "near_dup": 0}
