"""The split: likenesses never stand on both sides."""

import random
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.annotate import exact_dup, near_dup
from engine.base.errors import RecipeError
from engine.formats.split import HELDOUT_SCHEMA
from engine.select.split import Config, make_split, split_columns

World = Callable[..., Any]


def text(start: int, end: int) -> str:
    return " ".join(f"w{number:05}" for number in range(start, end))


def alone(number: int) -> str:
    """A text of 100 words like no other one: 699 bytes."""
    return text(1000 + 100 * number, 1100 + 100 * number)


def split(made: Any, config: Config, folder_name: str = "split") -> tuple[dict[str, str], dict[str, str], pl.DataFrame]:
    """Run dedup and the split: (measured document -> set, member of a held-out group -> set, heldout.parquet)."""
    if not made.annotations or made.annotations[-1].prefix != "near_dup":
        made = dedup(made)
    folder = made.folder / folder_name
    folder.mkdir()
    make_split(made.corpus(), config, folder)
    held_out, groups = (pl.read_parquet(folder / f"{name}.parquet") for name in ("heldout", "groups"))
    return names(held_out), names(groups), held_out


def dedup(made: Any, floor: float = 0.5) -> Any:
    options = {"ngram_words": 1, "recall": 0.999999, "floor": floor}
    return made.run(exact_dup, exact_dup.Config()).run(near_dup, near_dup.Config(**options))


def names(frame: pl.DataFrame) -> dict[str, str]:
    ids = (bytes(doc_id).rstrip(b"\0").decode() for doc_id in frame["doc_id"])
    return dict(zip(ids, frame["set"], strict=True))


def config(**options: Any) -> Config:
    """One set of 2,200 bytes, of however little there is, unless options say otherwise."""
    general = {"sources": ["web"], "max_bytes": 2_200, "max_share": 1}
    return Config.model_validate({"heldout": {"general": general}, **options})


def documents_with_a_pair() -> dict[str, str]:
    """Twenty documents like no other, and two of similarity 60 / 100."""
    return {**{f"d{number:02}": alone(number) for number in range(20)}, "p1": text(0, 80), "p2": text(20, 100)}


def texts_that_overlap() -> st.SearchStrategy[dict[str, tuple[int, int, str | None, str | None]]]:
    """Up to 14 documents: a stretch of one long text, and perhaps a thread and a host."""
    few = st.sampled_from([None, None, "x", "y", "z"])
    one = st.tuples(st.integers(0, 300), st.integers(15, 60), few, few)
    return st.lists(one, min_size=4, max_size=14).map(lambda rows: {f"d{n:02}": row for n, row in enumerate(rows)})


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=texts_that_overlap(), seed=st.integers(0, 1000), share=st.integers(1, 6), shard_rows=st.integers(2, 20)
)
def test_nothing_alike_and_no_group_straddles_the_border_and_sizes_are_kept(
    world: World, documents: dict[str, Any], seed: int, share: int, shard_rows: int
) -> None:
    words = {name: set(text(start, start + length).split()) for name, (start, length, _, _) in documents.items()}
    docs = {name: text(start, start + length) for name, (start, length, _, _) in documents.items()}
    stated = {
        "domain": {name: thread for name, (_, _, thread, _) in documents.items() if thread},
        "url": {name: f"https://{host}.org/{name}" for name, (_, _, _, host) in documents.items() if host},
    }
    most = min(len(one) for one in docs.values()) + 120 * share
    sets = {"general": {"sources": ["web"], "max_bytes": most, "max_share": 1}}
    wanted = config(heldout=sets, group_by=["domain", "url_host"], seed=seed)
    made = [verified(world({"web": docs}, shard_rows=rows, **stated), words) for rows in (shard_rows, 100)]
    try:
        measured, members, _ = split(made[0], wanted)
    except RecipeError:
        measured, members = {}, {}
    else:
        assert split(made[1], wanted)[:2] == (measured, members)
    assert sum(len(docs[name]) for name in measured) <= most
    for one, other in combinations(docs, 2):
        alike = len(words[one] & words[other]) / len(words[one] | words[other]) >= 0.5
        grouped = any(one in of and host(of, one) == host(of, other) for of in stated.values())
        assert not (alike or grouped) or ((one in members) == (other in members)), (one, other)


