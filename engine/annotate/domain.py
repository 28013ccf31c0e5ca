"""The domain of every document: what its source states, else the first rule that fits, else a topic model's answer.

A rule gives a domain to documents by their url (a pattern), source or stated language; what a source calls a path can
be mapped to url (`columns: {url: path}`). The model is a fastText classifier of topics: trained on the spot from
sources that are named with their domain, or brought along by path (a folder of ours, any fastText file with labels).

    {stage: domain, rules: [{url: "//[^/]*law", domain: law}], sources: {medquad: medicine, gesetze: law}}

Unknown is a value: a document that nothing decides has no domain, and `min_score` says how sure the model must be. Of
a document at most three windows of 1,000 characters are read (engine.text.windows), its probabilities are their means.
A trained model keeps one document in ten back; accuracy, recall per class and the confusion table are in model.json
beside it (engine.annotate._classifier.fit). fastText holds the GIL.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator, model_validator

from engine.annotate import _rules
from engine.annotate._classifier.examples import choose, corpus_candidates, corpus_texts
from engine.annotate._classifier.fit import Measured, Tested, train_classifier
from engine.annotate._classifier.measure import confusion, worst
from engine.annotate._classifier.options import TrainingOptions, options_of, settings, training_keys
from engine.annotate._classifier.score import as_score, open_classifier, score_documents
from engine.annotate._classifier.texts import Preparation, shard_lines
from engine.annotate._units import UNITS
from engine.base.stage import Column, StageConfig

if TYPE_CHECKING:
    from engine.formats.annotation import Corpus, ShardView

SCOPE = "shard"
VERSION = 1
HOLDS_GIL = True
FILES = ("model",)
ADDS = {
    "domain__label": Column(pl.String, "domain; null where nothing decides"),
    "domain__score": Column(
        pl.Float64, "probability of the model's likeliest label, 0 to 1, rounded to 1e-4; null where it was not asked"
    ),
    "domain__from": Column(pl.String, "what decided: source (it states a domain), rule, model; null where nothing did"),
}
_NAME = r"^[^\W_][\w.-]*$"
_LEAST_CLASSES = 2


class Rule(_rules.Rule):
    """One rule: the domain of all documents for which every condition it names holds."""

    VALUES: ClassVar = {"language": "language"}
    domain: str = Field(min_length=1, description="domain of these documents")
    language: str | None = Field(default=None, description="language as the source states it, the whole value")


class Config(StageConfig, TrainingOptions):
    """Options of domain."""

    stage: Literal["domain"] = "domain"
    rules: tuple[Rule, ...] = Field(default=(), description="rules, the first that fits decides")
    sources: dict[str, str] = Field(
        default_factory=dict, description="source -> domain its documents are examples of: a model is trained from them"
    )
    model: str | None = Field(
        default=None, description="instead of sources: folder of a model trained here, or a fastText file with labels"
    )
    text: Preparation | None = Field(
        default=None, description="how texts are written for `model`: plain, or separated (default: as its folder says)"
    )
    min_score: float = Field(
        default=0.0, ge=0, le=1, description="probability from which the model's answer counts, to 1e-4"
    )

    @model_validator(mode="after")
    def _one_model(self) -> "Config":
        if self.model is not None and self.sources:
            raise ValueError("sources to train on beside a model. Needed: one of the two")
        if self.sources and len(self.classes) < _LEAST_CLASSES:
            raise ValueError(f"all sources are {next(iter(self.classes))}. Needed: examples of at least two domains")
        if not self.sources and (keys := training_keys(self)):
            raise ValueError(f"{', '.join(keys)}: it is for training, but no sources are named. Fix: remove it")
        if self.model is None and self.text is not None:
            raise ValueError("text is for a model that is brought along. Fix: remove it")
        return self

    @field_validator("sources")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        import re

        for domain in value.values():
            if not re.fullmatch(_NAME, domain):
                raise ValueError(f"got the domain '{domain}'. Needed: letters, digits, _, . and -, no white space")
        return value

    @property
    def classes(self) -> dict[str, list[str]]:
        """Domain -> sources that are examples of it, both ascending."""
        return {
            domain: sorted(name for name, named in self.sources.items() if named == domain)
            for domain in sorted(set(self.sources.values()))
        }


def _reads(config: Config) -> tuple[str, ...]:
    # The text only where there is a model to ask.
    has_model = config.model is not None or config.sources
    return (
        "source",
        "url",
        "language",
        "domain",
        *(("doc_id", "text", "text_digest", "num_bytes") if has_model else ()),
    )


READS = _reads


def trains(config: Config) -> bool:
    """Return whether the recipe names sources to train on."""
    return bool(config.sources)


def part_config(config: Config) -> dict[str, Any]:
    """Return the settings that results depend on: those of the training only where there is one."""
    return settings(config, with_training=trains(config))


def train_config(config: Config) -> dict[str, Any]:
    """Return the settings of the model: what it is trained on, and how; not the rules that come before it."""
    return {"sources": config.sources, "options": options_of(config).model_dump(mode="json")}


def training_sources(config: Config) -> tuple[str, ...]:
    """Return the sources that are examples of a domain."""
    return tuple(config.sources)


def train(corpus: "Corpus", config: Config, folder: Path) -> None:
    """Leave model.bin, model.json, worst.json and details.json in `folder` (engine.annotate._classifier.fit).

    Raises RecipeError where a source does not exist or a domain has fewer than 20 texts that no other has.
    """
    places = [f"{config.column_prefix}: sources"] * len(config.classes)
    labels = list(config.classes)
    chosen, shared = choose(corpus_candidates(corpus, config.classes, places), labels, config, places)

    def measure(tested: Tested) -> Measured:
        figures, details, mistakes = _measure(tested, labels)
        return {"texts_of_several_domains": shared, **figures}, details, mistakes

    examples = corpus_texts(corpus, chosen)
    train_classifier(examples, labels, config, folder, config.column_prefix, measure)


def check_files(config: Config) -> None:
    """Raise InputError where the model is none."""
    path = Path(str(config.model))
    open_classifier(path, config.text)


def annotate(shard: "ShardView", config: Config, model: Path | None = None) -> pl.DataFrame:
    """Return domain, score and what decided, for every document of the shard."""
    stated = shard.columns(["source", "url", "language", "domain"])
    by_rule = _rules.first_that_fits((rule, rule.domain) for rule in config.rules)
    known = stated.select(
        stated=pl.when(pl.col("domain").str.strip_chars() != "").then("domain"), rule=by_rule.alias("rule")
    )
    path = model if model is not None else None if config.model is None else Path(config.model)
    if path is None:
        known = known.with_columns(model=pl.lit(None, dtype=pl.String), score=pl.lit(None, dtype=pl.Float64))
    else:
        is_open = known.select(pl.all_horizontal(pl.all().is_null())).to_series()
        known = known.hstack(_ask(shard, config, path, is_open))
    return known.select(
        pl.coalesce("stated", "rule", "model").alias("domain__label"),
        pl.col("score").alias("domain__score"),
        pl.coalesce(
            pl.when(pl.col("stated").is_not_null()).then(pl.lit("source")),
            pl.when(pl.col("rule").is_not_null()).then(pl.lit("rule")),
            pl.when(pl.col("model").is_not_null()).then(pl.lit("model")),
        ).alias("domain__from"),
    )


def _ask(shard: "ShardView", config: Config, path: Path, is_open: pl.Series) -> pl.DataFrame:
    """Return model (its answer, null below min_score) and score, both null where the document is not open."""
    classifier = open_classifier(path, config.text)
    digests = shard.columns(["text_digest"])["text_digest"]
    lines = shard_lines(shard, classifier.text)
    lines = lines.filter(is_open.gather(lines["row"]))
    # A text that is open here may stand in a row above that is not: those must not answer for it.
    asked = pl.select(pl.when(is_open).then(digests)).to_series()
    units = score_documents(classifier, lines, asked)
    best, score = likeliest(units, classifier.labels)
    labels = pl.Series(classifier.labels, dtype=pl.String).gather(best)
    counts = pl.Series((score >= 0) & (score >= round(config.min_score * UNITS)))
    return pl.DataFrame({"labels": labels, "counts": counts, "score": as_score(score)}).select(
        pl.when("counts").then("labels").alias("model"), "score"
    )


def likeliest(units: np.ndarray, labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of the likeliest label of each document, of equal ones the first by name, and its units."""
    by_name = np.array(sorted(range(len(labels)), key=labels.__getitem__))
    best = by_name[np.argmax(units[:, by_name], axis=1)]
    return best, units[np.arange(len(units)), best]


def _measure(tested: Tested, labels: list[str]) -> Measured:
    truth = tested.examples["label"].to_numpy().astype(np.int64)
    said, score = likeliest(tested.units, tuple(labels))
    figures = confusion(said, truth, labels)
    shown = {
        "domain": [labels[label] for label in truth],
        "said": [labels[label] for label in said],
        "score": as_score(score).to_list(),
    }
    mistakes = worst(tested.examples, score, shown, said != truth)
    short = {"accuracy": figures["accuracy"]}
    return figures, short | {"recall": {n: c["recall"] for n, c in figures["per_class"].items()}}, mistakes
