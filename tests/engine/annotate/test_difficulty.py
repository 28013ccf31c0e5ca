"""difficulty: a measure the recipe chooses, and bins of which equal values share one."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.annotate import difficulty
from engine.annotate.difficulty import Config, cuts_of_shares
from engine.annotate.difficulty.reading import reading_grades
from engine.annotate.difficulty.steps import count_steps
from engine.base.errors import RecipeError
from engine.base.stage import stage_reads

World = Callable[..., Any]
VALUE, BIN = "difficulty__value", "difficulty__bin"


def details(made: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((made.artifacts["difficulty"] / "details.json").read_text())
    return content


def scored(world: World, values: list[float | None], dtype: Any = pl.Float64) -> Any:
    names = [f"d{number:03}" for number in range(len(values))]
    made = world({"web": dict.fromkeys(names, "x")}, shard_rows=2)
    return made.add_columns(
        "grader", {"grader__score": dict(zip(names, values, strict=True))}, {"grader__score": dtype}
    )


def test_thirds_of_the_documents_are_easy_medium_and_hard(world: World) -> None:
    texts = {"a": "x" * 9, "b": "x", "c": "xx", "d": "x" * 5, "e": "x" * 7, "f": "xxx", "g": None, "h": " \n"}
    made = world({"web": texts}).run(difficulty, Config(by="chars"))
    assert made.columns(VALUE)[VALUE] == [9.0, 1.0, 2.0, 5.0, 7.0, 3.0, None, None]
    assert made.columns(BIN)[BIN] == ["hard", "easy", "easy", "medium", "hard", "medium", None, None]
    assert details(made) == {
        "easy_documents": 2,
        "medium_documents": 2,
        "hard_documents": 2,
        "documents_without_value": 2,
        "cuts": [2.0, 5.0],
    }


def test_words_are_those_of_the_shared_splitter(world: World) -> None:
    made = world({"web": {"a": "two words", "b": "\u5012\u9709", "c": "!?", "d": None}}).run(
        difficulty, Config(by="words")
    )
    assert made.columns(VALUE)[VALUE] == [2.0, 2.0, 0.0, None]


def test_equal_values_share_a_bin_and_details_say_what_the_shares_came_to(world: World) -> None:
    made = scored(world, [1, 1, 1, 1, 2, 3]).run(difficulty, Config(by="grader__score", shares=(50, 30, 20)))
    assert made.columns(BIN)[BIN] == ["easy"] * 4 + ["medium", "hard"]
    assert details(made)["cuts"] == [1.0, 2.0]
    made = scored(world, [5, 5, 5]).run(difficulty, Config(by="grader__score"))
    assert made.columns(BIN)[BIN] == ["medium"] * 3
    assert details(made)["cuts"] == [None, 5.0]


def test_values_that_are_no_numbers_have_no_bin(world: World) -> None:
    values = [float("nan"), float("inf"), None, 0.00004, -0.0, 0.3]
    made = scored(world, values).run(difficulty, Config(by="grader__score", shares=(2, 0, 1)))
    assert made.columns(VALUE)[VALUE] == [None, None, None, 0.0, 0.0, 0.3]
    assert made.columns(BIN)[BIN] == [None, None, None, "easy", "easy", "hard"]


def test_lowest_can_be_hardest(world: World) -> None:
    values: list[float | None] = [0.9, 0.1, 0.5]
    made = scored(world, values).run(difficulty, Config(by="grader__score", hardest="lowest"))
    assert made.columns(BIN)[BIN] == ["easy", "hard", "medium"]
    made = scored(world, values).run(difficulty, Config(by="grader__score", hardest="lowest", cuts=(0.9, 0.2)))
    assert made.columns(BIN)[BIN] == ["easy", "hard", "medium"]


def test_cuts_are_the_last_value_of_a_bin(world: World) -> None:
    made = scored(world, [1, 2, 3, 4], pl.Int64).run(difficulty, Config(by="grader__score", cuts=(2, 3)))
    assert made.columns(BIN)[BIN] == ["easy", "easy", "medium", "hard"]
    assert details(made)["hard_documents"] == 1


def test_column_has_to_hold_numbers(world: World) -> None:
    with pytest.raises(RecipeError, match=r"^effort: by: column license is String\. Needed: a column of numbers"):
        world({"web": {"a": "x"}}).run(difficulty, Config(by="license", **{"as": "effort"}))


def test_corpus_without_values_has_no_bins(world: World) -> None:
    made = world({"web": {"a": None}}).run(difficulty, Config(by="words"))
    assert made.columns(BIN)[BIN] == [None]
    assert details(made)["cuts"] == [None, None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": (0, 0, 0)}, "three whole numbers"),
        ({"shares": (-1, 1, 1)}, "none below 0"),
        ({"shares": (1, 1, 1), "cuts": (1, 2)}, "one of them decides"),
        ({"cuts": (2, 2)}, "they have to rise from easy to hard"),
        ({"cuts": (1, 2), "hardest": "lowest"}, "they have to fall"),
    ],
)
def test_bad_bins_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(by="chars", **options)


def test_text_is_read_only_where_it_is_measured_and_other_bins_need_no_other_part() -> None:
    assert {by: "text" in stage_reads(difficulty, Config(by=by)) for by in ("chars", "words", "a__b")} == {
        "chars": False,
        "words": True,
        "a__b": False,
    }
    assert difficulty.part_config(Config(by="words")) == difficulty.part_config(Config(by="words", cuts=(1, 2)))


@given(st.lists(st.integers(0, 9), min_size=1), st.tuples(*[st.integers(0, 5)] * 3).filter(any))
def test_cuts_are_nearest_to_the_shares(values: list[int], shares: tuple[int, int, int]) -> None:
    counts = pl.Series("value", values, dtype=pl.Float64).value_counts(name="documents").sort("value")
    cuts = cuts_of_shares(counts.with_columns(pl.col("documents").cast(pl.Int64)), shares)
    for cut, wanted in zip(cuts, (shares[0], shares[0] + shares[1]), strict=True):
        below = [sum(value <= end for value in values) for end in (-1, *sorted(set(values)))]
        taken = 0 if cut is None else sum(value <= cut for value in values)
        target = len(values) * wanted / sum(shares)
        assert abs(taken - target) == min(abs(count - target) for count in below)
    assert -1 if cuts[0] is None else cuts[0] <= (cuts[1] if cuts[1] is not None else -1)


def test_bins_do_not_depend_on_shards(world: World) -> None:
    texts = {f"d{number:02}": "word " * (number * 7 % 11) for number in range(30)}
    found = [
        world({"web": texts}, shard_rows=rows).run(difficulty, Config(by="words", shares=(3, 2, 1))).columns(VALUE, BIN)
        for rows in (1, 7, 100)
    ]
    assert found[0] == found[1] == found[2]


def grade(text: str | None) -> float | None:
    value: float | None = reading_grades(pa.chunked_array([pa.array(["x", text], pa.large_string())]))[1]
    return value


def grade_of(words: int, sentences: int, syllables: int) -> float:
    return 0.39 * words / sentences + 11.8 * syllables / words - 15.59


@pytest.mark.parametrize(
    ("text", "words", "sentences", "syllables"),
    [
        ("The cat sat. " * 10, 30, 10, 30),
        ("The cat sat on the mat" + " and the dog ran on" * 4, 26, 1, 26),
        ("Is it? " * 12, 24, 12, 24),
        ("We ran 3.14 miles (all of us!) to see it. " * 3, 27, 6, 27),  # 3.14 is no word; "us!)" is an end
        ("A line\n\nof words\n\n" * 6, 24, 12, 24),  # blank lines end sentences
        ("A line\nof words\n" * 6, 24, 1, 24),
        ("don't stop isn't it " * 6, 24, 1, 24),
        ("table little jumped wanted makes houses " * 4, 24, 1, 40),
        ("na\u00efve caf\u00e9 \u00e9t\u00e9 stra\u00dfe " * 6, 24, 1, 36),
    ],
)  # fmt: skip
def test_grade_counts_words_sentences_and_syllables(text: str, words: int, sentences: int, syllables: int) -> None:
    assert grade(text) == pytest.approx(grade_of(words, sentences, syllables), abs=1e-4)


@pytest.mark.parametrize(
    "text", [None, "", "Too short to say.", "\u0442\u0435\u043a\u0441\u0442 " * 50, "\u5012" * 500]
)
def test_few_words_and_other_scripts_have_no_grade(text: str | None) -> None:
    assert grade(text) is None


def test_one_word_in_ten_may_be_of_another_script() -> None:
    latin, other = "word " * 27, "\u0442\u0435\u043a\u0441\u0442 "
    assert grade(latin + other * 3) is not None
    assert grade(latin + other * 4) is None


def plain_grade(text: str) -> float | None:
    """The rule of the docstring, for ASCII letters, full stops, spaces and line feeds."""
    words = re.findall(r"[a-z]+", text)
    if len(words) < 20:
        return None
    sentences = [part for part in re.split(r"\.(?=[ \n.]|$)|\n *\n", text) if re.search("[a-z]", part)]
    syllables = 0
    for word in words:
        groups = len(re.findall("[aeiouy]+", word))
        silent = re.search(r"[^aeiouy]e$", word) and not re.search(r"[^aeiouy]le$", word)
        silent = silent or re.search(r"[^aeioudty]ed$", word)
        silent = silent or (re.search(r"[^aeiouy]es$", word) and not re.search(r"([cgsxz]|[cs]h)es$", word))
        syllables += max(groups - (1 if silent and groups > 1 else 0), 1)
    return grade_of(len(words), max(len(sentences), 1), syllables)


@given(st.lists(st.sampled_from([*"abelsdtch", "es", "ed", " ", " ", ". ", "\n", ".\n"]), min_size=30, max_size=300))
def test_grade_is_that_of_plain_python(parts: list[str]) -> None:
    text = "".join(parts)
    expected = plain_grade(text)
    assert grade(text) == (None if expected is None else pytest.approx(expected, abs=2e-4))


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=80), min_size=2), st.data())
def test_any_text_has_a_grade_of_its_own(texts: list[str | None], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(texts) - 1))
    longer = [None if text is None else f"{text} plain words " * 12 for text in texts]
    alone = [grade(text) for text in longer]
    cut = pa.chunked_array([pa.array(longer[:1], pa.large_string()), pa.array(longer, pa.large_string()).slice(start)])
    assert reading_grades(cut).to_list() == [alone[0], *alone[start:]]


def test_grades_of_known_books_are_in_their_order(shared_data: Path) -> None:
    folder = shared_data / "corpora/gutenberg"
    grades = {name: grade((folder / name).read_text(encoding="utf-8", errors="replace")) for name in (
        "carroll-alice.txt", "melville-moby_dick.txt", "milton-paradise.txt",
    )}  # fmt: skip
    assert list(grades.values()) == sorted(grades.values(), key=lambda value: value or 0)
    assert 4 < (grades["carroll-alice.txt"] or 0) < 8


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (None, None),
        ("", 0),
        ("It rains. The sun shines.", 0),
        ("It rains, so we stay. Therefore the sun shines.", 2),
        ("It is so, because it is so.", 1),
        ("1. Add.\n2) Subtract\n(3) Divide\n4: Stop\n10.5 kilos\n2024. A year", 4),
        ("Step 1: add\n## Step 2\ncase iv\nSteps are nice", 3),
        ("2 + 3 = 5\nx == y\na <= b\n#### 5", 1),
        ("48 / 2 = 24 clips. 48 + 24 = 72 clips.", 2),
        ("x \u21d2 y\n\\therefore z\nsoap and sinceres", 2),
    ],
)
def test_steps_are_lines_and_sentences_that_carry_one(text: str | None, steps: int | None) -> None:
    assert count_steps(pl.Series([text], dtype=pl.String)).to_list() == [steps]


def test_steps_of_school_problems_follow_the_number_of_calculations(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "benchmarks/gsm8k/test.jsonl").open(encoding="utf-8")]
    solutions = pl.Series([row["answer"] for row in rows])
    counts = pl.DataFrame({
        "calculations": solutions.str.count_matches("<<"),
        "steps": count_steps(solutions.str.replace_all("<<[^>]*>>", "")),
        "chars": solutions.str.len_chars(),
    })  # fmt: skip
    by = {name: counts.select(pl.corr("calculations", name, method="spearman")).item() for name in ("steps", "chars")}
    assert by["steps"] > 0.75
    assert by["steps"] > by["chars"] + 0.1