def verified(made: Any, words: dict[str, set[str]]) -> Any:
    """The columns and pairs of dedup that removed nothing, by comparing every document with every other one."""
    made = made.add_columns("exact_dup", {"exact_dup__kept_id": {}}, {"exact_dup__kept_id": pl.Binary})
    made = made.add_columns("near_dup", {"near_dup__kept_id": {}}, {"near_dup__kept_id": pl.Binary})
    ids = [(one.encode().ljust(16, b"\0"), other.encode().ljust(16, b"\0")) for one, other in combinations(words, 2)]
    sizes = [(len(words[one] & words[other]), len(words[one] | words[other])) for one, other in combinations(words, 2)]
    schema = {"doc_id": pl.Binary, "other_id": pl.Binary, "intersection": pl.Int64, "union": pl.Int64}
    rows = [(*pair, both, either) for pair, (both, either) in zip(ids, sizes, strict=True) if 0.4 <= both / either < 1]
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(made.artifacts["near_dup"] / "pairs.parquet")
    (made.artifacts["near_dup"] / "details.json").write_text('{"floor": 0.4}')
    return made


def host(where: dict[str, str], name: str) -> str | None:
    return where[name].rpartition("/")[0] or where[name] if name in where else None


def test_similar_pair_is_on_one_side_for_any_seed_where_a_random_split_separates_it(world: World) -> None:
    docs = documents_with_a_pair()
    made = dedup(world({"web": docs}))
    straddles, random_straddles = [], []
    for seed in range(15):
        measured, members, _ = split(made, config(seed=seed), f"split-{seed}")
        straddles.append(("p1" in members) != ("p2" in members))
        drawn = random.Random(seed).sample(sorted(docs), len(measured))
        random_straddles.append(("p1" in drawn) != ("p2" in drawn))
        assert len(measured) == 3
    assert not any(straddles)
    assert any(random_straddles)


def test_both_documents_of_a_similar_pair_are_measured_and_carry_the_smaller_id(world: World) -> None:
    docs = {"p1": text(0, 80), "p2": text(20, 100)}
    measured, members, held_out = split(world({"web": docs}), config())
    assert measured == members == {"p1": "general", "p2": "general"}
    assert {bytes(group).rstrip(b"\0") for group in held_out["group_id"]} == {b"p1"}


def test_pair_below_the_similarity_is_no_group(world: World) -> None:
    docs = {"p1": text(0, 80), "p2": text(20, 100)}
    _, members, _ = split(
        world({"web": docs}),
        config(min_similarity=0.61, heldout={"general": {"sources": ["web"], "max_bytes": 600, "max_share": 1}}),
    )
    assert len(members) == 1


def test_removed_duplicates_of_a_held_out_document_leave_training_but_are_not_measured(world: World) -> None:
    docs = {"a": text(0, 100), "b": text(0, 95), "c": text(0, 100), "d": alone(9)}
    sets = {"general": {"sources": ["web"], "max_bytes": 10_000, "max_share": 1}}
    measured, members, held_out = split(world({"web": docs}), config(heldout=sets))
    assert measured == {"a": "general", "d": "general"}
    assert members == dict.fromkeys("abcd", "general")
    assert held_out.schema == pl.Schema(HELDOUT_SCHEMA)
    assert held_out["text"].to_list() == [docs["a"], docs["d"]]
    assert held_out["num_bytes"].to_list() == [699, 699]


def test_members_in_other_sources_leave_training_and_are_not_measured(world: World) -> None:
    docs = {"web": {"a": text(0, 90)}, "books": {"b": text(0, 60)}}
    measured, members, _ = split(world(docs), config())
    assert measured == {"a": "general"}
    assert members == {"a": "general", "b": "general"}


def test_a_group_belongs_to_the_first_set_by_name(world: World) -> None:
    docs = {"web": {"a": text(0, 80), "x": alone(1)}, "books": {"b": text(20, 100), "y": alone(2)}}
    sets = {
        "z": {"sources": ["web"], "max_bytes": 5_000, "max_share": 1},
        "c": {"sources": ["books"], "max_bytes": 600, "max_share": 1},
    }
    measured, members, _ = split(world(docs), config(heldout=sets, seed=3))
    assert set(members) in ({"a", "b", "x"}, {"x", "a", "b", "y"})
    assert members["a"] == members["b"]
    assert measured["x"] == "z"


def test_equal_values_of_group_by_columns_join_documents(world: World) -> None:
    docs = {"a": alone(1), "b": alone(2), "c": alone(3), "d": alone(4)}
    urls = {"a": "https://Example.org/1", "b": "http://user@example.org:80/2?x", "c": "https://example.com/", "d": None}
    sets = {"general": {"sources": ["web"], "max_bytes": 10_000, "max_share": 1}}
    _, _, held_out = split(world({"web": docs}, url=urls), config(group_by=["url_host"], heldout=sets))
    groups = [bytes(group).rstrip(b"\0") for group in held_out["group_id"]]
    assert groups == [b"a", b"a", b"c", b"d"]


