"""What quality and domain share: which documents are taken, what fastText is fed, and what held-out documents say."""

import json
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate._classifier import fit
from engine.annotate._classifier.examples import CANDIDATES, choose, draws, is_held_out
from engine.annotate._classifier.measure import auc, calibration, confusion, worst
from engine.annotate._classifier.options import TrainingOptions
from engine.annotate._classifier.score import Classifier, as_score, open_classifier, score_documents, score_texts
from engine.annotate._classifier.texts import prepare, separated, separated_by_patterns
from engine.base.errors import InputError, RecipeError
from engine.base.hashing import digest_bytes
from engine.text.windows import text_windows

LABELS, PLACES = ("bad", "good"), ("--bad", "--good")


def candidates(rows: list[tuple[int, str, str | None]]) -> pl.DataFrame:
    """(label, name, text), as they would be found."""
    return pl.DataFrame(
        [
            (label, "source", name, None if text is None else digest_bytes(text.encode()), len((text or "").encode()))
            for label, name, text in rows
        ],
        schema=CANDIDATES,
        orient="row",
    )


def named(chosen: pl.DataFrame, label: int) -> list[str]:
    return chosen.filter(pl.col("label") == label)["name"].to_list()


def sides(count: int = 30) -> list[tuple[int, str, str | None]]:
    return [(label, f"{LABELS[label]}{number:03}", f"{label} {number}") for label in (0, 1) for number in range(count)]


def test_equal_texts_count_once_and_those_of_several_classes_not_at_all() -> None:
    rows = [*sides(), (1, "again", "1 5"), (0, "both", "x"), (1, "both", "x"), (1, "blank", None)]
    chosen, shared = choose(candidates(rows), LABELS, TrainingOptions(), PLACES)
    assert shared == 1
    assert sorted(named(chosen, 0)) == [f"bad{number:03}" for number in range(30)]
    assert sorted(named(chosen, 1)) == sorted([f"good{number:03}" for number in range(30) if number != 5] + ["again"])


def test_documents_are_taken_in_the_order_of_the_digests_of_their_texts_up_to_a_number_and_a_size() -> None:
    in_order = sorted(range(30), key=lambda number: digest_bytes(f"1 {number}".encode()))
    chosen, _ = choose(candidates(sides()), LABELS, TrainingOptions(max_documents=25), PLACES)
    assert named(chosen, 1) == [f"good{number:03}" for number in in_order[:25]]
    size = sum(len(f"1 {number}") for number in in_order[:22])
    chosen, _ = choose(candidates(sides()), LABELS, TrainingOptions(max_bytes=size), PLACES)
    assert named(chosen, 1) == [f"good{number:03}" for number in in_order[:22]]


def test_order_of_the_candidates_changes_nothing() -> None:
    rows = [*sides(), *((1, f"copy{number}", f"1 {number}") for number in range(9))]
    one, _ = choose(candidates(rows), LABELS, TrainingOptions(), PLACES)
    other, _ = choose(candidates(rows[::-1]), LABELS, TrainingOptions(), PLACES)
    assert one.equals(other)


def test_too_few_texts_are_an_error_that_says_how_many_another_class_has_too() -> None:
    rows = [(label, f"d{number}", f"text {number}") for label in (0, 1) for number in range(30)]
    with pytest.raises(RecipeError) as failed:
        choose(candidates(rows), LABELS, TrainingOptions(), PLACES)
    assert str(failed.value).startswith(
        "--bad: 0 different texts for the class 'bad', and 30 more that another class has too. Needed: at least 20"
    )
    with pytest.raises(RecipeError, match="--good: 0 different texts for the class 'good'"):
        choose(candidates([row for row in sides() if row[0] == 0]), LABELS, TrainingOptions(), PLACES)


