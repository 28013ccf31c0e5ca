"""The schedule places every use of every document, each token once, and counts its labels."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.base.atomic import write_json
from engine.base.hashing import digest_bytes, digest_file
from engine.formats.manifest import DOCUMENTS_SCHEMA
from engine.formats.parquet import write_parquet
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.schedule import SCHEMA
from engine.formats.token_store import DOCUMENTS_SCHEMA as STORE_SCHEMA
from engine.formats.token_store import StoreMeta, TokenStore, open_token_store
from engine.pack.schedule import ScheduleConfig, schedule_digest, write_schedule

Use = tuple[str, bool, int, int]
"""source, is_replay, tokens, repeats."""


def write_store(folder: Path, num_tokens: list[int], seed: int = 0) -> TokenStore:
    """A token store with random supervised bits; the first token of a document is never a label."""
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *num_tokens])
    bits = rng.random(offsets[-1]) < 0.7
    bits[offsets[:-1]] = False
    folder.mkdir(parents=True)
    np.arange(offsets[-1], dtype=np.uint16).tofile(folder / "ids.bin")
    np.packbits(bits, bitorder="little").tofile(folder / "supervised.bin")
    rows = {
        "doc_id": [digest_bytes(str(number).encode()) for number in range(len(num_tokens))],
        "source": ["s"] * len(num_tokens),
        "offset": offsets[:-1],
        "num_tokens": num_tokens,
        "supervised_tokens": [bits[a:b].sum() for a, b in pairwise(offsets)],
        "num_bytes": num_tokens,
        "text_digest": [bytes(16)] * len(num_tokens),
    }
    write_parquet(folder / "documents.parquet", pl.DataFrame(rows).cast(pl.Schema(STORE_SCHEMA)))
    meta = StoreMeta(
        digest="d" * 32,
        tokenizer="t" * 32,
        eos_id=2,
        dtype="uint16",
        num_documents=len(num_tokens),
        num_tokens=int(offsets[-1]),
    )
    write_json(folder / "store.json", meta.model_dump())
    write_receipt(folder, Receipt(made_by="test", digest=meta.digest, rows=len(num_tokens), seconds=0))
    return open_token_store(folder)


def mixture_documents(store: TokenStore, uses: list[Use], phases: list[int] | None = None) -> pl.DataFrame:
    """The documents of a mixture, in the order given, over a store whose rows stand in the opposite order.

    phases: of the documents, ascending; null: one phase.
    """
    rows = store.documents().with_row_index("store_row").reverse()
    return (
        rows.with_columns(
            pl.int_range(pl.len(), dtype=pl.UInt32).alias("document"),
            pl.Series("source", [use[0] for use in uses]),
            pl.Series("is_replay", [use[1] for use in uses]),
            pl.Series("phase", phases or [0] * len(uses)),
            pl.Series("repeats", [use[3] for use in uses], dtype=pl.UInt16),
        )
        .select(DOCUMENTS_SCHEMA.keys())
        .cast(pl.Schema(DOCUMENTS_SCHEMA))
    )


def made(folder: Path, uses: list[Use], seed: int = 0) -> tuple[TokenStore, pl.DataFrame]:
    store = write_store(folder, [use[2] for use in reversed(uses)], seed)
    return store, mixture_documents(store, uses)


def spans_of(folder: Path, documents: pl.DataFrame, store: TokenStore, row_tokens: int, rows: int) -> pl.DataFrame:
    """The spans of a schedule as they were written."""
    config = ScheduleConfig(row_tokens=row_tokens, rows_per_step=rows)
    return write_schedule(folder / "schedule", documents, store, config, "m" * 32).spans()


def running_deviations(spans: pl.DataFrame, documents: pl.DataFrame, phase: int) -> dict[tuple[str, bool], list[int]]:
    """Plain recomputation: how far each source of a phase is off its share at each step's end, times all its labels."""
    source = dict(enumerate(documents.select("source", "is_replay").rows()))
    of_phase = {number for number, one in enumerate(documents["phase"]) if one == phase}
    rows = [row for row in spans.to_dicts() if row["document"] in of_phase]
    totals: dict[tuple[str, bool], int] = {}
    for row in rows:
        key = source[row["document"]]
        totals[key] = totals.get(key, 0) + row["supervised_tokens"]
    whole, so_far, found = sum(totals.values()), dict.fromkeys(totals, 0), {key: [] for key in totals}
    for number, row in enumerate(rows):
        so_far[source[row["document"]]] += row["supervised_tokens"]
        if number + 1 == len(rows) or rows[number + 1]["step"] != row["step"]:
            for key, total in totals.items():
                found[key].append(abs(so_far[key] * whole - sum(so_far.values()) * total))
    return found