def test_null_group_values_join_nothing(world: World) -> None:
    docs = {"a": alone(1), "b": alone(2)}
    sets = {"general": {"sources": ["web"], "max_bytes": 10_000, "max_share": 1}}
    _, _, held_out = split(world({"web": docs}), config(group_by=["domain"], heldout=sets))
    assert held_out["group_id"].n_unique() == 2


def test_only_documents_that_satisfy_where_are_measured_but_whole_groups_leave(world: World) -> None:
    made = world({"web": {"a": text(0, 80), "b": text(20, 100), "c": alone(1)}})
    made = made.add_columns("h", {"h__n": {"a": 1, "b": 0, "c": None}}, {"h__n": pl.Int64})
    measured, members, _ = split(dedup(made), config(where="h__n > 0"))
    assert measured == {"a": "general"}
    assert members == {"a": "general", "b": "general"}


def test_where_that_fails_on_a_document_is_an_error_of_the_recipe(world: World) -> None:
    made = world({"web": {"a": alone(1), "b": alone(2)}})
    made = made.add_columns("h", {"h__year": {"a": "1999", "b": "n.d."}}, {"h__year": pl.String})
    made, place = dedup(made), r"^split\.where: 'CAST\(h__year AS INT\) > 0': "
    with pytest.raises(RecipeError, match=place + r".*n\.d\..* Fix: write TRY_CAST"):
        split(made, config(where="CAST(h__year AS INT) > 0"))
    measured, _, _ = split(made, config(where="TRY_CAST(h__year AS INT) > 0"), "tried")
    assert measured == {"a": "general"}


def test_no_more_bytes_than_asked_for(world: World) -> None:
    docs = {f"d{number:02}": text(1000 * number, 1000 * number + 20 * number + 20) for number in range(12)}
    for seed in range(5):
        _, _, held_out = split(world({"web": docs}), config(seed=seed))
        assert 0 < held_out["num_bytes"].sum() <= 2_200


def test_documents_without_text_are_never_measured(world: World) -> None:
    docs = {"a": None, "b": "", "c": alone(1), "d": alone(2)}
    made = world({"web": docs}, read_problem={"d": "bad_json"})
    measured, members, _ = split(made, config())
    assert measured == members == {"c": "general"}


def test_no_more_tokens_than_asked_for_whatever_the_bytes(world: World) -> None:
    docs = {f"d{number:02}": alone(number) for number in range(12)}
    counts = {name: 10 * number + 1 for number, name in enumerate(sorted(docs))}
    made = dedup(world({"web": docs}).add_columns("t", {"t__count": counts}, {"t__count": pl.UInt32}))
    sets = {"general": {"sources": ["web"], "max_tokens": 150}}
    for seed in range(5):
        folder = made.folder / f"tokens-{seed}"
        folder.mkdir()
        make_split(made.corpus(), config(heldout=sets, seed=seed), folder, "t__count")
        held_out = pl.read_parquet(folder / "heldout.parquet")
        assert dict(zip(names(held_out), held_out["num_tokens"], strict=True)) == {
            d: counts[d] for d in names(held_out)
        }
        assert 50 < held_out["num_tokens"].sum() <= 150


def test_tokens_are_null_where_nobody_counted_them(world: World) -> None:
    _, _, held_out = split(world({"web": documents_with_a_pair()}), config())
    assert held_out["num_tokens"].to_list() == [None] * 3


@pytest.mark.parametrize(
    ("size", "asked"), [("max_bytes", 3 * 699), ("max_bytes", 6 * 699 - 1), ("max_bytes", 10**12), ("max_tokens", 301)]
)
def test_a_set_larger_than_half_of_what_is_there_is_an_error(world: World, size: str, asked: int) -> None:
    docs = {f"d{number}": alone(number) for number in range(6)}
    made = dedup(world({"web": docs}).add_columns("t", {"t__count": dict.fromkeys(docs, 100)}, {"t__count": pl.UInt32}))
    half = {"max_bytes": 3 * 699, "max_tokens": 300}[size]
    for number, most in enumerate((half, asked)):
        folder = made.folder / f"{number}"
        folder.mkdir()
        sets = {"general": {"sources": ["web"], size: most}}
        if most == half:
            make_split(made.corpus(), config(heldout=sets), folder, "t__count")
            assert len(names(pl.read_parquet(folder / "heldout.parquet"))) == 3
            continue
        left = 2 * half - asked
        with pytest.raises(RecipeError) as caught:
            make_split(made.corpus(), config(heldout=sets), folder, "t__count")
        unit = size.removeprefix("max_")
        rest = f"{left:,} {unit}" if left > 0 else "nothing"
        assert str(caught.value) == (
            f"split.heldout.general: it asks for {asked:,} {unit} where {2 * half:,} can stand in it (6 documents in 6 "
            f"groups), so {rest} of them would be left to train on. Needed: at most 50% of them, {size}: {half}. "
            f"Fix: lower {size}, name more sources, or write max_share: 1 to hold out as much as that."
        )


