"""A sample shows every source and reason evenly, and the same documents for any shard layout."""

import json
import runpy
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import InputError, RecipeError
from engine.formats.annotation import part_path
from engine.formats.documents import Shard, SourceDocuments, write_source
from engine.formats.parquet import write_parquet
from engine.formats.selection import SCHEMA
from engine.formats.state import AnnotationState, RecipeState, write_state
from engine.formats.workspace import Workspace
from engine.run.sample.show import show_sample
from engine.run.sample.strata import even_shares, spread
from engine.verbs import label, sample

SMALL = runpy.run_path(str(Path(__file__).parents[1] / "small_workspace.py"))
small_workspace = SMALL["small_workspace"]


def many(folder: Path, shard_rows: int) -> Path:
    """Two sources of 60 documents; every third kept, the others dropped for one of two reasons.

    The stage `edu` is a quality with the number of the document as score, null for 50 and more, and its text in words.
    """
    workspace = Workspace(folder)
    for source in ("a", "b"):
        names = [f"{source}{number:03}" for number in range(60)]
        decisions = [("kept", None), ("dropped", "short"), ("dropped", "foreign")]
        here = workspace.root / "documents" / source / "1"
        shards = []
        for number, start in enumerate(range(0, 60, shard_rows)):
            part = names[start : start + shard_rows]
            path = here / f"{number:05}.parquet"
            write_parquet(path, pl.DataFrame({"text": [f"text of {name}" for name in part]}))
            texts = {name: f"text of {name}" for name in part}
            shard: Shard = SMALL["_shard"](source, here, number, texts, path, "text", 0)
            shards.append(shard)
            rows = [decisions[int(name[1:]) % 3] for name in part]
            frame = pl.DataFrame([(*row, None) for row in rows], schema=SCHEMA, orient="row")
            write_parquet(part_path(workspace.root / "selections/1", shard), frame)
            scores = [int(name[1:]) / 100 if int(name[1:]) < 50 else None for name in part]
            columns = {"edu__score": scores, "edu__words": [["text", "of", name] for name in part]}
            write_parquet(part_path(workspace.root / "annotations/edu/1", shard), pl.DataFrame(columns))
        write_source(SourceDocuments(source, "1", here, tuple(shards), {}))
    sources = {source: f"documents/{source}/1" for source in ("b", "a")}
    columns = ["edu__score", "edu__words"]
    edu = AnnotationState(prefix="edu", stage="quality", digest="1" * 32, folder="annotations/edu/1", columns=columns)
    state = RecipeState(recipe="r", finished="2026-01-01", sources=sources, selection="selections/1", annotations=[edu])
    write_state(workspace, state)
    return workspace.root


def counted(result: dict[str, Any]) -> Counter[tuple[str, str | None]]:
    return Counter((one["source"], one["reason"]) for one in result["documents"])


def test_sources_decisions_and_reasons_are_shown_evenly(tmp_path: Path) -> None:
    result = sample(many(tmp_path, 60), documents=24)
    assert counted(result) == {
        ("a", None): 6, ("a", "short"): 3, ("a", "foreign"): 3,
        ("b", None): 6, ("b", "short"): 3, ("b", "foreign"): 3,
    }  # fmt: skip
    assert [(one["source"], one["decision"]) for one in result["documents"]] == sorted(
        ((one["source"], one["decision"]) for one in result["documents"]),
        key=lambda key: ("ba".index(key[0]), key[1] != "kept"),
    )


def test_small_sample_still_shows_kept_beside_dropped(tmp_path: Path) -> None:
    assert counted(sample(many(tmp_path, 60), documents=2)) == {("a", None): 1, ("b", "foreign"): 1}


def test_shard_layout_does_not_change_the_sample(tmp_path: Path) -> None:
    whole, cut = (sample(many(tmp_path / str(rows), rows), documents=17) for rows in (60, 7))
    assert whole == cut


def test_documents_are_spread_over_the_score_one_of_each_band_and_one_without(tmp_path: Path) -> None:
    """Kept documents of a source: 0, 3, ..., 57; those below 50 have a score, 17 of them: 0.48, 0.45, ..., 0."""
    result = sample(many(tmp_path, 7), documents=5, source="a", reason="short")
    assert result["by"] == "edu__score"
    # Dropped as short: 1, 4, ..., 49 with a score, 52, 55, 58 without. Four bands of 17 are 5, 4, 4, 4 documents long.
    scored = [one["score"] for one in result["documents"]]
    assert scored[4:] == [None]
    bands = [(0.49, 0.37), (0.34, 0.25), (0.22, 0.13), (0.10, 0.01)]
    assert all(high >= score >= low for score, (high, low) in zip(scored[:4], bands, strict=True))


