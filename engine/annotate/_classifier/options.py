"""What a recipe may say about how a classifier is trained."""

from typing import Any

from pydantic import Field

from engine.base.stage import StrictModel


class TrainingOptions(StrictModel):
    """Options of the training; the defaults are for some thousand documents of a class."""

    max_documents: int = Field(default=20_000, ge=1, description="documents per class that are taken")
    max_bytes: int = Field(default=50_000_000, ge=1, description="bytes of text per class, at most 3,000 a document")
    dimensions: int = Field(default=16, ge=1, le=1000, description="length of a word vector")
    epochs: int = Field(default=5, ge=1, description="passes over the examples")
    learning_rate: float = Field(default=0.5, gt=0, description="step size at the start")
    word_ngrams: int = Field(default=2, ge=1, le=5, description="words in a row that count as one feature")
    min_word_count: int = Field(default=2, ge=1, description="occurrences below which a word alone is ignored")
    num_buckets: int = Field(default=1 << 17, ge=1, description="hash buckets of word n-grams")
    seed: int = Field(default=1, ge=0, lt=1 << 31, description="seed of the training")


def options_of(config: TrainingOptions) -> TrainingOptions:
    """Return the options of the training alone, of a stage's configuration that has more."""
    return TrainingOptions(**{name: getattr(config, name) for name in TrainingOptions.model_fields})


def training_keys(config: TrainingOptions) -> list[str]:
    """Return the options of the training that were set, in their order."""
    return [name for name in TrainingOptions.model_fields if name in config.model_fields_set]


def settings(config: TrainingOptions, with_training: bool) -> dict[str, Any]:
    """Return the settings of a stage but its prefix, with or without the options of the training."""
    left_out = {"prefix"} | (set() if with_training else set(TrainingOptions.model_fields))
    return config.model_dump(mode="json", exclude=left_out)
