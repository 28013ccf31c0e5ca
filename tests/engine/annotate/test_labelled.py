"""Labels of people who read documents train quality: alone, beside sources, and in the recipe."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.annotate import quality
from engine.annotate._classifier.examples import CANDIDATES, choose
from engine.annotate._classifier.fit import _repeated
from engine.annotate._classifier.labelled import choose_with_labels, labelled_candidates
from engine.annotate._classifier.options import TrainingOptions
from engine.annotate._classifier.score import open_classifier, score_texts
from engine.annotate.quality import SIDES, Config
from engine.base.errors import InputError, RecipeError
from engine.base.hashing import digest_bytes
from engine.formats.labels import Label, append_labels
from engine.run.pipeline import run
from engine.run.quality_train.show import show_quality_train
from engine.verbs import quality_train
from tests.engine.annotate.test_quality import sentences
from tests.engine.conftest import World

NEUTRAL = "river window table green walk morning bread station letter garden"


def neutral(number: int) -> str:
    return " ".join(random.Random(number).choices(NEUTRAL.split(), k=40))


def made(text: str, label: str, number: int) -> Label:
    row = {"doc_id": str(UUID(int=number)), "label": label, "when": "2026-01-01", "source": "web", "text": text}
    return Label.model_validate(row | {"text_digest": digest_bytes(text.encode()).hex()})


def labels_in(folder: Path, good: int = 60, bad: int = 60) -> Path:
    """Labels of theorems, good, and of advertisements, bad."""
    texts = [("good", number) for number in range(good)] + [("bad", number) for number in range(bad)]
    rows = [made(sentences(kind, number), kind, place) for place, (kind, number) in enumerate(texts)]
    append_labels(folder, rows)
    return folder


def candidates(rows: list[tuple[int, str]]) -> pl.DataFrame:
    frame = [
        {
            "label": side,
            "source": "files",
            "name": f"{place:03}",
            "text_digest": digest_bytes(text.encode()),
            "num_bytes": 5,
        }
        for place, (side, text) in enumerate(rows)
    ]
    return pl.DataFrame(frame, schema=CANDIDATES)


def scores(folder: Path | str) -> list[float]:
    asked = pl.Series([sentences("good", 900), sentences("bad", 900)])
    return [float(units) / 10_000 for units in score_texts(open_classifier(Path(folder), None), asked)[:, 1]]


@pytest.fixture(scope="module")
def neutral_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Files of both sides whose texts are of one kind: nothing in them says what is good."""
    folder = tmp_path_factory.mktemp("neutral")
    for side, first in (("positive", 0), ("negative", 1000)):
        pl.DataFrame({"text": [neutral(first + number) for number in range(100)]}).write_parquet(
            folder / f"{side}.parquet"
        )
    return {side: [folder / f"{side}.parquet"] for side in ("positive", "negative")}


def test_labels_change_what_files_alone_cannot_tell(neutral_files: dict[str, list[Path]], tmp_path: Path) -> None:
    without = quality_train(**neutral_files, workspace=tmp_path)
    assert "labels_of_documents" not in without
    assert all(0.25 < score < 0.75 for score in scores(without["folder"]))
    labels_in(tmp_path / "labels")
    with_labels = quality_train(**neutral_files, labels=True, workspace=tmp_path)
    good, bad = scores(with_labels["folder"])
    assert good > 0.8
    assert bad < 0.2
    assert with_labels["labels_of_documents"] == {"good": 60, "bad": 60, "weight": 1, "also_in_files": 0}
    assert [one["auc"] for one in with_labels["by_source"] if one["source"] == "labels"] != []
    assert "120 of the 320 examples are labels: 60 good, 60 bad." in show_quality_train(with_labels)


