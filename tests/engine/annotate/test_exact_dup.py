"""exact_dup: who stays for each group of equal texts."""

import random
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.annotate import exact_dup
from engine.annotate.exact_dup import Config
from engine.base.errors import RecipeError

KEPT, GROUP = "exact_dup__kept_id", "exact_dup__group_documents"
World = Callable[..., Any]


def test_smallest_id_stays_where_nothing_else_decides(world: World) -> None:
    docs = {"web": {"c": "same", "a": "same", "b": "other"}, "books": {"d": "same"}}
    done = world(docs).run(exact_dup, Config())
    assert done.columns(KEPT, GROUP) == {
        "doc_id": ["a", "b", "c", "d"],
        KEPT: [None, None, "a", "a"],
        GROUP: [3, 1, 3, 3],
    }


def test_rows_without_text_are_no_duplicates(world: World) -> None:
    done = world({"web": {"a": None, "b": None, "c": "", "d": "", "e": " \n", "f": " \n", "g": "x"}}).run(
        exact_dup, Config()
    )
    assert done.by_name(KEPT) == dict.fromkeys("abcdefg")
    assert done.by_name(GROUP) == {**dict.fromkeys("abcdef"), "g": 1}


def test_higher_source_priority_stays(world: World) -> None:
    docs = {"web": {"a": "same"}, "books": {"b": "same"}}
    done = world(docs, policies={"books": {"priority": 2}, "web": {"priority": 1}}).run(exact_dup, Config())
    assert done.by_name(KEPT) == {"a": "b", "b": None}


def test_pinned_documents_stay_whatever_the_priority_of_others(world: World) -> None:
    docs = {"web": {"a": "same"}, "old": {"b": "same", "c": "same"}}
    done = world(docs, policies={"web": {"priority": 9}, "old": {"pinned": True}}).run(exact_dup, Config())
    assert done.by_name(KEPT) == {"a": "b", "b": None, "c": None}
    assert done.by_name(GROUP) == {"a": 3, "b": 3, "c": 3}


def test_higher_score_stays_and_null_and_nan_come_last(world: World) -> None:
    docs = {"web": dict.fromkeys("abcd", "same")}
    scores = {"s__score": {"a": None, "b": float("nan"), "c": 0.25, "d": 0.5}}
    done = world(docs).add_columns("s", scores, {"s__score": pl.Float64}).run(exact_dup, Config(score="s__score"))
    assert done.by_name(KEPT) == {"a": "d", "b": "d", "c": "d", "d": None}


def test_null_and_nan_scores_are_equally_bad(world: World) -> None:
    docs = {"web": dict.fromkeys("abcd", "same")}
    scores = {"s__score": {"a": float("nan"), "b": None, "c": float("nan"), "d": None}}
    done = world(docs).add_columns("s", scores, {"s__score": pl.Float64}).run(exact_dup, Config(score="s__score"))
    assert done.by_name(KEPT) == {"a": None, "b": "a", "c": "a", "d": "a"}


def test_score_that_cannot_be_ordered_is_an_error(world: World) -> None:
    start = world({"web": {"a": "x"}}).add_columns("s", {"s__score": {"a": [1]}}, {"s__score": pl.List(pl.Int64)})
    with pytest.raises(RecipeError, match="column s__score is List"):
        start.run(exact_dup, Config(score="s__score"))


def test_score_is_among_the_columns_read() -> None:
    assert exact_dup.READS(Config()) == ("doc_id", "source", "text_digest", "num_chars")
    assert exact_dup.READS(Config(score="q__score"))[-1] == "q__score"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.sampled_from(["x", "y", "z", "", "w w"]), min_size=1, max_size=12),
    seed=st.integers(0, 99),
    rows=st.integers(1, 5),
)
def test_shuffled_and_resharded_documents_give_the_same_answer(
    world: World, texts: list[str], seed: int, rows: int
) -> None:
    documents = {f"d{number:02}": text for number, text in enumerate(texts)}
    shuffled = list(documents.items())
    random.Random(seed).shuffle(shuffled)
    one = world({"web": documents}, shard_rows=100).run(exact_dup, Config()).columns(KEPT, GROUP)
    other = world({"web": dict(shuffled)}, shard_rows=rows).run(exact_dup, Config()).columns(KEPT, GROUP)
    assert one == other
    kept = {name for name, gone_for in zip(one["doc_id"], one[KEPT], strict=True) if gone_for is None}
    assert len({documents[name] for name in kept} - {""}) == len({name for name in kept if documents[name]})