def test_of_several_sets_each_leaves_half_of_what_those_before_it_left(world: World) -> None:
    docs = {f"d{number}": alone(number) for number in range(8)}
    sets = {"a": {"sources": ["web"], "max_bytes": 4 * 699}, "b": {"sources": ["web"], "max_bytes": 2 * 699}}
    made = dedup(world({"web": docs}))
    measured, _, _ = split(made, config(heldout=sets))
    assert sorted(measured.values()) == ["a"] * 4 + ["b"] * 2
    sets["b"]["max_bytes"] = 3 * 699
    with pytest.raises(RecipeError, match=r"split\.heldout\.b: it asks for 2,097 bytes where 2,796 can stand in it"):
        split(made, config(heldout=sets), "more")


def test_a_source_can_be_held_out_as_a_whole_where_the_recipe_says_so(world: World) -> None:
    docs = {"web": {"a": alone(1), "b": alone(2)}, "exam": {"c": alone(3), "d": alone(4)}}
    whole = {"sources": ["exam"], "max_bytes": 10**9, "max_share": 1}
    measured, _, _ = split(world(docs), config(heldout={"exam": whole}))
    assert measured == {"c": "exam", "d": "exam"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"heldout": {"code": {"sources": ["other"], "max_bytes": 100}}},
            r"split\.heldout\.code: no document of other can stand in it",
        ),
        (
            {"heldout": {"tiny": {"sources": ["web"], "max_bytes": 100}}},
            r"split\.heldout\.tiny: .*smallest of 20 groups has 699 bytes",
        ),
        ({"where": "h__n > 5"}, r"split\.heldout\.general: no document of web can stand in it"),
    ],
)
def test_a_set_that_stays_empty_is_an_error_that_names_it(world: World, options: dict[str, Any], message: str) -> None:
    docs = {f"d{number:02}": alone(number) for number in range(20)}
    made = world({"web": docs}).add_columns("h", {"h__n": {}}, {"h__n": pl.Int64})
    with pytest.raises(RecipeError, match=message):
        split(made, config(**options))


def test_pairs_that_were_not_verified_far_enough_down_are_an_error(world: World) -> None:
    made = dedup(world({"web": {"a": alone(1)}}), floor=0.6)
    with pytest.raises(RecipeError, match=r"pairs were verified down to 0\.6 only"):
        split(made, config())


def test_shards_and_order_change_nothing(world: World) -> None:
    docs = {**documents_with_a_pair(), "q1": text(0, 80), "q2": text(500, 560)}
    shuffled = dict(random.Random(4).sample(sorted(docs.items()), len(docs)))
    made = [dedup(world({"web": docs}, shard_rows=100)), dedup(world({"web": shuffled}, shard_rows=4))]
    for one in made:
        split(one, config(seed=2))
    for name in ("heldout.parquet", "groups.parquet"):
        first, other = ((Path(one.folder) / "split" / name).read_bytes() for one in made)
        assert first == other


def test_columns_are_those_of_dedup_grouping_and_condition() -> None:
    reads = split_columns(config(group_by=["url_host", "license"], where="h__n > 0 AND q__score > 0.5"))
    core = ("doc_id", "source", "text_digest", "num_bytes", "read_problem")
    assert reads == (*core, "exact_dup__kept_id", "near_dup__kept_id", "url", "license", "h__n", "q__score")
    assert split_columns(config(), "tokens__count") == (*core, *reads[5:7], "tokens__count")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "h__n >"}, "not an SQL expression"),
        ({"where": "h__n > AVG(h__n)"}, "an aggregate"),
        ({"heldout": {}}, "at least 1"),
        ({"heldout": {"a": {"sources": ["web"]}}}, "max_bytes or max_tokens, exactly one"),
        ({"heldout": {"a": {"sources": ["web"], "max_bytes": 1, "max_tokens": 1}}}, "max_tokens, exactly one"),
        ({"heldout": {"A b": {"sources": ["web"], "max_bytes": 1}}}, "pattern"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**options)
