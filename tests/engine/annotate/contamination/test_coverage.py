"""coverage: what could be found, what of planted copies is found, what is flagged falsely."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.annotate.contamination.coverage import SCHEMA, coverage, unmatchable
from engine.annotate.contamination.index import Index, make_index
from tests.engine.annotate.contamination.makers import frame_of, item, words

HOSTS = ("\n".join(f"host line {number} of the one" for number in range(30)), "a second host, short")
NO_FLAGS = pl.DataFrame(schema={"benchmark": pl.String, "documents": pl.Int64})


def sheet(
    index: Index,
    hosts: Sequence[str] = HOSTS,
    counts: Sequence[int] | None = None,
    num_documents: int = 100,
    flagged: pl.DataFrame = NO_FLAGS,
    **options: Any,
) -> list[dict[str, Any]]:
    known = np.zeros(index.num_ngrams, np.int64) if counts is None else np.array(counts)
    return coverage(index, hosts, known, num_documents, flagged, min_passage=0.5, **options).to_dicts()


def one(*items: dict[str, Any], **options: Any) -> dict[str, Any]:
    (row,) = sheet(make_index(frame_of(*items)), **options)
    return row


ITEMS = [
    item(f"{words(20 * n, 20 * n + 15)} and so on", [f"answer number {n}"], [f"red {n}", f"blue {n}"]) for n in range(6)
]


def test_the_sheet_has_the_columns_of_its_schema() -> None:
    index = make_index(frame_of(*ITEMS))
    made = coverage(index, HOSTS, np.zeros(index.num_ngrams, np.int64), 9, NO_FLAGS, min_passage=0.5)
    assert dict(made.schema) == SCHEMA


def test_items_that_cannot_be_found_are_counted_and_listed() -> None:
    index = make_index(frame_of(*ITEMS, item("why"), item("1 2 3 4 5 6 7 8 9")))
    (row,) = sheet(index)
    assert (row["items"], row["matchable_items"]) == (8, 6)
    assert unmatchable(index).select("benchmark", "item").rows() == [("set", "6"), ("set", "7")]
    assert unmatchable(index)["why"].null_count() == 0


def test_planted_copies_of_plain_items_are_all_found() -> None:
    row = one(*ITEMS)
    names = [name for name in row if name.endswith("_recall")]
    assert len(names) >= 5
    assert [row[name] for name in names] == [1.0] * len(names)


def test_every_item_is_planted_in_every_variant() -> None:
    row = one(*ITEMS)
    variants = len([name for name in row if name.endswith("_recall")]) - 1
    assert row["planted_copies"] == 6 * variants
    assert one(*ITEMS, planted_items=4)["planted_copies"] == 4 * variants


def test_no_hosts_are_no_obstacle() -> None:
    assert one(*ITEMS, hosts=())["planted_recall"] == 1.0
    assert one(*ITEMS, hosts=("",))["planted_recall"] == 1.0


def test_a_corpus_that_knows_a_run_by_heart_is_seen_in_the_recall() -> None:
    # No answer and no choices: the common run proves nothing, and the sheet says so.
    index = make_index(frame_of(item(words(0, 8)), item(words(20, 40))))
    counts = [0] * index.num_ngrams
    counts[0] = 50
    assert index.lengths[0] == 8
    (row,) = sheet(index, counts=[50] * index.num_ngrams)
    assert row["planted_recall"] == pytest.approx(0.5, abs=0.01)


def test_a_benchmark_with_nothing_to_plant_has_no_recall() -> None:
    row = one(item("why"), item("1 2 3"))
    assert (row["planted_copies"], row["planted_recall"], row["verbatim_recall"]) == (0, None, None)
    assert (row["matchable_items"], row["control_documents"]) == (0, 0)


def test_flagged_documents_are_those_given_and_none_else() -> None:
    frame = pl.concat([frame_of(*ITEMS), frame_of(item(words(200, 230)), benchmark="other")])
    rows = sheet(make_index(frame), flagged=pl.DataFrame({"benchmark": ["other"], "documents": [7]}))
    assert [(row["benchmark"], row["flagged_documents"]) for row in rows] == [("other", 7), ("set", 0)]
    assert {row["searched_documents"] for row in rows} == {100}


def test_items_dealt_anew_are_not_found() -> None:
    many = [item(words(100 * n, 100 * n + 40)) for n in range(12)]
    row = one(*many)
    assert row["control_documents"] == 12
    assert row["control_flag_rate"] == 0.0


@pytest.mark.parametrize("num_words", [8, 9, 10])
def test_the_control_holds_no_question_whole(num_words: int) -> None:
    """A piece that holds all of a short question is that question: flagging it is right, so it is no control."""
    row = one(*(item(words(100 * n, 100 * n + num_words), [f"answer {n} is here"]) for n in range(12)))
    assert row["control_flag_rate"] == 0.0


def test_the_same_seed_gives_the_same_sheet() -> None:
    index = make_index(frame_of(*ITEMS, *(item(words(7 * n, 7 * n + 9)) for n in range(80))))
    assert sheet(index, planted_items=10, seed=3) == sheet(index, planted_items=10, seed=3)


def test_a_sentence_with_a_blank_and_a_passage_are_found_when_planted() -> None:
    blank = item(["the _ did not fit since the cup was big", "the cup did not fit since the cup was big"], ["cup"])
    assert one(blank, item(passage=words(0, 30)), item(words(40, 50), passage=words(60, 80)))["planted_recall"] == 1.0