def test_one_in_ten_is_held_out_and_equal_keys_go_together() -> None:
    keys = pl.Series([digest_bytes(f"{number // 2}".encode()) for number in range(4000)], dtype=pl.Binary)
    held_out = is_held_out(keys).to_numpy()
    assert 0.08 < held_out.mean() < 0.12
    assert (held_out[::2] == held_out[1::2]).all()
    assert draws(pl.Series([b"a" * 8 + b"\1" + b"\0" * 7])).tolist() == [1]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Hello,  World!\nBye", ["hello , world ! bye"]),
        ("a\u00a0b\tc\u3000\u201cd\u201d", ["a b c \u201c d \u201d"]),
        ("__label__positive x", ["labelpositive x"]),
        ("a" * 1000 + "b" * 500, ["a" * 1000, "a" * 500 + "b" * 500]),
        ("a" * 1000 + "b" * 1000 + "c" * 1001, ["a" * 1000, "b" * 1000, "c" * 1000]),
        ("a" * 1000 + " " * 3000, ["a" * 1000]),
        (" \n ", []),
        (None, []),
    ],
)
def test_separated_text_is_lower_case_and_its_punctuation_stands_alone(text: str | None, lines: list[str]) -> None:
    assert prepare(text_windows(pl.Series([text], dtype=pl.String)), "separated")["line"].to_list() == lines


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([*map(chr, range(128)), "__label__", "__LABEL__", "_", "\u00c9", "\u3000"])).map(
            "".join
        )
    )
)
def test_texts_of_ascii_are_separated_in_the_compiled_loop_as_by_patterns(texts: list[str]) -> None:
    series = pl.Series(["behind a slice", *texts], dtype=pl.String).slice(1)
    assert separated(series).to_list() == separated_by_patterns(series).to_list()


@given(st.text(alphabet="aB.!\n\r\t\x0b\x0c\x1c\x85\u2028 ", max_size=30))
def test_plain_text_is_the_text_with_the_lines_joined_as_splitlines_finds_them(text: str) -> None:
    lines = prepare(text_windows(pl.Series([text], dtype=pl.String)), "plain")["line"].to_list()
    assert [line.split() for line in lines] == ([" ".join(text.splitlines()).split()] if text.strip() else [])
    assert all("\n" not in line for line in lines)


scored = st.lists(st.tuples(st.sampled_from([0, 1, 2, 5000, 9999, 10_000]), st.booleans()), max_size=30)


@given(scored)
def test_auc_is_the_share_of_pairs_that_are_ranked_rightly(rows: list[tuple[int, bool]]) -> None:
    units = np.array([score for score, _ in rows], dtype=np.int64)
    sides = np.array([side for _, side in rows], dtype=np.bool_)
    pairs = [Fraction(2 * (high > low) + (high == low), 2) for high, low in product(units[sides], units[~sides])]
    found = auc(units, sides)
    assert found["auc"] == (round(float(sum(pairs) / len(pairs)), 4) if pairs else None)
    if found["auc_interval_95"] is not None:
        low, high = found["auc_interval_95"]
        assert 0 <= low <= found["auc"] <= high <= 1


def test_interval_of_the_auc_is_that_of_delong_and_wilsons_where_all_is_right() -> None:
    # Shares of negatives below each positive: 1, 1, 1/2; of positives above each negative: 1, 2/3.
    found = auc(np.array([9, 8, 2, 1, 5]), np.array([True, True, True, False, False]))
    spread = 1.959964 * (Fraction(1, 12) / 3 + Fraction(1, 18) / 2) ** 0.5
    assert found["auc"] == round(5 / 6, 4)
    assert found["auc_interval_95"] == [round(5 / 6 - spread, 4), 1.0]
    perfect = auc(np.array([9] * 20 + [1] * 30), np.array([True] * 20 + [False] * 30))
    assert perfect == {"auc": 1.0, "auc_interval_95": [round(20 / (20 + 1.959964**2), 4), 1.0]}


def test_calibration_of_literal_scores() -> None:
    units, sides = np.array([10_000, 9_000, 5_000, 5_500, 100]), np.array([True, True, True, False, False])
    rows = {row["score_from"]: tuple(row.values())[1:] for row in calibration(units, sides) if row["documents"]}
    assert rows == {0.0: (1, 0, 0.01, 0.0), 0.5: (2, 1, 0.525, 0.5), 0.9: (2, 2, 0.95, 1.0)}
    assert calibration(units, sides)[1]["mean_score"] is None


def test_confusion_counts_what_is_said_of_each_class() -> None:
    found = confusion(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), ["law", "medicine", "none"])
    assert found["accuracy"] == 0.75
    assert found["per_class"]["law"] == {"held_out_documents": 2, "recall": 0.5, "precision": 1.0}
    assert found["per_class"]["none"] == {"held_out_documents": 0, "recall": None, "precision": None}
    assert found["confusion"] == {"law": {"law": 1, "medicine": 1}, "medicine": {"medicine": 2}, "none": {}}


