"""A quality score per document: the probability that it belongs to the good examples, by a fastText classifier.

Either trained on the spot, from sources the recipe names as positive and negative; or brought along: `model` is a
folder that `provender quality train` left, or any fastText file with labels, such as those of DCLM (hq, cc) and
FineWeb-Edu (0 to 5, whose score is the expected label divided by the largest).

    {stage: quality, positive: [textbooks], negative: [crawl]}

`labels` is a file or folder of labels (engine.formats.labels), with or without sources: what somebody said who read the
documents. A label is one example of its side, trained on as often as `label_weight` says; it is always taken, and
decides over a source that has the same text.

Of a document at most three windows of 1,000 characters are read (engine.text.windows), and its score is their mean.
Whoever published a model may have scored whole documents, so a threshold of theirs is a start, not the same cut. Equal
texts of a shard are asked about once.

Of what was trained here one document in ten is held out. It says how well the model ranks (AUC), whether its
probabilities mean what they say (calibration table), and what it gets wrong: model.json and worst.json beside the model
(engine.annotate._classifier.fit). fastText holds the GIL.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from engine.annotate._classifier.examples import choose, corpus_candidates, corpus_texts
from engine.annotate._classifier.fit import Measured, Tested, train_classifier
from engine.annotate._classifier.labelled import choose_with_labels, labelled_candidates
from engine.annotate._classifier.measure import auc, calibration, worst
from engine.annotate._classifier.options import TrainingOptions, settings, training_keys
from engine.annotate._classifier.score import as_score, open_classifier, rounded, score_documents
from engine.annotate._classifier.texts import Preparation, shard_lines
from engine.annotate._units import UNITS
from engine.base.errors import RecipeError, problem
from engine.base.stage import Column, StageConfig
from engine.text.fasttext_model import LABEL

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus, ShardView

SCOPE = "shard"
VERSION = 2
HOLDS_GIL = True
READS = ("doc_id", "text", "text_digest", "num_bytes")
FILES = ("model", "labels")
ADDS = {
    "quality__score": Column(
        pl.Float64, "probability of the positive side, 0 to 1, rounded to 1e-4; null without text to read"
    )
}
SIDES = ("negative", "positive")
MOST_REPEATS = 1000
KNOWN_POSITIVE = ("positive", "pos", "hq", "high_quality", "good", "keep", "high", "wiki", "1")
"""Labels of well-known classifiers for what is wanted: DCLM says hq, RedPajama and GPT-3's likeness wiki."""


class Config(StageConfig, TrainingOptions):
    """Options of quality."""

    stage: Literal["quality"] = "quality"
    positive: tuple[str, ...] = Field(default=(), description="sources of good examples")
    negative: tuple[str, ...] = Field(default=(), description="sources of bad examples")
    labels: str | None = Field(
        default=None, description="more examples: labels of a workspace (its folder labels/), or a file of such"
    )
    label_weight: int = Field(
        default=1, ge=1, le=MOST_REPEATS, description="how often a labelled example is trained on"
    )
    model: str | None = Field(
        default=None, description="instead of them: folder of `provender quality train`, or a fastText file"
    )
    positive_label: str | None = Field(default=None, description="label of `model` whose probability is the score")
    text: Preparation | None = Field(
        default=None, description="how texts are written for `model`: plain, or separated (default: as its folder says)"
    )

    @model_validator(mode="after")
    def _one_way(self) -> "Config":
        if self.model is None:
            _check_sides(self)
        elif self.positive or self.negative or self.labels is not None:
            given = "labels" if self.labels is not None else "sources"
            raise ValueError(f"{given} to train on beside a model. Needed: one of the two")
        elif keys := training_keys(self):
            raise ValueError(f"{', '.join(keys)}: it is for training, but the recipe brings a model. Fix: remove it")
        return self


def _check_sides(config: Config) -> None:
    has_labels = config.labels is not None
    missing = [] if has_labels else [side for side in ("positive", "negative") if not getattr(config, side)]
    if len(missing) == 2:
        raise ValueError("nothing says what is good. Needed: positive and negative, lists of sources, or model, a path")
    if config.label_weight != 1 and not has_labels:
        raise ValueError("label_weight without labels. Needed: labels, a path")
    if missing:
        raise ValueError(f"{missing[0]} names no source. Needed: examples of both sides, for one class teaches nothing")
    if both := sorted(set(config.positive) & set(config.negative)):
        raise ValueError(f"{', '.join(both)}: a source cannot be positive and negative")
    if config.positive_label is not None or config.text is not None:
        raise ValueError("positive_label and text are for a model that is brought along. Fix: remove them")


def trains(config: Config) -> bool:
    """Return whether the recipe names sources to train on."""
    return config.model is None


def part_config(config: Config) -> dict[str, Any]:
    """Return the settings that results depend on: those of the training only where there is one."""
    return settings(config, with_training=trains(config))


def training_sources(config: Config) -> tuple[str, ...]:
    """Return the sources of both sides."""
    return (*config.positive, *config.negative)