def test_labels_alone_train_and_their_order_changes_nothing(tmp_path: Path) -> None:
    labels_in(tmp_path / "a" / "labels")
    (tmp_path / "b" / "labels").mkdir(parents=True)
    lines = (tmp_path / "a/labels/labels.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "b/labels/part.jsonl").write_bytes(b"".join(reversed(lines)))
    one, other = (quality_train(labels=True, workspace=tmp_path / name) for name in "ab")
    assert one["auc"] == 1.0
    assert one["digest"] == other["digest"]
    assert Path(one["folder"]).name == Path(other["folder"]).name
    heavier = quality_train(labels=True, label_weight=3, workspace=tmp_path / "a")
    assert heavier["digest"] != one["digest"]
    assert heavier["labels_of_documents"]["weight"] == 3
    good, bad = scores(heavier["folder"])
    assert (good, -bad) > (scores(one["folder"])[0], -scores(one["folder"])[1])


def test_few_labels_say_what_that_means(neutral_files: dict[str, list[Path]], tmp_path: Path) -> None:
    labels_in(tmp_path / "labels", 4, 4)
    result = quality_train(**neutral_files, labels=True, workspace=tmp_path)
    shown = " ".join(show_quality_train(result).split())
    assert "so few hardly move the model: label more, or let each count more often with --label-weight" in shown
    labels_in(tmp_path / "alone" / "labels", 25, 25)
    shown = " ".join(show_quality_train(quality_train(labels=True, workspace=tmp_path / "alone")).split())
    assert "teach little: try --epochs 50." in shown


def test_too_few_labels_are_an_error_that_says_what_is_there(
    neutral_files: dict[str, list[Path]], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"--labels: 0 documents are labelled good and 0 bad\. Needed: 20 different"):
        quality_train(labels=True, workspace=tmp_path / "none")
    labels_in(tmp_path / "labels", 30, 5)
    fix = r"label 15 more bad documents \(`provender sample --label`\), or give files"
    with pytest.raises(RecipeError, match=rf"30 documents are labelled good and 5 bad\. Needed: .* Fix: {fix}"):
        quality_train(labels=True, workspace=tmp_path)
    negative = neutral_files["negative"]
    assert quality_train(negative=negative, labels=True, workspace=tmp_path)["labels_of_documents"]["bad"] == 5
    labels_in(tmp_path / "few" / "labels", 3, 3)
    found = "with the files 3 different texts are good and 103 bad"
    with pytest.raises(RecipeError, match=found):
        quality_train(negative=negative, labels=True, workspace=tmp_path / "few")
    with pytest.raises(RecipeError, match="--label-weight: there are no labels"):
        quality_train(**neutral_files, label_weight=2, workspace=tmp_path)
    with pytest.raises(RecipeError, match=r"--label-weight: 0\. Needed: a number from 1"):
        quality_train(labels=True, label_weight=0, workspace=tmp_path)
    with pytest.raises(RecipeError, match=r"--positive: no file\. Needed: files of both sides.*, or --labels"):
        quality_train(negative=negative, workspace=tmp_path)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60)), max_size=60), st.randoms())
def test_a_labelled_text_is_one_example_and_the_label_decides(rows: list[tuple[int, int]], draw: random.Random) -> None:
    """Texts 0 to 99 and more in files of both sides, some read by somebody: none is both trained on and held out."""
    files = candidates(
        [(number % 2, f"t{number}") for number in range(100)] + [(side, f"t{text}") for side, text in rows]
    )
    read = draw.sample(range(100), 30)
    labelled = candidates([(draw.randrange(2), f"t{number}") for number in read]).with_columns(text=pl.lit("x"))
    options = TrainingOptions(max_documents=25)
    chosen = choose_with_labels(files, labelled, 2, SIDES, options, "labels")
    taken = chosen.rows()
    assert taken["text_digest"].is_unique().all()
    of_labels = dict(zip(labelled["text_digest"], labelled["label"], strict=True))
    assert not set(chosen.of_files["text_digest"]) & set(of_labels)
    assert all(of_labels[digest] == side for digest, side in chosen.labelled.select("text_digest", "label").rows())
    for side in (0, 1):
        count = sum(one == side for one in of_labels.values())
        assert chosen.labelled.filter(pl.col("label") == side).height == min(count, 25)


def test_labels_that_contradict_each_other_leave_the_text_out(tmp_path: Path) -> None:
    labels_in(tmp_path, 30, 30)
    append_labels(tmp_path, [made(sentences("good", 0), "bad", 500)])
    chosen = choose_with_labels(None, labelled_candidates(tmp_path), 1, SIDES, TrainingOptions(), "labels")
    assert (chosen.shared, chosen.labelled.height) == (1, 59)


