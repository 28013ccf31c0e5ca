"""Rows of a step, literal in and literal out; ranks and windows share a schedule without loss."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.base.atomic import write_json
from engine.base.errors import InputError
from engine.formats import training_rows
from engine.formats.manifest import DOCUMENTS_SCHEMA, Manifest
from engine.formats.mixture import Mixture
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.schedule import SCHEMA, Schedule, ScheduleMeta
from engine.formats.token_store import DOCUMENTS_SCHEMA as STORED_SCHEMA
from engine.formats.token_store import StoreMeta, TokenStore
from engine.formats.training_rows import StepRows, TrainingRows, open_training_rows
from engine.formats.workspace import Workspace

IDS = [10, 11, 12, 2, 20, 21, 2, 30, 31, 32, 33, 34, 2]
"""Three documents of 4, 3 and 6 tokens; the second token of the first is a tag."""
SUPERVISED = [0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1]
SPANS = [
    # step, row, start, length, document, document_start, repeat, supervised_tokens
    (0, 0, 0, 4, 0, 0, 0, 2),
    (0, 1, 0, 4, 2, 0, 0, 3),
    (0, 2, 0, 2, 2, 4, 0, 1),
    (0, 2, 2, 3, 1, 0, 0, 2),
    (1, 0, 0, 3, 1, 0, 1, 2),
]


def write(folder: Path, spans: list[tuple[int, ...]] = SPANS) -> TrainingRows:
    columns: dict[str, Any] = {"document": [0, 1, 2], "source": ["x", "y", "x"], "is_replay": [True, False, False]}
    columns |= {"store_row": [1, 2, 0], "doc_id": [bytes([n] * 16) for n in range(3)], "phase": [0] * 3}
    columns |= {"num_tokens": [4, 3, 6], "supervised_tokens": [2, 2, 5], "repeats": [1, 2, 1]}
    write_parquet(folder / "m" / "documents.parquet", pl.DataFrame(columns, schema=DOCUMENTS_SCHEMA))
    manifest: Any = None
    stored = pl.DataFrame({"offset": [7, 0, 4]}, schema={"offset": STORED_SCHEMA["offset"]})
    write_parquet(folder / "t" / "documents.parquet", stored)
    np.array(IDS, np.uint16).tofile(folder / "t" / "ids.bin")
    np.packbits(np.array(SUPERVISED, bool), bitorder="little").tofile(folder / "t" / "supervised.bin")
    write_parquet(folder / "s" / "schedule.parquet", pl.DataFrame(spans, schema=SCHEMA, orient="row"))
    store = StoreMeta(digest="t", tokenizer="k", eos_id=2, dtype="uint16", num_documents=3, num_tokens=len(IDS))
    schedule = ScheduleMeta(
        digest="s", mixture="m", token_store="t", row_tokens=8, rows_per_step=3, num_steps=2, num_tokens=16,
        supervised_tokens=10,
    )  # fmt: skip
    return TrainingRows(
        Mixture(folder / "m", manifest), Schedule(folder / "s", schedule), TokenStore(folder / "t", store)
    )


def spelt(rows: StepRows) -> list[tuple[int, int, list[int], list[int]]]:
    """Per span: row, start, ids, those of them that are labels."""
    borders = rows.bounds.tolist()
    return [
        (row, start, rows.ids[begin:end].tolist(), rows.ids[begin:end][rows.is_label[begin:end]].tolist())
        for row, start, begin, end in zip(rows.row.tolist(), rows.start.tolist(), borders, borders[1:], strict=False)
    ]


def test_a_step_holds_the_spans_of_the_schedule_with_their_ids_and_labels(tmp_path: Path) -> None:
    rows = write(tmp_path)
    step = rows.step(0)
    assert spelt(step) == [
        (0, 0, [10, 11, 12, 2], [12, 2]),
        (1, 0, [30, 31, 32, 33], [31, 32, 33]),
        (2, 0, [34, 2], [2]),
        (2, 2, [20, 21, 2], [21, 2]),
    ]
    assert step.bounds.tolist() == [0, 4, 8, 10, 13]
    assert step.positions.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 0, 1, 2]
    assert step.columns.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert (step.row_number.tolist(), step.step_labels, step.most_rows) == ([0, 1, 2, 2], 8, 3)
    assert rows.sources == (("x", False), ("y", False), ("x", True))
    assert step.source.tolist() == [2, 0, 0, 1]
    assert step.of_tokens(step.document).tolist() == [0] * 4 + [2] * 6 + [1] * 3


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_hold_the_rows_of_the_step_each_once_and_know_its_labels(tmp_path: Path, world_size: int) -> None:
    rows = write(tmp_path)
    whole = rows.step(0)
    shares = [rows.step(0, rank, world_size) for rank in range(world_size)]
    assert [span for share in shares for span in spelt(share)] == spelt(whole)
    assert {share.step_labels for share in shares} == {8}
    assert sum(int(share.is_label.sum()) for share in shares) == 8
    assert {share.row_number.min(initial=0) for share in shares} == {0}
    assert sum(len(np.unique(share.row_number)) for share in shares) == 3


def test_a_step_is_the_same_whatever_was_read_before_and_however_much_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write(tmp_path)
    expected = [spelt(rows.step(number)) for number in (0, 1)]
    monkeypatch.setattr(training_rows, "_TOKENS_AT_ONCE", 1)
    again = replace(rows)
    assert [spelt(again.step(number)) for number in (1, 0, 1)] == [expected[1], expected[0], expected[1]]


def test_labels_that_the_schedule_did_not_count_and_steps_without_spans_are_refused(tmp_path: Path) -> None:
    rows = write(tmp_path, [*SPANS[:4], (1, 0, 0, 3, 1, 0, 1, 1)])
    assert rows.step(0).step_labels == 8
    with pytest.raises(InputError, match=r"step 1: 2 labels in the token store, 1 in the schedule.*Fix: delete"):
        rows.step(1)
    with pytest.raises(InputError, match=r"step 2 has no spans"):
        rows.step(2)


def test_a_schedule_with_a_step_without_labels_is_not_trained_on(tmp_path: Path) -> None:
    workspace, rows = Workspace(tmp_path), write(tmp_path / "made")
    meta = rows.schedule.meta.model_copy(update={"steps_without_labels": 2})
    places = {"schedule": (workspace.schedule("s"), meta), "store": (workspace.tokens("t"), rows.store.meta)}
    for name, (folder, named) in places.items():
        folder.mkdir(parents=True)
        write_json(folder / f"{name}.json", named.model_dump())
        write_receipt(folder, Receipt(made_by="test", digest=named.digest, rows=0, seconds=0))
    for file in ("ids.bin", "supervised.bin"):
        (rows.store.folder / file).rename(workspace.tokens("t") / file)
    manifest = Manifest.model_construct(name="m", version=1, schedule="s", token_store="t", tokenizer="k")
    with pytest.raises(InputError, match=r"m@v1: 2 of its 2 steps have no label.*Fix: set a larger rows_per_step"):
        open_training_rows(workspace, Mixture(tmp_path, manifest))
    other = Manifest.model_construct(name="m", version=1, schedule="s", token_store="t", tokenizer="another")
    with pytest.raises(InputError, match="its schedule or token store belongs to another mixture"):
        open_training_rows(workspace, Mixture(tmp_path, other))
