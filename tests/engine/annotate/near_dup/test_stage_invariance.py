"""near_dup as a stage agrees with comparing everything, and nothing but texts and options matters."""

import random
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.annotate import exact_dup, near_dup
from engine.annotate.near_dup import Config

from .corpora import shingles_of

KEPT, SIMILARITY, CLUSTER = "near_dup__kept_id", "near_dup__similarity", "near_dup__cluster_documents"
SURE = 0.999999
"""A recall that makes MinHash find every pair of these tests."""

World = Callable[..., Any]


def run(made: Any, config: Config, jobs: int = 1, memory_bytes: int = 1 << 30) -> Any:
    return made.run(exact_dup, exact_dup.Config(score=config.score)).run(near_dup, config, jobs, memory_bytes)


def config(**options: Any) -> Config:
    return Config(**{"ngram_words": 1, "recall": SURE, "threshold": 0.8, **options})


def naive(docs: Mapping[str, str], threshold: float, ngram_words: int) -> dict[str, str | None]:
    """Greedy in the order of length and name, by sets of tuples of words."""

    sets = {name: shingles_of(text.split(), ngram_words) for name, text in docs.items()}
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


def test_bytes_are_the_same_for_any_shards_jobs_and_memory(world: World) -> None:
    docs = many_documents()
    one = run(world({"web": docs}, shard_rows=100), config(ngram_words=2, floor=0.3))
    shuffled = dict(random.Random(1).sample(sorted(docs.items()), len(docs)))
    other = run(world({"web": shuffled}, shard_rows=7), config(ngram_words=2, floor=0.3), jobs=4, memory_bytes=0)
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