def test_without_labels_the_choice_is_that_of_choose() -> None:
    files = candidates([(number % 2, f"t{number}") for number in range(90)])
    none = candidates([]).with_columns(text=pl.lit("x"))
    chosen = choose_with_labels(files, none, 1, SIDES, TrainingOptions(max_documents=30), "labels")
    expected, _ = choose(files, SIDES, TrainingOptions(max_documents=30), ["a", "b"])
    assert chosen.of_files.equals(expected)


def test_repeats_lie_apart_in_the_order_of_learning() -> None:
    frame = pl.DataFrame(
        {"draw": pl.Series([0, 2**63], dtype=pl.UInt64), "repeats": pl.Series([4, 1], dtype=pl.UInt32)}
    )
    repeated = _repeated(frame)
    step = (2**64 - 1) // 4
    assert repeated["draw"].to_list() == [0, step, 2 * step, 3 * step, 2**63]
    assert repeated["draw"].dtype == pl.UInt64
    assert _repeated(frame.drop("repeats")).equals(frame.drop("repeats"))
    assert np.all(np.diff(repeated["draw"].to_numpy()[:4]) > 0)


def documents() -> dict[str, dict[str, str | None]]:
    return {"web": {f"n{number:03}": neutral(number) for number in range(40)} | {"x": sentences("good", 7), "z": None}}


def test_a_recipe_takes_labels_alone_or_beside_sources(world: Callable[..., World], tmp_path: Path) -> None:
    labels = str(labels_in(tmp_path / "labels"))
    here = world(documents())
    (tmp_path / "alone").mkdir()
    quality.train(here.corpus(), Config(labels=labels), tmp_path / "alone")
    sheet = json.loads((tmp_path / "alone" / "model.json").read_text())
    assert sheet["labels_of_documents"]["good"] == 60
    assert sheet["classes"]["positive"]["sources"] == ["labels"]
    (tmp_path / "both").mkdir()
    config = Config(labels=labels, negative=("web",), label_weight=2)
    quality.train(here.corpus(), config, tmp_path / "both")
    sheet = json.loads((tmp_path / "both" / "model.json").read_text())
    assert sheet["classes"]["negative"]["sources"] == ["labels", "web"]
    # The good text stands in the source that is called bad: the label decides.
    assert sheet["labels_of_documents"] == {"good": 60, "bad": 60, "weight": 2, "also_in_files": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "l", "model": "m.bin"}, "labels to train on beside a model"),
        ({"label_weight": 2, "positive": ("a",), "negative": ("b",)}, "label_weight without labels"),
        ({"labels": "l", "label_weight": 0}, "label_weight"),
        ({"labels": "l", "positive_label": "hq"}, "positive_label and text are for a model"),
    ],
)
def test_labels_where_they_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**options)


def test_labels_of_a_recipe_are_checked_before_work_and_a_new_one_makes_the_model_stale(tmp_path: Path) -> None:
    rows = [{"text": neutral(number)} for number in range(3)] + [{"text": sentences("bad", 7)}]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "r",
        "sources": [{"stage": "jsonl", "name": "web", "path": "web.jsonl"}],
        "annotate": [{"stage": "quality", "labels": "labels"}],
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    with pytest.raises((RecipeError, InputError), match=r"quality\.labels: no file 'labels'"):
        run(tmp_path / "r.yaml", tmp_path / "ws")
    labels_in(tmp_path / "labels", 30, 3)
    with pytest.raises(RecipeError, match="30 documents are labelled good and 3 bad"):
        run(tmp_path / "r.yaml", tmp_path / "ws")
    labels_in(tmp_path / "labels", 30, 30)
    states = []
    for step in ("first", "again", "one more"):
        if step == "one more":
            append_labels(tmp_path / "labels", [made(neutral(1), "bad", 700)])
        result = run(tmp_path / "r.yaml", tmp_path / "ws")
        states.append([one["state"] for one in result["steps"] if one["name"].startswith("quality")])
    assert states == [["made", "made"], ["fresh", "fresh"], ["made", "made"]]
