"""Duplicates: who names whom, how large the clusters are, how similar the pairs."""

from pathlib import Path

import polars as pl
import pytest

from engine.base.atomic import read_json, write_json
from engine.formats.parquet import read_parquet, write_parquet
from engine.report.duplicates import EXCERPT_CHARS, Duplicates, duplicates, duplicates_charts, excerpt
from engine.report.evidence import open_evidence


@pytest.fixture(scope="module")
def numbers(finished: Path) -> Duplicates:
    found = duplicates(open_evidence(finished))
    assert found is not None
    return found


def test_removed_documents_and_clusters_are_counted_once(numbers: Duplicates) -> None:
    assert (numbers.removed_exact, numbers.removed_near, numbers.removed, numbers.num_clusters) == (6, 23, 29, 11)
    assert numbers.sizes == (("2", 0), ("3", 10), ("4", 0), ("5-8", 0), ("9-16", 1))


def test_largest_cluster_shows_its_survivor(numbers: Duplicates) -> None:
    largest = numbers.largest[0]
    assert (largest.documents, largest.exact, largest.near, largest.source) == (10, 6, 3, "medquad")
    assert largest.mean_similarity == pytest.approx((0.87 + 0.88 + 0.89) / 3)
    assert largest.excerpt.startswith('<script>alert("1")</script>')
    assert len(numbers.largest) == 10


def test_histogram_holds_every_verified_pair_and_knows_the_threshold(numbers: Duplicates, finished: Path) -> None:
    (found,) = numbers.similarities
    pairs = read_parquet(next(finished.glob("annotations/near_dup/*/_corpus/*/pairs.parquet")))
    assert sum(found.pairs) == found.num_pairs == pairs.height
    assert found.threshold == 0.8
    assert (found.edges[0], found.edges[-1]) == (0.5, 1.0)
    above = sum(n for edge, n in zip(found.edges, found.pairs, strict=False) if edge >= 0.8)
    assert above == pairs.filter(pl.col("similarity") >= 0.8).height


def test_chain_over_two_stages_ends_at_the_last_survivor(workspace: Path) -> None:
    # medquad 7, until now a near-duplicate of medquad 0, takes over: 0 and all exact copies of it follow.
    evidence = open_evidence(workspace)
    names = {}
    for shard, frame in evidence.frames(["doc_id", "source"]):
        if shard.source == "medquad" and shard.name == "00000":
            names = dict(enumerate(frame.get_column("doc_id")))
    part = next((workspace / "annotations" / "near_dup").glob("*/medquad/key0.parquet"))
    kept = read_parquet(part)
    rows = kept.with_row_index("row").with_columns(
        pl.when(pl.col("row") == 0).then(pl.lit(names[7])).when(pl.col("row") != 7).then("near_dup__kept_id")
        .alias("near_dup__kept_id")
    )  # fmt: skip
    write_parquet(part, rows.drop("row"))
    found = duplicates(open_evidence(workspace))
    assert found is not None
    # 8 and 9 still name 0, which names 7: they end there too.
    assert (found.largest[0].documents, found.largest[0].exact, found.largest[0].near) == (10, 6, 3)
    assert found.num_clusters == 11


def test_recipe_without_duplicate_stages_has_no_section(workspace: Path) -> None:
    path = workspace / "recipes" / "demo.json"
    state = read_json(path)
    others = [a for a in state["annotations"] if a["stage"] not in ("exact_dup", "near_dup")]
    write_json(path, {**state, "annotations": others})
    assert duplicates(open_evidence(workspace)) is None


def test_stage_that_found_nothing_has_no_clusters(workspace: Path) -> None:
    for stage in ("exact_dup", "near_dup"):
        for part in (workspace / "annotations" / stage).glob("*/*/key*.parquet"):
            frame = read_parquet(part)
            write_parquet(part, frame.with_columns(pl.lit(None, dtype=pl.Binary).alias(f"{stage}__kept_id")))
    found = duplicates(open_evidence(workspace))
    assert found is not None
    assert (found.removed, found.num_clusters, found.sizes, found.largest) == (0, 0, (), ())
    assert len(duplicates_charts(found)) == 1


def test_excerpt_is_one_line_of_bounded_length() -> None:
    assert excerpt("  a\n\n b\tc ") == "a b c"
    assert len(excerpt("word " * 10_000)) <= EXCERPT_CHARS + len(" ...")
