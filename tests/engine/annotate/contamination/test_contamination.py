"""contamination: who holds a passage of the held-out documents, and how that is measured."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate import contamination
from engine.annotate.contamination import Config
from engine.annotate.contamination.coverage import plant
from engine.annotate.contamination.index import Index, load_index, write_index
from engine.annotate.contamination.search import search
from engine.formats.parquet import write_parquet
from engine.formats.split import HELDOUT_SCHEMA

ITEM, SET, FRACTION = "contamination__item_id", "contamination__set", "contamination__fraction"
NUMBERS = " ".join(f"w{number}" for number in range(26))
"""26 words: fourteen 13-grams, of which seven are half."""
FILLER = " ".join(f"filler{number}" for number in range(300))

World = Callable[..., Any]


def id_of(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def first_words(count: int) -> str:
    return " ".join(NUMBERS.split()[:count])


def index_of(passages: Mapping[str, str], folder: Path, ngram_words: int = 13, min_item_words: int = 5) -> Index:
    folder.mkdir(parents=True)
    frame = pl.DataFrame({"item_id": [id_of(n) for n in passages], "set": "general", "text": list(passages.values())})
    write_index(frame, ngram_words, min_item_words, folder)
    return load_index(folder)


def found(index: Index, text: str, min_fraction: float = 0.5) -> dict[int, float]:
    hits = search(pa.chunked_array([[text]], type=pa.large_string()), index, min_fraction)
    return dict(zip(hits["item"], hits["fraction"], strict=True))


def held_out_world(
    world: World, held_out: Mapping[str, tuple[str, str]], documents: Mapping[str, str | None], **options: Any
) -> Any:
    """A world with a split: held_out is name -> (set, text); these documents are part of the source, as in a run."""
    made = world({"web": {**{name: text for name, (_, text) in held_out.items()}, **documents}}, **options)
    folder = made.folder / "split"
    rows = [(id_of(n), s, "web", id_of(n), len(t.encode()), t) for n, (s, t) in held_out.items()]
    frame = pl.DataFrame(rows, schema=HELDOUT_SCHEMA, orient="row").sort("set", "doc_id")
    write_parquet(folder / "heldout.parquet", frame)
    write_parquet(folder / "groups.parquet", frame.select("doc_id", "group_id", "set"))
    made.artifacts["split"] = folder
    return made


def test_short_passage_in_a_long_document_is_found(world: World) -> None:
    made = held_out_world(world, {"h": ("general", NUMBERS)}, {"long": f"{FILLER} {NUMBERS} {FILLER}", "clean": FILLER})
    done = made.run(contamination, Config())
    assert done.columns(ITEM, SET, FRACTION) == {
        "doc_id": ["clean", "h", "long"],
        ITEM: [None, None, "h"],
        SET: [None, None, "general"],
        FRACTION: [None, None, 1.0],
    }


def test_half_of_the_ngrams_contaminates_and_less_does_not(tmp_path: Path) -> None:
    index = index_of({"h": NUMBERS}, tmp_path / "index")
    assert found(index, first_words(19)) == {0: 0.5}
    assert found(index, first_words(18)) == {}
    assert found(index, first_words(18), min_fraction=0.4) == {0: 0.4285}


def test_pieces_in_different_places_add_up(tmp_path: Path) -> None:
    index = index_of({"h": NUMBERS}, tmp_path / "index")
    last = " ".join(NUMBERS.split()[-16:])
    assert found(index, f"{first_words(15)} {FILLER} {last}") == {0: 0.5}


def test_a_repeated_ngram_counts_once(tmp_path: Path) -> None:
    index = index_of({"h": NUMBERS}, tmp_path / "index")
    assert found(index, " ".join([first_words(18)] * 5)) == {}


@pytest.mark.parametrize(
    "text",
    [
        NUMBERS.upper(),
        NUMBERS.replace(" ", "\u00a0"),
        NUMBERS.replace(" ", ", \u201c"),
        NUMBERS.replace(" ", "\n"),
        NUMBERS.replace("w1", "w\u200b1"),
        NUMBERS.replace(" ", " \u2014 "),
        "\n".join("# " + " ".join(NUMBERS.split()[start : start + 4]) for start in range(0, 26, 4)),
    ],
)
def test_formatting_does_not_hide_a_passage(tmp_path: Path, text: str) -> None:
    assert found(index_of({"h": NUMBERS}, tmp_path / "index"), text) == {0: 1.0}


def test_short_item_needs_all_its_words_in_a_row(tmp_path: Path) -> None:
    index = index_of({"h": "one two three four five six"}, tmp_path / "index")
    assert found(index, "zero One, two three four five - six seven") == {0: 1.0}
    assert found(index, "one two three four five") == {}
    assert found(index, "one two three and four five six") == {}


def test_items_below_the_least_words_are_not_matchable(tmp_path: Path) -> None:
    index = index_of({"h": "one two three four", "i": "..."}, tmp_path / "index")
    assert index.items["num_ngrams"].to_list() == [0, 0]
    assert found(index, "one two three four") == {}


def test_best_item_is_the_one_named_and_all_are_in_the_hits(world: World) -> None:
    held_out = {"h1": ("a", first_words(24)), "h2": ("b", NUMBERS)}
    done = held_out_world(world, held_out, {"x": first_words(22), "y": NUMBERS}).run(contamination, Config())
    assert done.by_name(ITEM) == {"h1": None, "h2": None, "x": "h1", "y": "h1"}
    assert done.by_name(FRACTION)["x"] == 0.8333
    hits = pl.read_parquet(done.artifacts["contamination"] / "hits.parquet")
    assert hits.columns == ["doc_id", "item_id", "set", "fraction", "evidence"]
    rows = [(bytes(d).rstrip(b"\0"), bytes(i).rstrip(b"\0"), s, f) for d, i, s, f, _ in hits.iter_rows()]
    assert rows == [
        (b"x", b"h1", "a", 0.8333), (b"x", b"h2", "b", 0.7142), (b"y", b"h1", "a", 1.0), (b"y", b"h2", "b", 1.0)
    ]  # fmt: skip


def test_evidence_is_the_text_of_the_first_run(tmp_path: Path) -> None:
    index = index_of({"h": NUMBERS}, tmp_path / "index")
    text = f"Before: W0, {first_words(20)[3:].replace(' ', chr(0xA0))}! After. {NUMBERS}"
    hits = search(pa.chunked_array([[None, text]]), index, 0.5)
    assert hits["row"].to_list() == [1]
    assert hits["evidence"].to_list() == [text[8 : text.index("!")]]
    long = search(pa.chunked_array([[" ".join(f"{word}\u00e9" * 9 for word in NUMBERS.split())]]), index_of(
        {"h": " ".join(f"{word}\u00e9" * 9 for word in NUMBERS.split())}, tmp_path / "long"), 0.5)  # fmt: skip
    assert len(long["evidence"][0]) == 200


def test_members_of_held_out_groups_are_no_hits_and_not_searched(world: World) -> None:
    held_out = {"h1": ("a", NUMBERS), "h2": ("b", NUMBERS + " and more")}
    done = held_out_world(world, held_out, {"x": "nothing of it", "empty": None}).run(contamination, Config())
    assert set(done.by_name(ITEM).values()) == {None}
    sheet = pl.read_parquet(done.artifacts["contamination"] / "coverage.parquet")
    assert sheet["searched_documents"].to_list() == [1, 1]


def test_coverage_counts_what_can_be_found_and_what_was_found(world: World) -> None:
    held_out = {"h1": ("a", NUMBERS), "h2": ("a", "too short"), "h3": ("b", FILLER)}
    documents = {"x": NUMBERS, "y": f"so {NUMBERS} it", "z": "clean text of a few words"}
    done = held_out_world(world, held_out, documents).run(contamination, Config())
    sheet = pl.read_parquet(done.artifacts["contamination"] / "coverage.parquet").to_dicts()
    recalls = {"verbatim_recall": 1.0, "rewrapped_recall": 1.0, "planted_recall": 1.0}
    assert sheet == [
        {
            "set": "a",
            "items": 2,
            "matchable_items": 1,
            "searched_documents": 3,
            "contaminated_documents": 2,
            "planted_copies": 2,
            **recalls,
        },
        {
            "set": "b",
            "items": 1,
            "matchable_items": 1,
            "searched_documents": 3,
            "contaminated_documents": 0,
            "planted_copies": 2,
            **recalls,
        },
    ]


def test_planted_recall_falls_where_the_search_is_blind(tmp_path: Path) -> None:
    index = index_of(
        {"h1": NUMBERS, "h2": "something else that is never found anywhere at all in here, not once"},
        tmp_path / "index",
    )
    texts = {"h1": NUMBERS, "h2": FILLER}
    passages = pl.DataFrame(
        {"item_id": [id_of(name) for name in texts], "set": "general", "text": list(texts.values())}
    )
    planted = plant(passages, index, ["a host text", "another"], 0.5, num_items=50, seed=1)
    assert sorted(planted.select("item", "kind", "is_found").iter_rows()) == [
        (0, "rewrapped", True), (0, "verbatim", True), (1, "rewrapped", False), (1, "verbatim", False)
    ]  # fmt: skip


def test_planting_draws_the_same_items_again_and_others_with_another_seed(tmp_path: Path) -> None:
    texts = {f"h{number:02}": f"{FILLER} {number}" for number in range(40)}
    index = index_of(texts, tmp_path / "index")
    passages = pl.DataFrame(
        {"item_id": [id_of(name) for name in texts], "set": "general", "text": list(texts.values())}
    )
    drawn = [plant(passages, index, [], 0.5, 5, seed)["item"].to_list() for seed in (1, 1, 2)]
    assert len(drawn[0]) == 10
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("shard_rows", [1, 2, 100])
def test_shards_change_nothing(world: World, shard_rows: int) -> None:
    held_out = {"h1": ("a", NUMBERS), "h2": ("b", FILLER)}
    documents = {f"d{number}": f"{FILLER[number * 9 :]} {first_words(16 + number)}" for number in range(7)}
    one = held_out_world(world, held_out, documents, shard_rows=3).run(contamination, Config())
    shuffled = random.Random(shard_rows).sample(sorted(documents.items()), len(documents))
    other = held_out_world(world, held_out, dict(shuffled), shard_rows=shard_rows).run(contamination, Config())
    assert one.columns(ITEM, SET, FRACTION) == other.columns(ITEM, SET, FRACTION)
    for name in ("hits.parquet", "coverage.parquet"):
        assert (one.artifacts["contamination"] / name).read_bytes() == (
            other.artifacts["contamination"] / name
        ).read_bytes()


def test_options_of_the_planting_do_not_touch_the_parts() -> None:
    assert contamination.part_config(Config(seed=2, planted_items=9)) == contamination.part_config(Config())
    assert contamination.part_config(Config(min_fraction=0.4)) != contamination.part_config(Config())


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=14).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(items=st.lists(TEXTS, min_size=1, max_size=4), texts=st.lists(TEXTS, max_size=5), percent=st.integers(1, 100))
def test_search_agrees_with_sets_of_ngrams(
    tmp_path_factory: pytest.TempPathFactory, items: list[str], texts: list[str], percent: int
) -> None:
    folder = tmp_path_factory.mktemp("index") / "index"
    index = index_of({f"h{number}": text for number, text in enumerate(items)}, folder, ngram_words=3, min_item_words=1)

    def ngrams(text: str, length: int) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}

    expected = set()
    for row, text in enumerate(texts):
        for item, passage in enumerate(items):
            length = min(3, len(passage.split()))
            wanted = ngrams(passage, length) if length else set()
            if wanted and 100 * len(wanted & ngrams(text, length)) >= percent * len(wanted):
                expected.add((row, item))
    hits = search(pa.chunked_array([pa.array(texts, type=pa.large_string())]), index, percent / 100)
    assert set(hits.select("row", "item").iter_rows()) == expected
    assert hits.height == len(expected)
