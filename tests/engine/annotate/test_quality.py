"""quality: a classifier trained on the spot, the same every time, or one that is brought along."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fasttext
import polars as pl
import pytest
from pydantic import ValidationError

from engine.annotate import quality
from engine.annotate._classifier.examples import is_held_out
from engine.annotate.quality import Config, label_weights
from engine.base.errors import InputError, RecipeError
from engine.base.hashing import digest_bytes
from engine.base.stage import stage_trains
from tests.engine.conftest import World

SCORE = "quality__score"
GOOD = "theorem proof lemma function integral matrix vector field group ring algebra topology measure limit"
BAD = "click buy cheap offer discount login subscribe winner prize casino free deal sale coupon"
MADE = ["details.json", "model.bin", "model.json", "worst.json"]


def sentences(kind: str, number: int) -> str:
    words = {"good": GOOD, "bad": BAD}[kind]
    draw = random.Random(f"{kind} {number}")
    return " ".join(draw.choices([*words.split(), "the", "a", "of", "and"], k=60))


def documents(count: int = 60) -> dict[str, dict[str, str | None]]:
    made = {
        kind: {f"{kind}{number:04}": sentences(kind, number) for number in range(count)} for kind in ("good", "bad")
    }
    return {
        **made,
        "web": {"x-good": sentences("good", 999), "y-bad": sentences("bad", 999), "z-null": None, "z-space": " \n\t"},
    }


def config(**options: Any) -> Config:
    return Config(positive=("good",), negative=("bad",), num_buckets=1000, **options)


def trained(made: World, folder: Path, **options: Any) -> Path:
    folder.mkdir()
    quality.train(made.corpus(), config(**options), folder)
    return folder


def foreign(folder: Path, labels: dict[str, str], name: str = "other.bin") -> str:
    """A fastText file as others make them: label -> words of its examples, upper and lower case kept."""
    draw = random.Random(1)
    lines = [
        f"__label__{label} {' '.join(draw.choices(words.split(), k=20))}\n" for label, words in labels.items()
    ] * 100
    (folder / "lines.txt").write_text("".join(lines))
    fasttext.train_supervised(str(folder / "lines.txt"), dim=8, epoch=5, lr=0.5, verbose=0, thread=1).save_model(
        str(folder / name)
    )
    return str(folder / name)


def test_good_documents_score_above_bad_ones_and_blank_ones_have_no_score(world: Callable[..., World]) -> None:
    scores = world(documents()).run(quality, config()).by_name(SCORE)
    assert scores["x-good"] > 0.8
    assert scores["y-bad"] < 0.2
    assert scores["z-null"] is scores["z-space"] is None
    assert all(score is None or (0 <= score <= 1 and round(score, 4) == score) for score in scores.values())


def test_model_is_the_same_in_every_run_and_for_any_shards(world: Callable[..., World], tmp_path: Path) -> None:
    docs = documents()
    shuffled = {
        source: dict(random.Random(1).sample(sorted(texts.items()), len(texts))) for source, texts in docs.items()
    }
    one = trained(world(docs, shard_rows=100), tmp_path / "one")
    other = trained(world(shuffled, shard_rows=7), tmp_path / "other")
    assert sorted(path.name for path in one.iterdir()) == MADE
    for name in MADE:
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert (trained(world(docs), tmp_path / "third", seed=2) / "model.bin").read_bytes() != (
        one / "model.bin"
    ).read_bytes()


def test_model_json_says_how_well_held_out_documents_are_ranked(world: Callable[..., World], tmp_path: Path) -> None:
    folder = trained(world(documents(300)), tmp_path / "model")
    sheet = json.loads((folder / "model.json").read_text())
    assert sheet["auc"] == 1.0
    sides = list(sheet["classes"].values())
    assert [side["documents"] + side["held_out_documents"] for side in sides] == [300, 300]
    held_out = sum(side["held_out_documents"] for side in sides)
    assert 0 < held_out < 120
    assert sum(row["documents"] for row in sheet["calibration"]) == held_out
    positive = sheet["classes"]["positive"]["held_out_documents"]
    assert sum(row["positive_documents"] for row in sheet["calibration"]) == positive
    assert [(row["source"], row["auc"]) for row in sheet["by_source"]] == [("good", 1.0), ("bad", 1.0)]
    assert json.loads((folder / "details.json").read_text()) == {
        "auc": 1.0,
        "auc_interval_95": sheet["auc_interval_95"],
        "trained_documents": 600 - held_out,
        "held_out_documents": held_out,
    }


def test_worst_mistakes_are_held_out_documents_on_the_wrong_side(world: Callable[..., World], tmp_path: Path) -> None:
    docs = documents(300)
    held_out = [
        name for name, text in docs["good"].items() if is_held_out(pl.Series([digest_bytes(str(text).encode())]))[0]
    ]
    # A bad text among the good ones, such that it is held out.
    number = next(
        n for n in range(1000, 2000) if is_held_out(pl.Series([digest_bytes(sentences("bad", n).encode())]))[0]
    )
    made = world({**docs, "good": docs["good"] | {"astray": sentences("bad", number)}})
    worst = json.loads((trained(made, tmp_path / "model") / "worst.json").read_text())
    assert len(worst) == 10
    assert (worst[0]["name"], worst[0]["side"]) == (b"astray".ljust(16, b"\0").hex(), "positive")
    assert worst[0]["score"] < 0.2
    assert worst[0]["excerpt"] == sentences("bad", number)[:200]
    errors = [1 - one["score"] if one["side"] == "positive" else one["score"] for one in worst]
    assert errors == sorted(errors, reverse=True)
    good = {bytes.fromhex(one["name"]).rstrip(b"\0").decode() for one in worst if one["side"] == "positive"}
    assert good <= {*held_out, "astray"}


def test_held_out_documents_are_not_learnt_from(world: Callable[..., World], tmp_path: Path) -> None:
    docs = documents()
    one = trained(world(docs), tmp_path / "one")
    texts = list(docs["good"].items())
    held_out = is_held_out(pl.Series([digest_bytes(str(text).encode()) for _, text in texts], dtype=pl.Binary))
    assert held_out.any()
    less = {name: text for (name, text), is_one in zip(texts, held_out, strict=True) if not is_one}
    other = trained(world({**docs, "good": less}), tmp_path / "other")
    assert (one / "model.bin").read_bytes() == (other / "model.bin").read_bytes()


def test_texts_of_both_sides_teach_nothing_and_are_counted(world: Callable[..., World], tmp_path: Path) -> None:
    docs = documents()
    shared = {f"shared{number}": f"{sentences('good', 5000 + number)}" for number in range(5)}
    one = trained(world(docs), tmp_path / "one")
    other = trained(world({**docs, "good": docs["good"] | shared, "bad": docs["bad"] | shared}), tmp_path / "other")
    assert json.loads((other / "model.json").read_text())["texts_of_both_sides"] == 5
    assert (one / "model.bin").read_bytes() == (other / "model.bin").read_bytes()


def test_a_model_that_is_brought_along_gives_the_scores_it_gave_where_it_was_trained(
    world: Callable[..., World], tmp_path: Path
) -> None:
    made = world(documents())
    folder = trained(made, tmp_path / "model")
    given = Config(model=str(folder))
    assert stage_trains(quality, config())
    assert not stage_trains(quality, given)
    assert made.run(quality, given).by_name(SCORE) == made.run(quality, config()).by_name(SCORE)


def test_dclms_labels_are_known_and_its_texts_keep_case_and_punctuation(
    world: Callable[..., World], tmp_path: Path
) -> None:
    path = foreign(tmp_path, {"hq": "Proof, LEMMA Field.", "cc": "proof lemma field buy"})
    made = world({"web": {"a": "Proof,\nLEMMA Field.\nProof,", "b": "proof lemma buy\n\nfield", "c": None}})
    scores = made.run(quality, Config(model=path)).by_name(SCORE)
    assert scores["a"] > 0.9
    assert scores["b"] < 0.1
    assert scores["c"] is None
    other = made.run(quality, Config(model=path, positive_label="__label__cc")).by_name(SCORE)
    assert [other[name] for name in "ab"] == [pytest.approx(1 - scores[name], abs=2e-4) for name in "ab"]
    assert made.run(quality, Config(model=path, text="separated")).by_name(SCORE)["a"] < 0.5


def test_score_of_numbered_labels_is_the_expected_label_by_the_largest(
    world: Callable[..., World], tmp_path: Path
) -> None:
    path = foreign(tmp_path, {"0": "aaa bbb", "2": "ccc ddd", "4": "eee fff"})
    made = world({"web": {"low": "aaa bbb aaa bbb", "middle": "ccc ddd ccc", "high": "eee fff eee"}})
    scores = made.run(quality, Config(model=path)).by_name(SCORE)
    assert scores == {
        "low": pytest.approx(0, abs=0.1),
        "middle": pytest.approx(0.5, abs=0.1),
        "high": pytest.approx(1, abs=0.1),
    }
    model = fasttext.load_model(path)
    labels, chances = model.predict("ccc ddd ccc", k=3)
    expected = sum(int(label[9:]) * chance for label, chance in zip(labels, chances, strict=True)) / 4
    assert scores["middle"] == pytest.approx(expected, abs=1.1e-4)


@pytest.mark.parametrize(
    ("labels", "positive", "weights"),
    [
        (("cc", "hq"), None, [0, 1]),
        (("Positive", "negative"), None, [1, 0]),
        (("0", "1"), None, [0, 1]),
        (("3", "0", "5"), None, [3, 0, 5]),
        (("low", "mid", "high"), "mid", [0, 1, 0]),
        (("x", "y"), "__label__y", [0, 1]),
    ],
)
def test_labels_count_what_they_are_known_for(
    labels: tuple[str, ...], positive: str | None, weights: list[int]
) -> None:
    assert label_weights(labels, positive, Path("m.bin")).tolist() == weights


@pytest.mark.parametrize(
    ("labels", "positive", "message"),
    [
        (("x", "y"), None, "m.bin: labels x, y, of which none is known to be the good one. Needed: .* positive_label"),
        (("low", "mid", "high"), None, "none is known to be the good one"),
        (("hq", "good"), None, "none is known"),
        (("x", "y"), "z", r"m.bin: no label 'z' \(have: x, y\)\. Fix: positive_label: x, or another of these\."),
        (("hq",), None, "a model with the only label 'hq', which gives every text the same"),
        (("0", "00"), None, "none is known"),
    ],
)
def test_labels_that_say_nothing_are_an_error_that_lists_them(
    labels: tuple[str, ...], positive: str | None, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        label_weights(labels, positive, Path("m.bin"))


@pytest.mark.parametrize("content", [b"", b"PAR1 this is no model", b"\xba\x16O/\x0c\0\0\0"])
def test_a_file_that_is_no_fasttext_model_is_an_error(
    world: Callable[..., World], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.bin: .* Needed: a supervised fastText model"):
        world(documents(2)).run(quality, Config(model=str(tmp_path / "model.bin")))


def test_too_few_examples_are_an_error_that_says_how_many_there_are(
    world: Callable[..., World], tmp_path: Path
) -> None:
    with pytest.raises(
        RecipeError, match=r"quality: negative: 10 different texts for the class 'negative'\. Needed: at"
    ):
        trained(world({"good": documents()["good"], "bad": documents(10)["bad"]}), tmp_path / "model")


def test_unknown_source_is_an_error(world: Callable[..., World], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no source 'bad'"):
        trained(world({"good": documents()["good"]}), tmp_path / "model")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positive": ("a", "b"), "negative": ("b",)}, "b: a source cannot be positive and negative"),
        ({"positive": ("a",)}, "negative names no source.*one class teaches nothing"),
        ({"negative": ("a",)}, "positive names no source"),
        ({}, "nothing says what is good"),
        ({"model": "m.bin", "positive": ("a",), "negative": ("b",)}, "sources to train on beside a model"),
        ({"model": "m.bin", "epochs": 3}, "epochs: it is for training, but the recipe brings a model"),
        ({"positive": ("a",), "negative": ("b",), "text": "plain"}, "for a model that is brought along"),
    ],
)
def test_a_config_that_says_two_things_or_half_a_thing_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**options)


def test_real_proposals_are_told_from_damaged_ones(
    shared_data: Path, world: Callable[..., World], tmp_path: Path
) -> None:
    texts = [path.read_text()[:3000] for path in sorted((shared_data / "corpora" / "peps" / "peps").glob("*.rst"))]

    def shuffled(number: int, text: str) -> str:
        words = text.split()
        random.Random(number).shuffle(words)
        return " ".join(words)

    docs = {
        "good": {f"g{number:03}": " ".join(text.split()) for number, text in enumerate(texts)},
        "bad": {f"b{number:03}": shuffled(number, text) for number, text in enumerate(texts)},
    }
    by_ngrams = {}
    for ngrams in (1, 2):
        folder = trained(world(docs, shard_rows=50), tmp_path / f"model{ngrams}", word_ngrams=ngrams, epochs=10)
        by_ngrams[ngrams] = json.loads((folder / "model.json").read_text())["auc"]
    # A bag of single words cannot see their order; a bag of pairs can.
    assert by_ngrams[2] > 0.85
    assert by_ngrams[1] < 0.7
