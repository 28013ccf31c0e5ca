"""Nothing but the documents and the options matters: not workers, memory, files, row groups, names, order."""

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .corpora import decisions, edited_copies, kept_ids, pairs, removed, run, span, survivors

OPTIONS: dict[str, Any] = {"id_column": "uid", "threshold": 0.7}


def rows_of(seed: int, ties: bool = False) -> list[dict[str, Any]]:
    """Documents with id and a score; with `ties`, all are equally long and few scores differ."""
    documents = edited_copies(seed, num_bases=25)
    longest = max(map(len, documents.values()))
    return [
        {"uid": uid, "text": text.ljust(longest, ".") if ties else text, "votes": number % 3}
        for number, (uid, text) in enumerate(documents.items())
    ]


def write_cut(folder: Path, rows: Sequence[dict[str, Any]], cuts: Sequence[int], group: int | None) -> list[Path]:
    """Write rows[0 : cuts[0]], rows[cuts[0] : cuts[1]], ... as one file each."""
    folder.mkdir()
    bounds = [0, *cuts, len(rows)]
    files = []
    for number, (start, end) in enumerate(pairwise(bounds)):
        files.append(folder / f"part-{number:03}.parquet")
        schema = pa.schema([("uid", pa.string()), ("text", pa.string()), ("votes", pa.int64())])
        pq.write_table(pa.Table.from_pylist(list(rows[start:end]), schema), files[-1], row_group_size=group)
    return files


def result(out: Path) -> tuple[Any, Any, Any]:
    return kept_ids(out), removed(out), pairs(out)


def test_workers_and_memory_change_no_byte(tmp_path: Path) -> None:
    files = write_cut(tmp_path / "in", rows_of(11), [40, 41, 100], 13)
    found = []
    for name, options in (("one", {"jobs": 1}), ("two", {"jobs": 2}), ("small", {"memory": "1GB"}), ("none", {})):
        run(files, tmp_path / name, **OPTIONS, **options)
        found.append((decisions(tmp_path / name), survivors(tmp_path / name)))
    assert found[1:] == found[:1] * 3
    assert len(removed(tmp_path / "one")) > 50


@pytest.mark.parametrize("keep", ["longest", "best:votes"])
@pytest.mark.parametrize("ties", [False, True])
def test_cut_into_files_and_row_groups_changes_nothing(tmp_path: Path, keep: str, ties: bool) -> None:
    rows = rows_of(12, ties)
    draw = random.Random(3)
    found = []
    for number, (num_cuts, group) in enumerate([(0, None), (0, 10), (4, 7), (30, 1000)]):
        cuts = sorted(draw.choices(range(len(rows) + 1), k=num_cuts))
        files = write_cut(tmp_path / f"in{number}", rows, cuts, group)
        run(files, tmp_path / f"out{number}", **OPTIONS, keep=keep)
        found.append(result(tmp_path / f"out{number}"))
    assert found[1:] == found[:1] * 3
    assert len(found[0][1]) > 50


@pytest.mark.parametrize("keep", ["longest", "best:votes"])
def test_order_of_files_and_of_rows_and_their_names_change_nothing(tmp_path: Path, keep: str) -> None:
    rows = rows_of(13, ties=True)
    files = write_cut(tmp_path / "in", rows, [30, 60, 90], 20)
    run(files, tmp_path / "out", **OPTIONS, keep=keep)
    expected = result(tmp_path / "out")
    run(files[::-1], tmp_path / "backwards", **OPTIONS, keep=keep)
    assert result(tmp_path / "backwards") == expected
    for number, file in enumerate(files):
        file.rename(file.with_name(f"{9 - number}-other.parquet"))
    run([tmp_path / "in"], tmp_path / "renamed", **OPTIONS, keep=keep)
    assert result(tmp_path / "renamed") == expected
    shuffled = write_cut(tmp_path / "shuffled", random.Random(4).sample(rows, len(rows)), [50], 9)
    run(shuffled, tmp_path / "rows", **OPTIONS, keep=keep)
    assert result(tmp_path / "rows") == expected


def test_without_own_ids_the_same_rows_stay_however_they_are_cut_and_ordered(tmp_path: Path) -> None:
    # Ties in length are settled by the text, and among equal texts by the whole row.
    rows = [{**row, "uid": f"u{number % 40}"} for number, row in enumerate(rows_of(14, ties=True))]
    found = []
    for number, order in enumerate([rows, rows[::-1], random.Random(5).sample(rows, len(rows))]):
        files = write_cut(tmp_path / f"in{number}", order, [7 * number, 50 + number], 11 + number)
        run(files, tmp_path / f"out{number}", threshold=0.7)
        found.append(sorted(survivors(tmp_path / f"out{number}"), key=repr))
    assert found[1:] == found[:1] * 2
    assert len(found[0]) < len({row["text"] for row in rows}) < len(rows)


def test_running_again_on_what_stayed_removes_nothing(tmp_path: Path) -> None:
    files = write_cut(tmp_path / "in", rows_of(15), [60], 20)
    first = run(files, tmp_path / "out", **OPTIONS)
    again = run([tmp_path / "out" / "survivors"], tmp_path / "again", **OPTIONS)
    assert again["documents"] == again["kept"] == first["kept"]
    assert kept_ids(tmp_path / "again") == kept_ids(tmp_path / "out")
    assert pairs(tmp_path / "again") == {}


def test_documents_of_other_texts_change_no_decision(tmp_path: Path) -> None:
    rows = rows_of(16)
    others = [{"uid": f"o{n}", "text": span(0, 90, f"o{n}x"), "votes": 0} for n in range(200)]
    run(write_cut(tmp_path / "in", rows, [], None), tmp_path / "out", **OPTIONS)
    mixed = random.Random(6).sample(rows + others, len(rows) + len(others))
    run(write_cut(tmp_path / "mixed", mixed, [100], 50), tmp_path / "more", **OPTIONS)
    assert removed(tmp_path / "more") == removed(tmp_path / "out")
    assert pairs(tmp_path / "more") == pairs(tmp_path / "out")


def test_the_same_command_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    files = write_cut(tmp_path / "in", rows_of(17), [33], None)
    found = []
    for name in ("one", "two"):
        run(files, tmp_path / name, **OPTIONS)
        found.append((decisions(tmp_path / name), survivors(tmp_path / name)))
    assert found[0] == found[1]