def train(corpus: "Corpus", config: Config, folder: Path) -> None:
    """Leave model.bin, model.json, worst.json and details.json in `folder` (engine.annotate._classifier.fit).

    Raises RecipeError where a source does not exist or a side has fewer than 20 texts that the other has not.
    """
    sources = {side: getattr(config, side) for side in SIDES}
    places = [f"{config.column_prefix}: {side}" for side in SIDES]
    if config.labels is None:
        chosen, shared = choose(corpus_candidates(corpus, sources, places), SIDES, config, places)
        fit_quality(corpus_texts(corpus, chosen), shared, config, folder, config.column_prefix)
        return
    candidates = corpus_candidates(corpus, sources, places) if any(sources.values()) else None
    labelled = labelled_candidates(Path(config.labels), config.field)
    found = choose_with_labels(
        candidates, labelled, config.label_weight, SIDES, config, f"{config.column_prefix}: labels"
    )
    of_files = (
        found.of_files.with_columns(text=pl.lit("")) if candidates is None else corpus_texts(corpus, found.of_files)
    )
    fit_quality(found.examples(of_files), found.shared, config, folder, config.column_prefix, labels=found.figures)


def fit_quality(
    examples: pl.DataFrame,
    shared_texts: int,
    options: TrainingOptions,
    folder: Path,
    place: str,
    keys: pl.Series | None = None,
    labels: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train from examples whose label is a position in SIDES; what a recipe and `quality train` both do.

    Arguments and errors are those of engine.annotate._classifier.fit.train_classifier; shared_texts: how many texts
    both sides had, labels: how many examples are labels, for the record. Returns the content of model.json.
    """

    def measure(tested: Tested) -> Measured:
        figures, details, mistakes = _measure(tested)
        given = {} if labels is None else {"labels_of_documents": labels}
        return {"texts_of_both_sides": shared_texts, **given, **figures}, details, mistakes

    return train_classifier(examples, SIDES, options, folder, place, measure, keys)


def check_files(config: Config) -> None:
    """Raise InputError where the model or the labels are none, RecipeError where they cannot do alone.

    That is where no label of the model is known to be the positive one, or too few documents are labelled.
    """
    if config.labels is not None:
        labelled = labelled_candidates(Path(config.labels), config.field)
        if not config.positive and not config.negative:
            choose_with_labels(None, labelled, 1, SIDES, config, f"{config.column_prefix}: labels")
        return
    path = Path(str(config.model))
    classifier = open_classifier(path, config.text)
    label_weights(classifier.labels, config.positive_label, path)


def annotate(shard: "ShardView", config: Config, model: Path | None = None) -> pl.DataFrame:
    """Return the score of every document of the shard."""
    path = model if model is not None else Path(str(config.model))
    classifier = open_classifier(path, config.text)
    weights = label_weights(classifier.labels, config.positive_label, path)
    digests = shard.columns(["text_digest"])["text_digest"]
    units = score_documents(classifier, shard_lines(shard, classifier.text), digests)
    scores = rounded(np.maximum(units, 0) @ weights, int(weights.max()))
    return pl.DataFrame({"quality__score": as_score(np.where(units[:, 0] < 0, -1, np.minimum(scores, UNITS)))})


@lru_cache(maxsize=4)
def label_weights(labels: tuple[str, ...], positive: str | None, path: Path) -> NDArray[np.int64]:
    """Return what each label counts; the score is the sum of probability times count, divided by the largest count.

    The positive label counts 1: the one named, or of two labels the one in KNOWN_POSITIVE, in any case. Labels that are
    all whole numbers count what they say. Raises RecipeError where neither is so.
    """
    if len(labels) < 2:
        found = f"a model with the only label '{''.join(labels)}', which gives every text the same"
        raise RecipeError(problem(path, found, "a classifier of at least two classes"))
    if positive is not None:
        name = positive.removeprefix(LABEL)
        if name not in labels:
            found = f"no label '{name}' (have: {', '.join(sorted(labels))})"
            raise RecipeError(problem(path, found, fix=f"positive_label: {min(labels)}, or another of these"))
        return np.array([label == name for label in labels], dtype=np.int64)
    if all(label.isascii() and label.isdigit() and len(label) <= 4 for label in labels) and any(map(int, labels)):
        return np.array([int(label) for label in labels], dtype=np.int64)
    known = [label for label in labels if label.lower() in KNOWN_POSITIVE]
    if len(labels) == 2 and len(known) == 1:
        return np.array([label == known[0] for label in labels], dtype=np.int64)
    found = f"labels {', '.join(sorted(labels))}, of which none is known to be the good one"
    raise RecipeError(problem(path, found, "the label whose probability is the score", "name it with positive_label"))


def _measure(tested: Tested) -> Measured:
    units, is_positive = tested.units[:, 1], tested.examples["label"].to_numpy() == 1
    ranked = auc(units, is_positive)
    sources = tested.examples["source"].to_numpy()
    by_source = [
        {"source": source, "side": SIDES[side], "held_out_documents": int(is_one.sum())}
        | auc(units[is_one | is_other], is_positive[is_one | is_other])
        for side in (1, 0)
        for source in sorted(set(sources[is_positive == bool(side)]))
        for is_one in [(sources == source) & (is_positive == bool(side))]
        for is_other in [is_positive != bool(side)]
    ]
    errors = np.where(is_positive, UNITS - units, units)
    shown = {"side": [SIDES[int(side)] for side in is_positive], "score": as_score(units).to_list()}
    mistakes = worst(tested.examples, errors, shown, np.ones(len(errors), dtype=np.bool_))
    figures = {**ranked, "by_source": by_source, "calibration": calibration(units, is_positive)}
    return figures, ranked, mistakes
