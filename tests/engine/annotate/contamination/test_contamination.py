"""contamination as a stage: who holds an item of a benchmark or a held-out passage, and what is done about it."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate import contamination
from engine.annotate.contamination import Config
from engine.annotate.contamination.coverage import SCHEMA as SHEET
from engine.formats.items import ITEMS, write_items
from engine.formats.parquet import write_parquet
from engine.formats.split import HELDOUT_SCHEMA
from engine.text.spans import without_spans
from tests.engine.annotate.contamination.makers import index_of, item, scores, words

BENCHMARK, ITEM, KIND, SCORE, ACTION, CUT = (
    f"contamination__{name}" for name in ("benchmark", "item", "kind", "score", "action", "cut")
)
NUMBERS = words(0, 26)
"""26 words: fourteen 13-grams, of which seven are half."""
FILLER = " ".join(f"filler{number}" for number in range(300))
EGGS = "Ada's hens lay 16 eggs a day; she eats 3 and sells the others for 2 dollars each. What does she earn a week?"
RIVER = "Which river flows through both Vienna and Budapest?"
RESULTS = ("hits.parquet", "coverage.parquet", "unmatchable.parquet", "ngram_counts.parquet", "details.json")

World = Callable[..., Any]


def id_of(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def hex_of(name: str) -> str:
    return id_of(name).hex()


def question(name: str, text: str, answer: str | None = None, choices: Sequence[str] = ()) -> dict[str, Any]:
    row = dict.fromkeys(ITEMS) | {"item": name, "question": text, "answer": answer}
    return row | {"choices": list(choices), "other_answers": [], "extra": []}


QUIZ = {
    "maths": [question("eggs", EGGS, "#### 182")],
    "places": [question("river", RIVER, "Danube", ["Danube", "Rhine", "Po"]), question("when", "When?", "Now")],
}


def measured_world(
    world: World,
    documents: Mapping[str, str | None],
    held_out: Mapping[str, tuple[str, str]] | None = None,
    benchmarks: Mapping[str, list[dict[str, Any]]] | None = None,
    **options: Any,
) -> Any:
    """A world with benchmarks and a split: held_out is name -> (set, text), and part of the source, as in a run."""
    held_out = held_out or {}
    made = world({"web": {**{name: text for name, (_, text) in held_out.items()}, **documents}}, **options)
    for name, rows in (benchmarks or {}).items():
        made.benchmarks[name] = made.folder / "benchmarks" / name / "items.parquet"
        write_items(made.benchmarks[name], pl.DataFrame(rows, schema=ITEMS))
    if held_out:
        folder = made.folder / "split"
        rows = [(id_of(n), s, "web", id_of(n), len(t.encode()), None, t) for n, (s, t) in held_out.items()]
        frame = pl.DataFrame(rows, schema=HELDOUT_SCHEMA, orient="row").sort("set", "doc_id")
        write_parquet(folder / "heldout.parquet", frame)
        write_parquet(folder / "groups.parquet", frame.select("doc_id", "group_id", "set"))
        made.artifacts["split"] = folder
    return made


def file_of(done: Any, name: str) -> pl.DataFrame:
    return pl.read_parquet(done.artifacts["contamination"] / name)


def hits_of(done: Any) -> list[tuple[str, str, str, str, float]]:
    rows = file_of(done, "hits.parquet").select("doc_id", "benchmark", "item", "kind", "score").rows()
    return [(doc_id.rstrip(b"\0").decode(), *rest) for doc_id, *rest in rows]


def flagged(done: Any, column: str) -> dict[str, Any]:
    """The column of the documents that have a hit."""
    return {name: value for name, value in done.by_name(column).items() if done.by_name(BENCHMARK)[name] is not None}


# Held-out passages


def test_short_passage_in_a_long_document_is_found(world: World) -> None:
    documents = {"long": f"{FILLER} {NUMBERS} {FILLER}", "clean": FILLER}
    done = measured_world(world, documents, {"h": ("general", NUMBERS)}).run(contamination, Config())
    assert done.columns(BENCHMARK, ITEM, KIND, SCORE, ACTION, CUT) == {
        "doc_id": ["clean", "h", "long"],
        BENCHMARK: [None, None, "general"],
        ITEM: [None, None, hex_of("h")],
        KIND: [None, None, "passage"],
        SCORE: [None, None, 1.0],
        ACTION: [None, None, "drop"],
        CUT: [None, None, None],
    }


def test_half_of_the_ngrams_contaminates_and_less_does_not() -> None:
    index = index_of(item(passage=NUMBERS))
    assert scores(index, words(0, 19)) == [(0, 0, "passage", 0.5)]
    assert scores(index, words(0, 18)) == []
    assert scores(index, words(0, 18), min_passage=0.4) == [(0, 0, "passage", 0.4285)]


def test_pieces_in_different_places_add_up_and_a_repeated_one_counts_once() -> None:
    index = index_of(item(passage=NUMBERS))
    assert scores(index, f"{words(0, 15)} {FILLER} {words(10, 26)}") == [(0, 0, "passage", 0.5)]
    assert scores(index, " ".join([words(0, 18)] * 5)) == []


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
def test_formatting_does_not_hide_a_passage(text: str) -> None:
    assert scores(index_of(item(passage=NUMBERS)), text) == [(0, 0, "passage", 1.0)]


def test_short_passages_need_all_their_words_in_a_row_and_at_least_five(world: World) -> None:
    held_out = {"h5": ("a", "one two three four five"), "h4": ("a", "six seven eight nine"), "h0": ("a", "...")}
    documents = {
        "whole": "zero One, two three four - five six seven eight nine",
        "part": "one two three four",
        "apart": "one two three and four five",
    }
    done = measured_world(world, documents, held_out).run(contamination, Config())
    assert hits_of(done) == [("whole", "a", hex_of("h5"), "passage", 1.0)]
    assert file_of(done, "unmatchable.parquet").rows() == [
        ("a", hex_of("h0"), "a passage of 0 words, fewer than 5"),
        ("a", hex_of("h4"), "a passage of 4 words, fewer than 5"),
    ]


def test_members_of_held_out_groups_are_no_hits_and_not_searched(world: World) -> None:
    held_out = {"h1": ("a", NUMBERS), "h2": ("b", NUMBERS + " and more")}
    done = measured_world(world, {"x": "nothing of it", "empty": None}, held_out).run(contamination, Config())
    assert hits_of(done) == []
    assert file_of(done, "coverage.parquet")["searched_documents"].to_list() == [1, 1]


PIECES = st.lists(st.tuples(st.integers(0, 27), st.integers(1, 27)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(PIECES, max_size=4), ends=st.lists(st.integers(13, 40), min_size=1, max_size=3))
def test_passages_are_found_by_the_share_of_their_13_grams(texts: list[list[tuple[int, int]]], ends: list[int]) -> None:
    def ngrams(text: str) -> set[tuple[str, ...]]:
        parts = text.split()
        return {tuple(parts[start : start + 13]) for start in range(len(parts) - 12)}

    passages = [words(0, end) for end in ends]
    made = [" ".join(words(start, start + length) for start, length in pieces) for pieces in texts]
    expected = [
        (row, number, "passage", len(ngrams(passage) & ngrams(text)) * 10_000 // len(ngrams(passage)) / 10_000)
        for row, text in enumerate(made)
        for number, passage in enumerate(passages)
        if 2 * len(ngrams(passage) & ngrams(text)) >= len(ngrams(passage))
    ]
    assert scores(index_of(*(item(passage=passage) for passage in passages)), *made) == expected


# Benchmarks


def test_questions_are_hits_with_kind_and_score(world: World) -> None:
    documents = {
        "solved": f"{FILLER} {EGGS} 16 - 3 = 13, so 182 a week. #### 182",
        "asked": f"{FILLER} {EGGS}",
        "told": f"{RIVER} Po, Danube or Rhine? {FILLER}",
        "bare": f"{RIVER} {FILLER}",
        "other_numbers": EGGS.replace("16", "17").replace("3", "4").replace("2", "5"),
        "clean": "Vienna and Budapest lie at a river.",
    }
    done = measured_world(world, documents, benchmarks=QUIZ).run(contamination, Config())
    assert hits_of(done) == [
        ("asked", "maths", "eggs", "question", 1.0),
        ("bare", "places", "river", "question", 1.0),
        ("solved", "maths", "eggs", "question+answer", 1.0),
        ("told", "places", "river", "question+answer", 1.0),
    ]
    assert flagged(done, KIND) == {name: kind for name, _, _, kind, _ in hits_of(done)}
    assert file_of(done, "unmatchable.parquet")["item"].to_list() == ["when"]


def test_benchmarks_and_held_out_sets_are_searched_in_one_go(world: World) -> None:
    documents = {"both": f"{NUMBERS} {FILLER} {EGGS}", "one": f"{words(0, 22)} {RIVER}"}
    done = measured_world(world, documents, {"h": ("general", NUMBERS)}, QUIZ).run(contamination, Config())
    assert hits_of(done) == [
        ("both", "general", hex_of("h"), "passage", 1.0),
        ("both", "maths", "eggs", "question", 1.0),
        ("one", "places", "river", "question", 1.0),
        ("one", "general", hex_of("h"), "passage", 0.7142),
    ]
    assert flagged(done, BENCHMARK) == {"both": "general", "one": "places"}
    sheet = file_of(done, "coverage.parquet")
    assert dict(sheet.schema) == SHEET
    counts = sheet.select("benchmark", "items", "matchable_items", "searched_documents", "flagged_documents")
    assert counts.rows() == [("general", 1, 1, 2, 2), ("maths", 1, 1, 2, 1), ("places", 2, 1, 2, 1)]
    assert sheet["planted_recall"].to_list() == [1.0, 1.0, 1.0]


def test_evidence_is_the_text_at_the_spans(world: World) -> None:
    text = f"Caf\u00e9: {EGGS.upper()} Then {FILLER} and #### 182 \u4e2d"
    done = measured_world(world, {"x": text}, benchmarks=QUIZ).run(contamination, Config())
    hit = file_of(done, "hits.parquet").to_dicts()[0]
    pieces = [text.encode()[span["start"] : span["end"]].decode() for span in hit["spans"]]
    assert hit["evidence"] == " ... ".join(pieces) == EGGS.upper().rstrip("?")


def test_best_item_is_the_one_named_and_all_are_in_the_hits(world: World) -> None:
    held_out = {"h1": ("a", words(0, 24)), "h2": ("b", NUMBERS)}
    done = measured_world(world, {"x": words(0, 22), "y": NUMBERS}, held_out).run(contamination, Config())
    assert flagged(done, ITEM) == {"x": hex_of("h1"), "y": hex_of("h1")}
    assert flagged(done, SCORE) == {"x": 0.8333, "y": 1.0}
    assert [(name, benchmark, score) for name, benchmark, _, _, score in hits_of(done)] == [
        ("x", "a", 0.8333), ("x", "b", 0.7142), ("y", "a", 1.0), ("y", "b", 1.0)
    ]  # fmt: skip


def test_what_is_common_in_the_whole_corpus_is_no_hit_without_its_answer(world: World) -> None:
    # Ten documents with a run of words are few, eleven are many, however few of them are in one shard.
    for count, expected in ((10, 10), (11, 0)):
        documents = {f"d{number:02}": f"{RIVER} I ask for the {number}. time" for number in range(count)}
        done = measured_world(world, documents, benchmarks=QUIZ, shard_rows=2).run(contamination, Config())
        assert len(hits_of(done)) == expected
    documents["told"] = f"{RIVER} Danube"
    done = measured_world(world, documents, benchmarks=QUIZ, shard_rows=2).run(contamination, Config())
    assert hits_of(done) == [("told", "places", "river", "question+answer", 1.0)]


# Actions


def test_cut_joins_the_spans_of_all_hits_and_leaves_the_rest(world: World) -> None:
    text = f"Before.\n\n{EGGS}\n\n#### 182\n\n{FILLER}\n\nNext: {RIVER} After."
    done = measured_world(world, {"x": text, "clean": FILLER}, benchmarks=QUIZ).run(contamination, Config(action="cut"))
    assert done.by_name(ACTION) == {"x": "cut", "clean": None}
    spans = [(span["start"], span["end"]) for span in done.by_name(CUT)["x"]]
    # The question and its answer stand close together: one span, with what is between them.
    assert [text.encode()[start:end].decode() for start, end in spans] == [
        f"{EGGS}\n\n#### 182", RIVER.rstrip("?")
    ]  # fmt: skip
    left = without_spans(text, spans)
    assert left.startswith(f"Before.\n\n{FILLER}\n\nNext:")
    assert left.endswith(" After.")


@pytest.mark.parametrize("text", [EGGS, f" \n{EGGS}\n", f"**{EGGS}** -- {RIVER}!"])
def test_a_document_of_which_no_word_is_left_is_dropped(world: World, text: str) -> None:
    done = measured_world(world, {"x": text, "y": f"{EGGS} So."}, benchmarks=QUIZ).run(
        contamination, Config(action="cut")
    )
    assert done.by_name(ACTION) == {"x": "drop", "y": "cut"}
    assert done.by_name(CUT)["x"] is None


def test_tag_names_the_hit_and_neither_drops_nor_cuts(world: World) -> None:
    done = measured_world(world, {"x": EGGS}, benchmarks=QUIZ).run(contamination, Config(action="tag"))
    assert done.columns(BENCHMARK, ACTION, CUT) == {
        "doc_id": ["x"], BENCHMARK: ["maths"], ACTION: ["tag"], CUT: [None]
    }  # fmt: skip
    assert contamination.DROPS == {"contaminated": "contamination__action = 'drop'"}


def test_no_option_touches_the_parts_and_the_action_changes_no_hit(world: World) -> None:
    options = Config(seed=2, planted_items=9, min_passage=0.4, action="cut")
    assert contamination.part_config(options) == contamination.part_config(Config())
    made = [
        measured_world(world, {"x": f"{EGGS} {FILLER}"}, benchmarks=QUIZ).run(contamination, Config(action=action))
        for action in ("drop", "cut", "tag")
    ]
    hits = [(one.artifacts["contamination"] / "hits.parquet").read_bytes() for one in made]
    assert hits[0] == hits[1] == hits[2]


# Any shards, any order


@pytest.mark.parametrize("action", ["drop", "cut"])
@pytest.mark.parametrize("shard_rows", [1, 2, 100])
def test_shards_and_order_change_nothing(world: World, shard_rows: int, action: Any) -> None:
    held_out = {"h1": ("a", NUMBERS), "h2": ("b", FILLER)}
    documents: dict[str, str | None] = {
        f"d{number}": f"{FILLER[number * 9 :]} {words(0, 16 + number)}" for number in range(7)
    }
    documents |= {f"q{number}": f"{number} {EGGS} {RIVER} {'Danube' * (number % 2)}" for number in range(12)}
    documents["empty"] = None
    config = Config(action=action)
    one = measured_world(world, documents, held_out, QUIZ, shard_rows=3).run(contamination, config)
    shuffled = dict(random.Random(shard_rows).sample(sorted(documents.items()), len(documents)))
    other = measured_world(world, shuffled, held_out, QUIZ, shard_rows=shard_rows).run(contamination, config)
    assert len(flagged(one, BENCHMARK)) > 12
    assert one.columns(*contamination.ADDS) == other.columns(*contamination.ADDS)
    for name in RESULTS:
        paths: list[Path] = [done.artifacts["contamination"] / name for done in (one, other)]
        assert paths[0].read_bytes() == paths[1].read_bytes(), name


def test_nothing_to_search_and_nothing_to_search_for_end_well(world: World) -> None:
    nothing = measured_world(world, {"x": None}, benchmarks=QUIZ).run(contamination, Config(action="cut"))
    assert hits_of(nothing) == []
    assert file_of(nothing, "coverage.parquet")["searched_documents"].to_list() == [0, 0]
    hopeless = {"tiny": [question("0", "When?"), question("1", "7 8 9 10 11 12 13 14 15")]}
    done = measured_world(world, {"x": EGGS}, benchmarks=hopeless).run(contamination, Config())
    assert hits_of(done) == []
    row = file_of(done, "coverage.parquet").to_dicts()[0]
    assert (row["items"], row["matchable_items"], row["planted_recall"]) == (2, 0, None)
    assert file_of(done, "unmatchable.parquet")["item"].to_list() == ["0", "1"]