use = st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(1, 100), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(use, min_size=1, max_size=40), st.sampled_from([8, 16, 33]), st.integers(1, 5), st.integers(0, 99))
def test_every_token_of_every_use_is_placed_once_and_its_labels_are_counted(
    tmp_path_factory: pytest.TempPathFactory, uses: list[Use], row_tokens: int, rows_per_step: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("placed")
    store, documents = made(folder / "store", uses, seed)
    spans = spans_of(folder, documents, store, row_tokens, rows_per_step)
    offsets = store.documents()["offset"]
    placed: dict[tuple[int, int], list[int]] = {}
    slots = set()
    for span in spans.to_dicts():
        start, length = span["document_start"], span["length"]
        placed.setdefault((span["document"], span["repeat"]), []).extend(range(start, start + length))
        here = {(span["step"], span["row"], span["start"] + place) for place in range(length)}
        assert not slots & here
        slots |= here
        bits = store.supervised(offsets[documents["store_row"][span["document"]]] + start, length)
        assert span["supervised_tokens"] == bits[1:].sum()
        end, tokens = start + length, uses[span["document"]][2]
        # Cut only where it has to be; one token earlier where the last label of a run would lose what stands before it.
        if end < tokens and length < row_tokens:
            behind = store.supervised(offsets[documents["store_row"][span["document"]]] + end, min(3, tokens - end))
            assert (length, behind[1], behind[2:].any()) == (row_tokens - 1, True, False)
    expected = {
        (number, repeat): list(range(tokens))
        for number, (_, _, tokens, repeats) in enumerate(uses)
        for repeat in range(repeats)
    }
    assert {key: sorted(tokens) for key, tokens in placed.items()} == expected
    assert max(row for _, row, _ in slots) < rows_per_step
    assert max(start for _, _, start in slots) < row_tokens
    assert spans.equals(spans.sort("step", "row", "start"))
    assert spans.schema == pl.Schema(SCHEMA)


@settings(max_examples=30, deadline=None)
@given(st.lists(use, min_size=1, max_size=20), st.sampled_from([8, 16, 33]), st.integers(0, 99))
def test_no_piece_begins_with_the_last_label_of_a_run(
    tmp_path_factory: pytest.TempPathFactory, uses: list[Use], row_tokens: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    store, documents = made(folder / "store", uses, seed)
    offsets = store.documents()["offset"]
    for span in spans_of(folder, documents, store, row_tokens, 2).filter(pl.col("document_start") > 0).to_dicts():
        tokens = uses[span["document"]][2]
        bits = store.supervised(offsets[documents["store_row"][span["document"]]], tokens)
        is_label, goes_on = [*bits[span["document_start"] :], False, False][:2]
        assert not is_label or goes_on


def test_steps_are_full_but_for_the_last(tmp_path: Path) -> None:
    store, documents = made(tmp_path / "store", [("a", False, 20, 1)] * 10)
    spans = spans_of(tmp_path, documents, store, 8, 4)
    rows = spans.group_by("step").agg(pl.col("row").n_unique()).sort("step")["row"].to_list()
    assert rows[:-1] == [4] * (len(rows) - 1)
    assert 1 <= rows[-1] <= 4


def test_a_document_is_used_again_only_after_all_of_its_source_were_used(tmp_path: Path) -> None:
    uses = [("a", False, 8, 1 + number % 3) for number in range(30)]
    store, documents = made(tmp_path / "store", uses)
    spans = spans_of(tmp_path, documents, store, 8, 2)
    assert spans["repeat"].to_list() == [0] * 30 + [1] * 20 + [2] * 10
    assert spans["document"].to_list()[:30] == list(range(30))


def test_replay_and_domain_text_of_one_source_are_two(tmp_path: Path) -> None:
    uses = [("a", number % 4 == 0, 8, 1) for number in range(40)]
    store, documents = made(tmp_path / "store", uses)
    config = ScheduleConfig(row_tokens=8, rows_per_step=4)
    schedule = write_schedule(tmp_path / "schedule", documents, store, config, "m" * 32)
    spans = schedule.spans().join(documents.select("document", "is_replay"), on="document", maintain_order="left")
    assert spans.group_by("step").agg(pl.col("is_replay").sum())["is_replay"].max() <= 2
    receipt = read_receipt(tmp_path / "schedule")
    assert receipt is not None
    assert [(row["source"], row["is_replay"]) for row in receipt.details["sources"]] == [("a", False), ("a", True)]


def test_another_batch_size_is_another_schedule_of_the_same_tokens(tmp_path: Path) -> None:
    store, documents = made(tmp_path / "store", [("a", False, 50, 2), ("b", True, 9, 1)] * 10)
    totals = set()
    for row_tokens, rows_per_step in ((8, 1), (64, 4), (33, 3)):
        config = ScheduleConfig(row_tokens=row_tokens, rows_per_step=rows_per_step)
        schedule = write_schedule(tmp_path / f"{row_tokens}", documents, store, config, "m" * 32)
        totals.add(schedule.meta.num_tokens)
        assert schedule.meta.num_steps == schedule.spans()["step"].max() + 1  # type: ignore[operator]
        assert schedule.meta.supervised_tokens == schedule.spans()["supervised_tokens"].sum()
        assert schedule.meta.digest == schedule_digest("m" * 32, store.meta.digest, config)
    assert totals == {50 * 2 * 10 + 9 * 10}


def test_writing_twice_gives_the_same_bytes_and_the_receipt_names_them(tmp_path: Path) -> None:
    store, documents = made(tmp_path / "store", [("a", False, 70, 1), ("b", True, 12, 3)] * 20)
    config = ScheduleConfig(row_tokens=32, rows_per_step=2)
    for name in ("one", "two"):
        write_schedule(tmp_path / name, documents, store, config, "m" * 32)
        receipt = read_receipt(tmp_path / name)
        assert receipt is not None
        assert receipt.details["files"] == {
            file: digest_file(tmp_path / name / file) for file in ("schedule.parquet", "schedule.json")
        }
    for file in ("schedule.parquet", "schedule.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_digest_names_mixture_store_and_shape() -> None:
    config = ScheduleConfig(row_tokens=8, rows_per_step=2)
    digests = {
        schedule_digest("m", "t", config),
        schedule_digest("n", "t", config),
        schedule_digest("m", "u", config),
        schedule_digest("m", "t", ScheduleConfig(row_tokens=9, rows_per_step=2)),
        schedule_digest("m", "t", ScheduleConfig(row_tokens=8, rows_per_step=3)),
    }
    assert len(digests) == 5


@pytest.mark.parametrize("shape", [(7, 1), (8, 0), (8, 1 << 16), ((1 << 20) + 1, 1)])
def test_a_step_of_impossible_shape_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValidationError):
        ScheduleConfig(row_tokens=shape[0], rows_per_step=shape[1])


phased = st.tuples(use, st.integers(0, 2)).map(lambda pair: (pair[1], pair[0]))


@settings(max_examples=30, deadline=None)
@given(st.lists(phased, min_size=1, max_size=40), st.sampled_from([8, 16, 33]), st.integers(1, 5), st.integers(0, 99))
def test_phases_follow_one_another_and_the_receipt_says_how_far_each_source_was_off_in_them(
    tmp_path_factory: pytest.TempPathFactory,
    phased_uses: list[tuple[int, Use]],
    row_tokens: int,
    rows_per_step: int,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("phases")
    phases, uses = map(list, zip(*sorted(phased_uses, key=lambda pair: pair[0]), strict=True))
    store = write_store(folder / "store", [use[2] for use in reversed(uses)], seed)
    documents = mixture_documents(store, uses, phases)
    config = ScheduleConfig(row_tokens=row_tokens, rows_per_step=rows_per_step)
    schedule = write_schedule(folder / "schedule", documents, store, config, "m" * 32)
    spans = schedule.spans()
    placed = spans.with_columns(
        phase=documents["phase"].gather(spans["document"]),
        place=pl.col("step").cast(pl.Int64) * rows_per_step + pl.col("row"),
    )
    assert placed["phase"].is_sorted()
    assert placed.group_by("place").agg(pl.col("phase").n_unique())["phase"].max() == 1
    assert sorted(set(placed["place"])) == list(range(placed["place"].max() + 1))  # type: ignore[operator]
    receipt = read_receipt(folder / "schedule")
    assert receipt is not None
    for phase in receipt.details["phases"]:
        deviations = running_deviations(spans, documents, phase["phase"])
        rows = [row for row in receipt.details["sources"] if row["phase"] == phase["phase"]]
        labels = sum(row["supervised_tokens"] for row in rows)
        for row in rows:
            worst = max(deviations[row["source"], row["is_replay"]])
            assert row["largest_deviation"] == (-(-worst // labels) if labels else 0)
            assert not phase["is_share_bound_kept"] or row["largest_deviation"] <= row["bound"]
        first = placed.filter(pl.col("phase") == phase["phase"])["step"].min()
        assert schedule.meta.first_steps[str(phase["phase"])] == first == phase["first_step"]


def test_a_step_at_the_border_of_two_phases_is_full(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [8] * 12)
    documents = mixture_documents(store, [("a", False, 8, 1)] * 12, [0] * 6 + [1] * 6)
    spans = spans_of(tmp_path, documents, store, 8, 4)
    assert spans["step"].to_list() == [0] * 4 + [1] * 4 + [2] * 4
    assert spans["document"].to_list() == list(range(12))


def test_phases_may_have_other_sources_and_the_same_document_in_both(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [8, 8])
    once = mixture_documents(store, [("a", False, 8, 1), ("b", True, 8, 2)])
    second = once.filter(pl.col("source") == "b").with_columns(phase=pl.lit(1, pl.UInt8))
    documents = pl.concat([once, second]).with_columns(document=pl.int_range(3, dtype=pl.UInt32))
    write_schedule(tmp_path / "s", documents, store, ScheduleConfig(row_tokens=8, rows_per_step=2), "m" * 32)
    receipt = read_receipt(tmp_path / "s")
    assert receipt is not None
    found = [(row["phase"], row["source"], row["is_replay"]) for row in receipt.details["sources"]]
    assert found == [(0, "a", False), (0, "b", True), (1, "b", True)]
    assert [row["rows"] for row in receipt.details["phases"]] == [3, 2]


def test_of_an_order_by_length_the_receipt_says_what_it_costs(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [n for n in range(1, 65) for _ in range(5)])
    uses = [("a", False, n, 1) for n in range(64, 0, -1) for _ in range(5)]
    documents = mixture_documents(store, uses)
    write_schedule(tmp_path / "s", documents, store, ScheduleConfig(row_tokens=64, rows_per_step=4), "m" * 32)
    receipt = read_receipt(tmp_path / "s")
    assert receipt is not None
    # Best fit over the whole corpus: 5 rows of 64, 5 * 31 of n and 64 - n, 3 of the halves.
    assert receipt.details["best_fit_rows"] == 163
    assert 163 < receipt.details["rows"] < 320


def test_steps_without_a_label_and_documents_longer_than_a_row_are_counted(tmp_path: Path) -> None:
    """A prompt of three rows and its answer, twice; a short document fills the gap behind one of them."""
    store, documents = made(tmp_path / "store", [("chats", False, 28, 2), ("plain", False, 3, 1)])
    offset = store.documents()["offset"].gather(documents["store_row"]).to_list()
    bits = np.zeros(store.meta.num_tokens, bool)
    bits[[offset[0] + 27, offset[1] + 1, offset[1] + 2]] = True
    np.packbits(bits, bitorder="little").tofile(store.folder / "supervised.bin")
    documents = documents.with_columns(supervised_tokens=pl.Series([1, 2], dtype=pl.Int32))
    schedule = write_schedule(tmp_path / "s", documents, store, ScheduleConfig(row_tokens=8, rows_per_step=1), "m" * 32)
    has_label = schedule.spans().group_by("step").agg(pl.col("supervised_tokens").sum() > 0)["supervised_tokens"]
    assert schedule.meta.steps_without_labels == has_label.not_().sum() == 6
    receipt = read_receipt(schedule.folder)
    assert receipt is not None
    assert receipt.details["steps_without_labels"] == 6
    assert [row["cut_documents"] for row in receipt.details["sources"]] == [1, 0]
    one_step = ScheduleConfig(row_tokens=8, rows_per_step=9)
    assert write_schedule(tmp_path / "one", documents, store, one_step, "m" * 32).meta.steps_without_labels == 0
