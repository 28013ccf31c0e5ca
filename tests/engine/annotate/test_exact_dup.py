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
    done = world(docs, policies={"web": {"priority": 9}, "old": {"protected": True}}).run(exact_dup, Config())
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


WORDS = Config(compare="words")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Take two tablets.", "take  TWO\n\ttablets"),
        ("It's 5.", "it S (5)"),
        ("Stra\u00dfe", "STRASSE"),
        ("\u65e5\u672c\u8a9e", "\u65e5 \u672c\u3001\u8a9e"),
        # What the docstring warns of: code and numbers lose what tells them apart.
        ("for x in y:\n    a = a + x\n    b(a)\n", "for x in y:\n    a = a - x\nB(A)\n"),
        ("if x < 1:", "if x > 1:"),
        ("C++ is -5 by 1.5", "C is 5 by 1,5"),
    ],
)
def test_same_words_are_equal_only_where_words_are_compared(world: World, one: str, other: str) -> None:
    docs = {"web": {"a": one, "b": other}}
    assert world(docs).run(exact_dup, Config()).by_name(GROUP) == {"a": 1, "b": 1}
    assert world(docs).run(exact_dup, WORDS).by_name(GROUP) == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("its 5", "it's 5"),
        ("one two", "two one"),
        ("one two", "one two two"),
        ("a_b", "ab"),
        ("caf\u00e9", "cafe\u0301"),
        ("...", "!!!"),
        ("...", " ..."),
        ("...", "words"),
    ],
)
def test_other_words_or_other_signs_without_words_differ(world: World, one: str, other: str) -> None:
    done = world({"web": {"a": one, "b": other}}).run(exact_dup, WORDS)
    assert done.columns(KEPT, GROUP) == {"doc_id": ["a", "b"], KEPT: [None, None], GROUP: [1, 1]}


def test_equal_signs_without_words_are_equal_and_rows_without_text_are_not(world: World) -> None:
    docs = {"a": "...", "b": None, "c": "...", "d": " ", "e": " ", "f": "One.", "g": "", "h": "one"}
    done = world({"web": docs}).run(exact_dup, WORDS)
    assert done.by_name(KEPT) == {**dict.fromkeys("abdefg"), "c": "a", "h": "f"}
    assert done.by_name(GROUP) == {"a": 2, "c": 2, "f": 2, "h": 2, **dict.fromkeys("bdeg")}


def test_longer_text_stays_where_words_are_the_same(world: World) -> None:
    done = world({"web": {"a": "one two", "b": "One, two."}}).run(exact_dup, WORDS)
    assert done.by_name(KEPT) == {"a": "b", "b": None}


def test_parts_depend_on_what_is_compared_and_on_no_other_column(world: World) -> None:
    assert exact_dup.part_config(Config(score="q__score")) == exact_dup.part_config(Config()) == {}
    assert exact_dup.part_config(WORDS) == exact_dup.part_config(Config(compare="words", score="q__score")) != {}
    assert "text" in exact_dup.READS(WORDS)
    assert set(exact_dup.READS(WORDS)) >= set(exact_dup.PART_READS)
    done = world({"web": {"a": "x", "b": "..."}}).run(exact_dup, WORDS)
    part = pl.read_parquet(next((done.artifacts["exact_dup"] / "parts").rglob("*.parquet")))
    assert part.select(pl.col("words_digest").bin.size()).to_series().to_list() == [16, None]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.sampled_from(["x", "y", "X.", "", "w w", "..", "!"]), min_size=1, max_size=12),
    seed=st.integers(0, 99),
    rows=st.integers(1, 5),
    config=st.sampled_from([Config(), WORDS]),
)
def test_shuffled_and_resharded_documents_give_the_same_answer(
    world: World, texts: list[str], seed: int, rows: int, config: Config
) -> None:
    documents = {f"d{number:02}": text for number, text in enumerate(texts)}
    shuffled = list(documents.items())
    random.Random(seed).shuffle(shuffled)
    one = world({"web": documents}, shard_rows=100).run(exact_dup, config).columns(KEPT, GROUP)
    other = world({"web": dict(shuffled)}, shard_rows=rows).run(exact_dup, config).columns(KEPT, GROUP)
    assert one == other
    kept = [name for name, gone_for in zip(one["doc_id"], one[KEPT], strict=True) if gone_for is None]
    same = {"X.": "x"} if config.compare == "words" else {}
    texts_kept = [same.get(documents[name], documents[name]) for name in kept if documents[name]]
    assert sorted(texts_kept) == sorted({same.get(text, text) for text in texts if text})
