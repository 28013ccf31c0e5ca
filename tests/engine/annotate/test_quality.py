"""quality: a classifier trained on the spot, the same every time."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from engine.annotate import quality
from engine.annotate.quality import Config, prepare
from engine.base.errors import RecipeError

SCORE = "quality__score"
World = Callable[..., Any]


def sentences(kind: str, number: int) -> str:
    words = {
        "good": "theorem proof lemma therefore conclude evidence method",
        "bad": "buy cheap click now free offer winner",
    }[kind]
    draw = random.Random(f"{kind} {number}")
    return " ".join(draw.choices([*words.split(), "the", "a", "of", "and"], k=60))


def documents(count: int = 60) -> dict[str, dict[str, str | None]]:
    # The last letters of an id decide what is held out, as those of a hash do.
    made = {
        kind: {
            f"{kind[0]}{number:07}{number * 7 % 90 + 33:c}abcdefg": sentences(kind, number) for number in range(count)
        }
        for kind in ("good", "bad")
    }
    return {
        **made,
        "web": {"x-good": sentences("good", 999), "y-bad": sentences("bad", 999), "z-null": None, "z-space": " \n\t"},
    }


def config(**options: Any) -> Config:
    return Config(positive=("good",), negative=("bad",), num_buckets=1000, **options)


def trained(made: Any, folder: Path, **options: Any) -> Path:
    folder.mkdir()
    quality.train(made.corpus(), config(**options), folder)
    return folder


def test_good_documents_score_above_bad_ones_and_blank_ones_have_no_score(world: World) -> None:
    scores = world(documents()).run(quality, config()).by_name(SCORE)
    assert scores["x-good"] > 0.8
    assert scores["y-bad"] < 0.2
    assert scores["z-null"] is scores["z-space"] is None
    assert all(score is None or (0 <= score <= 1 and round(score, 4) == score) for score in scores.values())


def test_model_is_the_same_in_every_run_and_for_any_shards(world: World, tmp_path: Path) -> None:
    docs = documents()
    shuffled = {
        source: dict(random.Random(1).sample(sorted(texts.items()), len(texts))) for source, texts in docs.items()
    }
    one = trained(world(docs, shard_rows=100), tmp_path / "one")
    other = trained(world(shuffled, shard_rows=7), tmp_path / "other")
    assert sorted(path.name for path in one.iterdir()) == ["details.json", "model.bin", "model.json"]
    for name in ("model.bin", "model.json", "details.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert (trained(world(docs), tmp_path / "third", seed=2) / "model.bin").read_bytes() != (
        one / "model.bin"
    ).read_bytes()


def test_model_json_says_how_well_held_out_documents_are_ranked(world: World, tmp_path: Path) -> None:
    sheet = json.loads((trained(world(documents(300)), tmp_path / "model") / "model.json").read_text())
    assert sheet["auc"] == 1.0
    sides = [sheet["positive"], sheet["negative"]]
    assert [side["documents"] + side["held_out_documents"] for side in sides] == [300, 300]
    held_out = sum(side["held_out_documents"] for side in sides)
    assert 0 < held_out < 120
    assert sum(row["documents"] for row in sheet["calibration"]) == held_out
    assert sum(row["positive_documents"] for row in sheet["calibration"]) == sheet["positive"]["held_out_documents"]
    assert sheet["calibration"][0]["positive_documents"] == 0


def test_held_out_documents_are_not_learnt_from(world: World, tmp_path: Path) -> None:
    docs = documents()
    one = trained(world(docs), tmp_path / "one")
    held_out = [
        name for name in docs["good"] if int.from_bytes(name.encode().ljust(16, b"\0")[-8:], "little") % 10 == 0
    ]
    assert held_out
    changed = {**docs, "good": docs["good"] | dict.fromkeys(held_out, sentences("good", 12345))}
    other = trained(world(changed), tmp_path / "other")
    assert (one / "model.bin").read_bytes() == (other / "model.bin").read_bytes()


def test_auc_and_calibration_of_literal_scores() -> None:
    units = pl.Series([10_000, 9_000, 5_000, 5_000, 100, None], dtype=pl.Int64)
    measured = quality._measure(units, pl.Series([1, 1, 1, 0, 0, 1], dtype=pl.Int8).to_numpy())
    assert measured["auc"] == round(5.5 / 6, 4)
    counts = {
        row["score_from"]: (row["documents"], row["positive_documents"])
        for row in measured["calibration"]
        if row["documents"]
    }
    assert counts == {0.0: (1, 0), 0.5: (2, 1), 0.9: (2, 2)}
    assert quality._measure(units, pl.Series([1] * 6, dtype=pl.Int8).to_numpy())["auc"] is None


def test_documents_are_taken_in_the_order_of_their_ids_equal_texts_once(world: World) -> None:
    docs = {name: f"text {number // 2}" for number, name in enumerate(f"d{number:03}" for number in range(100))}
    corpus = world({"good": docs, "bad": docs}).corpus()

    def names(**options: Any) -> list[str]:
        chosen = quality._examples(corpus, config(**options), "positive")
        return [bytes(doc_id).rstrip(b"\0").decode() for doc_id in chosen["doc_id"]]

    assert names(max_documents=25) == [f"d{number:03}" for number in range(0, 50, 2)]
    assert names(max_bytes=6 * 10 + 7 * 15) == [f"d{number:03}" for number in range(0, 50, 2)]


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("Hello,  World!\nBye", ["hello , world ! bye"]),
        ("a\u00a0b\tc\u3000\u201cd\u201d", ["a b c \u201c d \u201d"]),
        ("__label__positive x", ["labelpositive x"]),
        ("a" * 1000, ["a" * 1000]),
        ("a" * 1000 + "b" * 500, ["a" * 1000, "a" * 500 + "b" * 500]),
        ("a" * 1000 + "b" * 1000 + "c" * 1001, ["a" * 1000, "b" * 1000, "c" * 1000]),
        ("a" * 1000 + " " * 3000, ["a" * 1000]),
        ("", []),
        (None, []),
        (" \n ", []),
    ],
)
def test_windows_are_at_the_beginning_middle_and_end(text: str | None, windows: list[str]) -> None:
    assert prepare(pl.Series([text], dtype=pl.String))["window"].to_list() == windows


def test_score_of_a_long_document_is_the_mean_of_its_windows(world: World, tmp_path: Path) -> None:
    model = quality._load(trained(world(documents()), tmp_path / "model"))
    good, bad = ((sentences(kind, 1) + " ") * 9 for kind in ("good", "bad"))
    parts = [good[:1000], bad[:1000]]
    whole = quality._score_units(model, pl.Series(["".join(parts), *parts]))
    assert whole[0] == (whole[1] + whole[2] + 1) // 2
    assert whole[1] != whole[2]


def test_too_few_examples_are_an_error_that_says_how_many_there_are(world: World, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"quality: negative: 5 different texts in bad\. Needed: at least 20"):
        trained(world({"good": documents()["good"], "bad": documents(5)["bad"]}), tmp_path / "model")


def test_unknown_source_is_an_error(world: World, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no source 'bad'"):
        trained(world({"good": documents()["good"]}), tmp_path / "model")


def test_a_source_cannot_be_on_both_sides() -> None:
    with pytest.raises(ValidationError, match="cannot be positive and negative"):
        Config(positive=("a", "b"), negative=("b",))