def test_worst_mistakes_are_the_ten_with_the_largest_error() -> None:
    rows = {"source": ["s"] * 30, "name": [f"d{n:02}" for n in range(30)], "text": ["x" * (300 + n) for n in range(30)]}
    found = worst(pl.DataFrame(rows), np.arange(30) // 2, {"score": list(range(30))}, np.arange(30) != 29)
    assert [one["name"] for one in found] == [f"d{n:02}" for n in (28, 26, 27, 24, 25, 22, 23, 20, 21, 18)]
    assert found[0] == {"name": "d28", "source": "s", "score": 28, "num_chars": 328, "excerpt": "x" * 200}


class Counting:
    """A model that says how often it was asked: probability of b by the share of the letter b."""

    labels = ("a", "b")

    def __init__(self) -> None:
        self.lines: list[str] = []

    def probabilities(self, lines: list[str]) -> Any:
        self.lines += lines
        return np.array([[1 - line.count("b") / len(line), line.count("b") / len(line)] for line in lines], np.float32)


def test_score_of_a_long_document_is_the_mean_of_its_windows_in_ten_thousandths() -> None:
    classifier = Classifier(Counting(), ("b", "a"), "plain", (1, 0))  # type: ignore[arg-type]
    texts = pl.Series(["b" * 1000 + "a" * 500, "a", "", None, " \n", "a" * 3000 + "b" * 1000])
    # 1, and 500 of 1,000; nothing of b; no text; 0, 0 and 1.
    assert score_texts(classifier, texts)[:, 0].tolist() == [7500, 0, -1, -1, -1, 3333]
    assert score_texts(classifier, texts)[:, 1].tolist() == [2500, 10_000, -1, -1, -1, 6667]


def test_window_in_which_a_model_knows_nothing_does_not_count() -> None:
    class Silent(Counting):
        def probabilities(self, lines: list[str]) -> Any:
            return super().probabilities(lines) * np.array([["c" not in line] for line in lines], np.float32)

    classifier = Classifier(Silent(), ("a", "b"), "plain", (0, 1))  # type: ignore[arg-type]
    texts = pl.Series(["b" * 1000 + "c" * 1000, "ccc"])
    assert score_texts(classifier, texts).tolist() == [[0, 10_000], [-1, -1]]


def test_equal_texts_are_asked_about_once() -> None:
    model = Counting()
    texts = ["ab", None, "b", "ab", " ", "ab"]
    digests = pl.Series([None if not (text or "").strip() else digest_bytes((text or "").encode()) for text in texts])
    lines = prepare(text_windows(pl.Series(texts, dtype=pl.String)), "plain")
    units = score_documents(Classifier(model, ("a", "b"), "plain", (0, 1)), lines, digests)  # type: ignore[arg-type]
    assert units[:, 1].tolist() == [5000, -1, 10_000, 5000, -1, 5000]
    assert model.lines == ["ab", "b"]


def test_scores_have_four_digits_and_are_null_where_there_is_none() -> None:
    assert as_score(np.array([10_000, 1, 3333, -1, 0])).to_list() == [1.0, 0.0001, 0.3333, None, 0.0]


def test_folder_without_its_parts_or_with_parts_of_another_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a folder without model\.bin and model\.json"):
        open_classifier(tmp_path, None)
    file = tmp_path / "lines.txt"
    file.write_text("__label__x one two\n__label__y three four\n" * 20)
    fasttext.train_supervised(str(file), dim=2, verbose=0, thread=1).save_model(str(tmp_path / "model.bin"))
    (tmp_path / "model.json").write_text(json.dumps({"labels": ["x", "z"]}))
    with pytest.raises(InputError, match=r"model\.json: it does not belong to the model beside it"):
        open_classifier(tmp_path, None)
    with pytest.raises(InputError, match="is no fastText model"):
        open_classifier(file, None)
    assert open_classifier(tmp_path / "model.bin", None).text == "plain"


def test_another_model_under_the_same_name_is_another_model(tmp_path: Path) -> None:
    found = []
    for names in ("xy", "uvw"):
        (tmp_path / "lines.txt").write_text("".join(f"__label__{name} one two\n" for name in names) * 20)
        model = fasttext.train_supervised(str(tmp_path / "lines.txt"), dim=2, verbose=0, thread=1)
        model.save_model(str(tmp_path / "model.bin"))
        found.append(sorted(open_classifier(tmp_path / "model.bin", None).labels))
    assert found == [["x", "y"], ["u", "v", "w"]]


def test_what_fasttext_cannot_learn_from_is_an_error_that_says_why(tmp_path: Path) -> None:
    rows = candidates([(label, f"{label}{n}", f"{'xy'[label]}{n}") for label in (0, 1) for n in range(40)])
    examples = rows.with_columns(text=pl.col("name"))
    with pytest.raises(RecipeError, match=r"here: fastText cannot learn from it \(.*NaN"):
        fit.train_classifier(
            examples, LABELS, TrainingOptions(learning_rate=1e30), tmp_path, "here", lambda _: ({}, {}, [])
        )
