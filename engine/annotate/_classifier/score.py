"""A classifier that was opened, asked about documents.

A document's probability of a label is the mean over its windows, counted in ten-thousandths: each window's probability
is rounded to one, the mean is taken in integers, so that it is the same in any order. A window without anything the
model knows does not count, and a document of such windows alone has no probability.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.annotate._classifier.texts import Preparation, prepare
from engine.annotate._units import UNITS, as_fraction
from engine.base.atomic import read_json
from engine.base.errors import InputError, problem
from engine.text.fasttext_model import Model, load
from engine.text.windows import text_windows


@dataclass(frozen=True)
class Classifier:
    """A model, its labels in the order their columns have, and how texts are written for it."""

    model: Model
    labels: tuple[str, ...]
    text: Preparation
    order: tuple[int, ...]
    """Positions of `labels` among those of the model, which stand in the order of how often they were seen."""

    def units(self, lines: list[str]) -> NDArray[np.int64]:
        """Return the probability of every label for each line in ten-thousandths: (lines, labels)."""
        if not lines:
            return np.zeros((0, len(self.labels)), dtype=np.int64)
        chances = self.model.probabilities(lines)[:, list(self.order)].astype(np.float64)
        return np.rint(chances * UNITS).astype(np.int64)


def open_classifier(path: Path, text: Preparation | None) -> Classifier:
    """Return the classifier of a folder (model.bin, model.json) or of a fastText file, once per process.

    text: how texts are written for it; None: as model.json says, and plain for a file.

    Raises InputError where there is none.
    """
    files = (path / "model.bin", path / "model.json") if path.is_dir() else (path,)
    stats = [file.stat() for file in files if file.is_file()]
    return _open(path, text, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


@lru_cache(maxsize=4)
def _open(path: Path, text: Preparation | None, states: tuple[tuple[int, int], ...]) -> Classifier:  # noqa: ARG001
    # Another file under the same name is another classifier: `states` is only part of the key.
    if not path.is_dir():
        model = load(path)
        return Classifier(model, model.labels, text or "plain", tuple(range(len(model.labels))))
    missing = [name for name in ("model.bin", "model.json") if not (path / name).is_file()]
    if missing:
        needed = "a folder that `provender quality train` left, or a fastText model (.bin)"
        raise InputError(problem(path, f"a folder without {' and '.join(missing)}", needed))
    content, model = read_json(path / "model.json"), load(path / "model.bin")
    labels = content.get("labels", [])
    if sorted(labels) != sorted(model.labels):
        found = "it does not belong to the model beside it"
        raise InputError(problem(path / "model.json", found, "the file that was written with model.bin", "train again"))
    classifier = trained_classifier(path / "model.bin", labels)
    return classifier if text is None else replace(classifier, text=text)


def trained_classifier(path: Path, labels: Sequence[str]) -> Classifier:
    """Return a model that we trained; `labels` in the order they shall have."""
    model = load(path)
    return Classifier(model, tuple(labels), "separated", tuple(model.labels.index(label) for label in labels))


def score_documents(classifier: Classifier, lines: pl.DataFrame, text_digests: pl.Series) -> NDArray[np.int64]:
    """Return the probability of every label for each document in ten-thousandths, -1 where it has no text to read.

    lines: row, line of the documents, written as the classifier reads them; text_digests: one per document. Equal texts
    are asked about once.
    """
    rows = pl.DataFrame({"digest": text_digests}).with_row_index("row")
    first = rows.select(pl.col("row").first().over("digest"))["row"].to_numpy()
    is_first = pl.Series(first == np.arange(len(first)), dtype=pl.Boolean)
    lines = lines.filter(is_first.gather(lines["row"]))
    return _means(lines["row"].to_numpy(), classifier.units(lines["line"].to_list()), len(first))[first]


def score_texts(classifier: Classifier, texts: pl.Series) -> NDArray[np.int64]:
    """Return what `score_documents` does, of texts."""
    lines = prepare(text_windows(texts), classifier.text)
    return _means(lines["row"].to_numpy(), classifier.units(lines["line"].to_list()), len(texts))


def as_score(units: NDArray[np.int64]) -> pl.Series:
    """Return ten-thousandths as Float64, null where negative."""
    values = pl.Series(units)
    return pl.select(pl.when(values >= 0).then(as_fraction(pl.lit(values)))).to_series()


def rounded(numerator: NDArray[np.int64], denominator: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Return the quotient of whole numbers that are not negative, rounded, half up."""
    return (2 * numerator + denominator) // (2 * denominator)


def _means(rows: NDArray[np.uint32], units: NDArray[np.int64], num_rows: int) -> NDArray[np.int64]:
    means = np.full((num_rows, units.shape[1]), -1, dtype=np.int64)
    is_read = units.any(axis=1)
    rows, units = rows[is_read], units[is_read]
    if len(rows):
        starts = np.flatnonzero(np.diff(rows, prepend=np.uint32(0xFFFFFFFF)))
        counts = np.diff(np.append(starts, len(rows)))
        means[rows[starts]] = rounded(np.add.reduceat(units, starts, axis=0), counts[:, None])
    return means
