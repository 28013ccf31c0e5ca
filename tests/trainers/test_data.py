from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch

from engine.base.errors import InputError
from engine.formats.parquet import read_parquet, write_parquet
from engine.formats.training_rows import TrainingRows
from trainers.data import MicroBatch, micro_batches


def naive_rows(rows: TrainingRows, step: int) -> dict[int, list[tuple[int, int, bool, str]]]:
    """Row -> (id, position in the span, is label, source) of each token, one token after the other."""
    documents, stored = rows.mixture.documents(), rows.store.documents()
    found: dict[int, list[tuple[int, int, bool, str]]] = {}
    for span in rows.schedule.spans().filter(pl.col("step") == step).iter_rows(named=True):
        document = documents.row(span["document"], named=True)
        offset = stored.row(document["store_row"], named=True)["offset"] + span["document_start"]
        source = document["source"] + (" replay" if document["is_replay"] else "")
        row = found.setdefault(span["row"], [])
        assert len(row) == span["start"]
        for i in range(span["length"]):
            is_label = i > 0 and bool(rows.store.supervised(offset + i, 1)[0])
            row.append((int(rows.store.ids[offset + i]), i, is_label, source))
    return found


def tokens_of(batch: MicroBatch, rows: TrainingRows) -> list[list[tuple[int, int, bool, str]]]:
    columns = zip(batch.predictors.tolist(), batch.labels.tolist(), batch.label_sources.tolist(), strict=True)
    labels = {predictor + 1: (label, source) for predictor, label, source in columns}
    names = [source + (" replay" if is_replay else "") for source, is_replay in rows.sources]
    found = []
    num_columns = batch.ids.shape[1]
    for r in range(batch.ids.shape[0]):
        line = []
        for c in range(num_columns):
            flat = r * num_columns + c
            token = int(batch.ids[r, c])
            assert flat not in labels or labels[flat][0] == token
            source = names[labels[flat][1]] if flat in labels else ""
            line.append((token, int(batch.positions[r, c]), flat in labels, source))
        found.append(line)
    return found


def batches(rows: TrainingRows, step: int, rows_at_once: int | None) -> Iterator[MicroBatch]:
    return micro_batches(rows.step(step), rows.store.meta.eos_id, rows_at_once)


@pytest.mark.parametrize("rows_at_once", [None, 1, 3, 99])
def test_batches_are_the_schedule_and_nothing_else(rows: TrainingRows, rows_at_once: int | None) -> None:
    widths = set()
    for step in range(rows.num_steps):
        expected = list(naive_rows(rows, step).values())
        found = [line for batch in batches(rows, step, rows_at_once) for line in tokens_of(batch, rows)]
        assert len(found) == len(expected)
        for line, row in zip(found, expected, strict=True):
            assert [token[:3] for token in line[: len(row)]] == [token[:3] for token in row]
            assert all(token[3] in ("", wanted[3]) for token, wanted in zip(line, row, strict=False))
            padding = line[len(row) :]
            assert [token[1:3] for token in padding] == [(i, False) for i in range(len(padding))]
            widths.add(len(padding))
    assert rows_at_once == 1 or len(widths) > 1, "no row with padding was seen"


def test_positions_start_at_zero_at_each_span(rows: TrainingRows) -> None:
    gathered = rows.step(1)
    assert gathered.columns[gathered.positions == 0].tolist() == gathered.start.tolist()


def test_labels_of_a_step_are_those_the_schedule_counted(rows: TrainingRows) -> None:
    planned = rows.schedule.spans().group_by("step").agg(pl.col("supervised_tokens").sum()).sort("step")
    counted = [rows.step(step).step_labels for step in range(rows.num_steps)]
    assert counted == planned.get_column("supervised_tokens").to_list()
    assert sum(counted) == rows.schedule.meta.supervised_tokens


def test_same_source_as_domain_and_as_replay_is_two_sources(rows: TrainingRows) -> None:
    assert rows.sources == (("code", False), ("docs", True))


def test_other_supervised_bits_than_the_schedule_counted_are_refused(rows: TrainingRows) -> None:
    path = rows.store.folder / "supervised.bin"
    bits = np.fromfile(path, dtype=np.uint8)
    bits[10] ^= 0b00010000
    bits.tofile(path)
    with pytest.raises(InputError, match=r"labels in the token store, .* in the schedule. Needed: the same number"):
        all(rows.step(step) for step in range(rows.num_steps))


def test_step_without_spans_is_refused(rows: TrainingRows) -> None:
    path = rows.schedule.folder / "schedule.parquet"
    write_parquet(path, read_parquet(path).filter(pl.col("step") != 2))
    with pytest.raises(InputError, match="step 2 has no spans"):
        rows.step(2)


def test_rows_are_read_from_the_map_of_the_file_not_from_memory(rows: TrainingRows) -> None:
    assert isinstance(rows.store.ids, np.memmap)


def test_order_of_the_documents_file_does_not_matter(rows: TrainingRows) -> None:
    before = rows.step(3)
    path = rows.mixture.folder / "documents.parquet"
    write_parquet(path, read_parquet(path).reverse())
    after = replace(rows).step(3)
    assert np.array_equal(before.ids, after.ids)
    assert np.array_equal(before.is_label, after.is_label)
    assert np.array_equal(before.source, after.source)


@pytest.mark.parametrize("world_size", [2, 3, 99])
def test_ranks_get_equally_many_micro_batches_and_each_label_once(rows: TrainingRows, world_size: int) -> None:
    whole = rows.step(1)
    parts = [rows.step(1, rank, world_size) for rank in range(world_size)]
    found = [list(micro_batches(part, 0, 1)) for part in parts]
    assert {len(of_rank) for of_rank in found} == {part.most_rows for part in parts} == {-(-4 // world_size)}
    labels = [label for of_rank in found for batch in of_rank for label in batch.labels.tolist()]
    assert labels == whole.ids[whole.is_label].tolist()


def test_flat_rows_are_the_tokens_of_the_step_and_nothing_else(rows: TrainingRows) -> None:
    whole = rows.step(1)
    (batch,) = micro_batches(whole, 0, is_flat=True)
    assert batch.ids.tolist() == [whole.ids.tolist()]
    assert batch.edges.tolist() == whole.bounds.tolist()
    assert torch.equal(batch.ids.flatten()[batch.predictors + 1], batch.labels)
    assert batch.labels.tolist() == whole.ids[whole.is_label].tolist()


def test_edges_are_the_documents_of_the_flattened_rows(rows: TrainingRows) -> None:
    for batch in (batch for step in range(rows.num_steps) for batch in micro_batches(rows.step(step), 0, 2)):
        flat = batch.positions.flatten().numpy()
        assert batch.edges[-1] == len(flat)
        starts = [(int(start), int(stop)) for start, stop in pairwise(batch.edges)]
        assert all(np.array_equal(flat[start:stop], np.arange(stop - start)) for start, stop in starts)