@pytest.mark.parametrize("by", ["edu__score", "num_chars", "num_bytes"])
def test_shard_layout_does_not_change_the_bands(tmp_path: Path, by: str) -> None:
    whole, cut = (sample(many(tmp_path / str(rows), rows), documents=23, by=by) for rows in (60, 13))
    assert whole == cut
    assert whole["by"] == by


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 9), st.just(0.5)), min_size=1, max_size=30),
    st.integers(1, 30),
    st.data(),
)
def test_every_band_of_equal_count_gives_one_document(
    scores: list[float | None], share: int, data: st.DataObject
) -> None:
    share = min(share, len(scores))
    keys = data.draw(st.permutations(range(len(scores))))
    rows = sorted(zip(keys, scores, strict=True))
    columns = {"key": [key for key, _ in rows], "score": [score for _, score in rows], "doc_id": [b"x"] * len(rows)}
    group = pl.DataFrame(columns, schema={"key": pl.UInt64, "score": pl.Float64, "doc_id": pl.Binary})
    taken = spread(group, share).rows()
    assert len(taken) == len({key for key, *_ in taken}) == share
    ranked = sorted(((-score, key) for key, score in rows if score is not None))
    without = [key for key, score in rows if score is None]
    bands = min(len(ranked), share - bool(without and (share > 1 or not ranked)))
    cut = [[key for place, (_, key) in enumerate(ranked) if place * bands // len(ranked) == b] for b in range(bands)]
    assert [key for key, *_ in taken] == [*map(min, cut), *without[: share - bands]]
    assert not cut or max(map(len, cut)) - min(map(len, cut)) <= 1


def test_further_columns_and_the_label_are_shown(tmp_path: Path) -> None:
    root = many(tmp_path, 20)
    first = sample(root, documents=1, column=["edu__words", "text_digest"])["documents"][0]
    assert first["columns"] == {"edu__words": first["text"].split(), "text_digest": first["text_digest"]}
    assert first["label"] is None
    label(root, first["doc_id"], "bad", why="short\x1b[2J")
    result = sample(root, documents=1)
    assert result["documents"][0]["label"]["label"] == "bad"
    shown = show_sample(result, 100)
    assert "labelled bad on 20" in shown
    assert ": short [2J" in shown


def test_tags_are_shown_and_asked_for_like_reasons(tmp_path: Path) -> None:
    root = many(tmp_path, 60)
    path = next((root / "selections/1/a").glob("*.parquet"))
    frame = pl.read_parquet(path).with_columns(
        tags=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(["foul"])).otherwise(None)
    )
    write_parquet(path, frame)
    result = sample(root, reason="foul")
    assert [(one["text"], one["decision"], one["tags"]) for one in result["documents"]] == [
        ("text of a003", "kept", ["foul"])
    ]
    assert "tagged foul" in show_sample(result, 100)
    with pytest.raises(RecipeError, match="have: foreign, foul, short"):
        sample(root, reason="fould")


def test_over_budget_is_an_outcome_beside_dropped_ones(tmp_path: Path) -> None:
    root = many(tmp_path, 60)
    path = next((root / "selections/1/a").glob("*.parquet"))
    frame = pl.read_parquet(path).with_columns(
        decision=pl.when(pl.col("reason") == "short").then(pl.lit("over_budget")).otherwise("decision")
    )
    write_parquet(path, frame)
    result = sample(root, source="a", documents=8)
    outcomes = [(one["decision"], one["reason"]) for one in result["documents"]]
    assert outcomes == [("kept", None)] * 4 + [("dropped", "foreign")] * 2 + [("over_budget", "short")] * 2
    assert "over_budget: short" in show_sample(result, 60)


def test_another_seed_gives_other_documents_and_the_same_seed_the_same(tmp_path: Path) -> None:
    root = many(tmp_path, 20)
    assert sample(root, documents=10, seed=3) == sample(root, documents=10, seed=3)
    ids = [{one["doc_id"] for one in sample(root, documents=10, seed=seed)["documents"]} for seed in (1, 2, -5, 2**70)]
    assert len(set(map(frozenset, ids))) == 4


def test_text_belongs_to_its_document(tmp_path: Path) -> None:
    for one in sample(many(tmp_path, 7), documents=30)["documents"]:
        name = bytes.fromhex(one["doc_id"].replace("-", ""))[:4].decode()
        assert one["text"] == f"text of {name}"
        assert one["source"] == name[0]


def test_reason_and_source_restrict_the_sample(tmp_path: Path) -> None:
    result = sample(many(tmp_path, 20), documents=8, reason="short", source="b")
    assert counted(result) == {("b", "short"): 8}
    assert result["strata"] == [{"source": "b", "decision": "dropped", "reason": "short", "documents": 20, "shown": 8}]


def test_more_than_there_is_gives_all_of_it(small_workspace: SimpleNamespace) -> None:
    result = sample(small_workspace.root, documents=1000)
    assert len(result["documents"]) == 8
    assert sum(row["shown"] for row in result["strata"]) == 8


def test_document_without_text_is_shown_only_for_its_reason(small_workspace: SimpleNamespace) -> None:
    assert "no_text" not in {reason for _, reason in counted(sample(small_workspace.root))}
    (one,) = sample(small_workspace.root, reason="no_text")["documents"]
    assert (one["text"], one["is_cut"], one["num_chars"]) == (None, False, 0)


def test_white_space_is_no_text_and_takes_no_place(tmp_path: Path) -> None:
    root = many(tmp_path, 60)
    path = root / "documents/a/1/00000.ids.parquet"
    # The intake gives white space its size, but no digest.
    place = pl.int_range(pl.len())
    blank = pl.when(place % 3 == 0).then(None).otherwise("text_digest").alias("text_digest")
    write_parquet(path, pl.read_parquet(path).with_columns(blank))
    assert counted(sample(root, documents=8, source="a")) == {("a", "short"): 4, ("a", "foreign"): 4}


def test_heldout_set_is_a_reason_too(small_workspace: SimpleNamespace) -> None:
    (one,) = sample(small_workspace.root, reason="general")["documents"]
    assert (one["decision"], one["text"]) == ("held_out", "held out page")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"documents": 0}, RecipeError, "--documents: 0. Needed: 1 document or more"),
        (
            {"source": "webb"},
            RecipeError,
            r"--source: no source 'webb' \(have: books, web\)\. Fix: did you mean 'web'\?",
        ),
        (
            {"reason": "too_shrt"},
            RecipeError,
            r"--reason: no reason 'too_shrt' \(have: contaminated, .*did you mean 'too_short'",
        ),
        ({"by": "heuristics__words"}, RecipeError, "--by: no column 'heuristics__words' .*'heuristics__num_words'"),
        ({"by": "license__spdx"}, RecipeError, "--by: the column license__spdx holds String. Needed: a column of num"),
        ({"column": ["urls"]}, RecipeError, "--column: no column 'urls' .*did you mean 'url'"),
        ({"html": "x.html", "label": True}, RecipeError, "--label: --html is there too"),
        ({"recipe": "other"}, InputError, "no finished recipe 'other'"),
    ],
)
def test_wrong_argument_is_named(
    small_workspace: SimpleNamespace, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sample(small_workspace.root, **arguments)


def test_recipe_without_selection_is_an_error(small_workspace: SimpleNamespace) -> None:
    state = RecipeState(recipe="bare", finished="2030-01-01", sources=small_workspace.state.sources)
    write_state(small_workspace.workspace, state)
    with pytest.raises(InputError, match="recipe 'bare' has no selection yet"):
        sample(small_workspace.root)


def test_terminal_text_keeps_to_the_width(small_workspace: SimpleNamespace) -> None:
    result = sample(small_workspace.root, documents=6)
    json.dumps(result, allow_nan=False)
    result["documents"][0]["text"] = "\x1b[2J" + "a long text " * 200
    shown = show_sample(result, 60)
    assert max(map(len, shown.splitlines())) <= 60
    assert "\x1b" not in shown
    assert "--- books  dropped: contaminated" in shown
    assert "(6 documents; `provender explain DOC_ID` tells more)" in shown


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), max_size=6), st.integers(0, 100))
def test_shares_are_as_equal_as_the_sizes_allow(sizes: dict[str, int], total: int) -> None:
    shares = even_shares(sizes, total)
    assert sum(shares.values()) == min(total, sum(sizes.values()))
    assert all(shares[key] <= sizes[key] for key in sizes)
    highest = max(shares.values(), default=0)
    assert all(shares[key] >= highest - 1 or shares[key] == sizes[key] for key in sizes)
