"""near_dup as a stage: who stays, what is recorded, and that nothing but texts and options matters."""

import random
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.annotate import exact_dup, near_dup
from engine.annotate.near_dup import Config, pairs
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
    done = run(world(docs, policies={"old": {"pinned": True}}), config())
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


def test_signatures_come_back_as_they_were_stored() -> None:
    import numpy as np

    signed = np.arange(12, dtype=np.uint32).reshape(3, 4)
    signed[1] = 0xFFFFFFFF
    stored = pairs.store_signatures(signed)
    assert stored.is_null().to_list() == [False, True, False]
    assert (pairs.load_signatures(stored, 4) == signed).all()


def naive(docs: Mapping[str, str], threshold: float, ngram_words: int) -> dict[str, str | None]:
    """Greedy in the order of length and name, by sets of tuples of words."""

    def shingles(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return (
            {tuple(words[start : start + ngram_words]) for start in range(max(1, len(words) - ngram_words + 1))}
            if words
            else set()
        )

    sets = {name: shingles(text) for name, text in docs.items()}
    similar = {
        frozenset(pair): len(sets[pair[0]] & sets[pair[1]]) / len(sets[pair[0]] | sets[pair[1]])
        for pair in combinations(docs, 2)
        if sets[pair[0]] | sets[pair[1]]
    }
    order = sorted((name for name in docs if sets[name]), key=lambda name: (-len(docs[name]), name))
    kept: list[str] = []
    removed: dict[str, str] = {}
    seen: dict[str, str] = {}
    for name in order:
        if docs[name] in seen:
            continue
        seen[docs[name]] = name
        near = [k for k in kept if similar[frozenset((k, name))] >= threshold]
        if near:
            removed[name] = ""
        else:
            kept.append(name)
    for name in removed:
        # Of all kept ones, also those of worse rank, the most similar.
        removed[name] = max(
            (k for k in kept if similar[frozenset((k, name))] >= threshold),
            key=lambda k: (similar[frozenset((k, name))], -order.index(k)),
        )
    return {name: removed.get(name) for name in sorted(docs)}


WORDS = st.lists(st.sampled_from("abcdef"), max_size=12).map(" ".join)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(WORDS, min_size=1, max_size=10),
    tenths=st.integers(3, 10),
    ngram_words=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_agrees_with_comparing_everything_for_any_order_and_shards(
    world: World, texts: list[str], tenths: int, ngram_words: int, seed: int
) -> None:
    docs = {f"d{number}": text for number, text in enumerate(texts)}
    shuffled = random.Random(seed).sample(sorted(docs.items()), len(docs))
    options = config(threshold=tenths / 10, ngram_words=ngram_words)
    done = run(world({"web": dict(shuffled)}, shard_rows=1 + seed % 4), options, jobs=1 + seed % 3)
    assert done.by_name(KEPT) == naive(docs, tenths / 10, ngram_words)


def many_documents() -> dict[str, str]:
    draw = random.Random(5)
    documents = {}
    for group in range(12):
        words = [f"g{group}w{number}" for number in range(60)]
        for copy in range(5):
            edited = [word if draw.random() > 0.015 * copy else f"x{draw.randrange(99)}" for word in words]
            documents[f"d{group:02}{copy}"] = " ".join(edited)
    return documents


def test_bytes_are_the_same_for_any_shards_jobs_and_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = many_documents()
    one = run(world({"web": docs}, shard_rows=100), config(ngram_words=2, floor=0.3))
    monkeypatch.setattr(pairs, "BAND_BYTES", 8 * 60 * 7)
    shuffled = dict(random.Random(1).sample(sorted(docs.items()), len(docs)))
    other = run(world({"web": shuffled}, shard_rows=7), config(ngram_words=2, floor=0.3), jobs=4)
    assert one.columns(KEPT, SIMILARITY, CLUSTER) == other.columns(KEPT, SIMILARITY, CLUSTER)
    for name in ("pairs.parquet", "details.json"):
        assert (one.artifacts["near_dup"] / name).read_bytes() == (other.artifacts["near_dup"] / name).read_bytes()
    assert sum(kept is not None for kept in one.by_name(KEPT).values()) > 10


def test_running_again_on_what_stayed_removes_nothing(world: World) -> None:
    docs = many_documents()
    kept = [
        name
        for name, gone_for in run(world({"web": docs}), config(ngram_words=2)).by_name(KEPT).items()
        if gone_for is None
    ]
    again = run(world({"web": {name: docs[name] for name in kept}}), config(ngram_words=2))
    assert set(again.by_name(KEPT).values()) == {None}


def test_survivors_of_exact_duplicates_follow_to_the_end(world: World) -> None:
    from engine.select.decide import final_survivors

    docs = {"a": text(0, 9), "b": text(0, 9), "c": text(0, 10)}
    done = run(world({"web": docs}), config())
    frame = done.corpus().all_columns(["doc_id", "exact_dup__kept_id", KEPT]).sort("doc_id")
    assert [bytes(kept).rstrip(b"\0") if kept else None for kept in final_survivors(frame)] == [b"c", b"c", None]


def test_exact_duplicates_have_to_be_known_before() -> None:
    assert near_dup.READS(Config()) == ("doc_id", "source", "text", "num_chars", "exact_dup__kept_id")
    assert near_dup.READS(Config(score="q__score"))[-1] == "q__score"
