"""near_dup as a stage: who stays, and what is recorded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from engine.annotate import exact_dup, near_dup
from engine.annotate.near_dup import Config
from engine.base.errors import RecipeError

KEPT, SIMILARITY, CLUSTER = "near_dup__kept_id", "near_dup__similarity", "near_dup__cluster_documents"
SURE = 0.999999
"""A recall that makes MinHash find every pair of these tests."""

World = Callable[..., Any]


def text(start: int, end: int) -> str:
    """The words start..end-1; with 1-word shingles the similarity of two such runs is that of the runs."""
    return " ".join(f"w{number}" for number in range(start, end))


def run(made: Any, config: Config, jobs: int = 1) -> Any:
    return made.run(exact_dup, exact_dup.Config(score=config.score)).run(near_dup, config, jobs)


def config(**options: Any) -> Config:
    return Config(**{"ngram_words": 1, "recall": SURE, "threshold": 0.8, **options})


def test_longer_document_stays_and_the_removed_one_says_how_similar_it_is(world: World) -> None:
    docs = {"a": text(0, 8), "b": text(0, 10), "c": text(100, 120)}
    done = run(world({"web": docs}), config())
    assert done.columns(KEPT, SIMILARITY, CLUSTER) == {
        "doc_id": ["a", "b", "c"], KEPT: ["b", None, None], SIMILARITY: [0.8, None, None], CLUSTER: [2, 2, 1]
    }  # fmt: skip


def test_threshold_is_met_exactly_or_not_at_all(world: World) -> None:
    docs = {"a": text(0, 799), "b": text(0, 1000)}
    assert run(world({"web": docs}), config()).by_name(KEPT) == {"a": None, "b": None}
    assert run(world({"web": docs}), config(threshold=0.799)).by_name(KEPT) == {"a": "b", "b": None}


def test_stored_similarity_never_rounds_up_to_a_threshold(world: World, read_pairs: Callable[[Path], Any]) -> None:
    docs = {"a": text(0, 79_997), "b": text(0, 100_000)}
    done = run(world({"web": docs}), config(floor=0.5))
    assert done.by_name(KEPT) == {"a": None, "b": None}
    assert list(read_pairs(done.artifacts["near_dup"] / "pairs.parquet")) == [("a", "b", 0.7999)]


def test_exact_duplicates_and_documents_without_words_take_no_part(world: World) -> None:
    docs = {"a": text(0, 10), "b": text(0, 10), "c": "...", "d": None, "e": "!?", "f": text(0, 9)}
    done = run(world({"web": docs}), config())
    assert done.by_name(KEPT) == {"a": None, "b": None, "c": None, "d": None, "e": None, "f": "a"}
    assert done.by_name(CLUSTER) == {"a": 2, "b": None, "c": None, "d": None, "e": None, "f": 2}
    assert done.by_name("exact_dup__kept_id")["b"] == "a"


def test_nothing_is_removed_over_a_chain_of_likenesses(world: World) -> None:
    docs = {"a": text(10, 30), "b": text(12, 32), "c": text(14, 34)}
    done = run(world({"web": docs}), config())
    assert done.by_name(KEPT) == {"a": None, "b": "a", "c": None}
    assert done.by_name(SIMILARITY) == {"a": None, "b": 0.8181, "c": None}


def test_priority_then_score_decide_before_length(world: World) -> None:
    docs = {"web": {"a": text(0, 20), "b": text(0, 19)}, "books": {"c": text(0, 18)}}
    assert run(world(docs), config()).by_name(KEPT) == {"a": None, "b": "a", "c": "a"}
    high = world(docs, policies={"books": {"priority": 1}})
    assert run(high, config()).by_name(KEPT) == {"a": "c", "b": "c", "c": None}
    scored = world(docs).add_columns(
        "s", {"s__score": {"a": None, "b": 0.5, "c": float("nan")}}, {"s__score": pl.Float64}
    )
    assert run(scored, config(score="s__score")).by_name(KEPT) == {"a": "b", "b": None, "c": "b"}


def test_pinned_documents_stay_and_only_new_ones_go(world: World) -> None:
    docs = {"new": {"a": text(0, 20)}, "old": {"b": text(0, 19), "c": text(0, 18), "d": text(0, 18)}}
    done = run(world(docs, policies={"old": {"protected": True}}), config())
    assert done.by_name(KEPT) == {"a": "b", "b": None, "c": None, "d": None}


def test_pairs_go_down_to_the_floor_and_are_sorted(world: World, read_pairs: Callable[[Path], Any]) -> None:
    docs = {"d": text(0, 10), "c": text(0, 9), "b": text(4, 12), "a": text(50, 60)}
    done = run(world({"web": docs}), config(floor=0.5))
    folder = done.artifacts["near_dup"]
    assert list(read_pairs(folder / "pairs.parquet")) == [("b", "d", 0.5), ("c", "d", 0.9)]
    assert pl.read_parquet(folder / "pairs.parquet").columns == [
        "doc_id",
        "other_id",
        "intersection",
        "union",
        "similarity",
    ]
    assert done.by_name(KEPT) == {"a": None, "b": None, "c": "d", "d": None}
    assert list(folder.glob(".tmp-*")) == []


def test_details_state_the_expected_recall(world: World) -> None:
    from engine.base.atomic import read_json

    done = run(world({"web": {"a": text(0, 9), "b": text(0, 10)}}), Config(floor=0.5, ngram_words=1))
    details = read_json(done.artifacts["near_dup"] / "details.json")
    bands, rows = details["bands"], details["rows_per_band"]
    assert details["expected_recall_at_floor"] == int((1 - (1 - 0.5**rows) ** bands) * 10_000) / 10_000 >= 0.99
    assert details["expected_recall_at_threshold"] >= details["expected_recall_at_floor"]
    assert {name: details[name] for name in ("threshold", "floor", "verified_pairs", "removed_documents")} == {
        "threshold": 0.8, "floor": 0.5, "verified_pairs": 1, "removed_documents": 1
    }  # fmt: skip


def test_a_corpus_without_any_text_is_fine(world: World) -> None:
    done = run(world({"web": {"a": None, "b": "..."}}), config())
    assert done.columns(KEPT, SIMILARITY, CLUSTER) == {
        "doc_id": ["a", "b"], KEPT: [None, None], SIMILARITY: [None, None], CLUSTER: [None, None]
    }  # fmt: skip


def test_only_options_of_the_signature_make_the_parts_stale() -> None:
    part = near_dup.part_config
    assert part(Config(threshold=0.9, recall=0.9, floor=0.6, score="q__score", max_bucket_documents=5)) == part(
        Config()
    )
    assert part(Config(seed=2)) != part(Config(ngram_words=4)) != part(Config(num_permutations=128)) != part(Config())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.6, "floor": 0.7}, "floor 0.7 is above the threshold 0.6"),
        ({"threshold": 0.80001}, "at most 4 digits"),
        ({"threshold": 0}, "greater than 0"),
        ({"recall": 1.0}, "less than 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**options)


def test_recall_out_of_reach_says_what_can_be_reached() -> None:
    with pytest.raises(RecipeError, match=r"Needed: at most 0\.9375"):
        Config(threshold=0.5, recall=0.99, num_permutations=4)


def test_exact_duplicates_have_to_be_known_before() -> None:
    assert near_dup.READS(Config()) == ("doc_id", "source", "text", "text_digest", "num_chars", "exact_dup__kept_id")
    assert near_dup.READS(Config(score="q__score"))[-1] == "q__score"
