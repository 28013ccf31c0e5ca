"""Training: from examples to a folder with the model and what it is worth.

FOLDER/model.bin      the fastText model
FOLDER/model.json     its labels, how texts are written for it, what it was trained on, options, held-out figures
FOLDER/worst.json     the ten worst mistakes among the held-out documents, with the beginnings of their texts
FOLDER/details.json   the figures in short, for the receipt

One thread and a fixed seed: the same examples give the same model.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.annotate._classifier.examples import draws, is_held_out
from engine.annotate._classifier.options import TrainingOptions, options_of
from engine.annotate._classifier.score import score_texts, trained_classifier
from engine.annotate._classifier.texts import prepare
from engine.base.atomic import atomic_file, write_json
from engine.base.errors import RecipeError, problem
from engine.text.fasttext_model import LABEL
from engine.text.windows import text_windows

EXAMPLES = {"label": pl.Int32, "source": pl.String, "name": pl.String, "text_digest": pl.Binary}
EXAMPLES |= {"num_bytes": pl.Int64, "text": pl.String}


@dataclass(frozen=True)
class Tested:
    """What a classifier says of the held-out documents that have a score."""

    examples: pl.DataFrame
    """EXAMPLES of these documents."""
    units: NDArray[np.int64]
    """Probability of every label in ten-thousandths: (documents, labels), in the order of the labels given."""


Measured = tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]
"""What goes into model.json, what into details.json, and the worst mistakes."""


def train_classifier(
    examples: pl.DataFrame,
    labels: Sequence[str],
    options: TrainingOptions,
    folder: Path,
    place: str,
    measure: Callable[[Tested], Measured],
    keys: pl.Series | None = None,
) -> dict[str, Any]:
    """Train on nine in ten of the examples, measure on the rest, leave the folder; return the content of model.json.

    Args:
        examples: EXAMPLES, in any order; with a column `repeats` (UInt32) each is trained on that many times.
        labels: Names of the classes; `label` is a position in them. Letters, digits and _ only.
        options: Of the training.
        folder: Where the files go.
        place: How an error calls the training.
        measure: What the held-out documents say.
        keys: 16 bytes per example that decide what is held out, where documents belong together; else `text_digest`.

    Raises RecipeError where fastText cannot learn from the examples.
    """
    is_tested = is_held_out(examples["text_digest"] if keys is None else keys)
    learnt, tested = examples.filter(~is_tested), examples.filter(is_tested)
    _fit(learnt, labels, options, folder / "model.bin", place)
    counts = {
        name: {
            "sources": sorted(set(learnt.filter(pl.col("label") == label)["source"])),
            "documents": learnt.filter(pl.col("label") == label).height,
            "held_out_documents": tested.filter(pl.col("label") == label).height,
            "bytes": int(learnt.filter(pl.col("label") == label)["num_bytes"].sum()),
        }
        for label, name in enumerate(labels)
    }
    head = {"text": "separated", "labels": list(labels), "classes": counts}
    units = score_texts(trained_classifier(folder / "model.bin", labels), tested["text"])
    is_scored = units[:, 0] >= 0
    figures, short, worst = measure(Tested(tested.filter(pl.Series(is_scored)), units[is_scored]))
    trained = {"fasttext": version("fasttext-community"), "options": options_of(options).model_dump(mode="json")}
    content = {**head, **figures, **trained}
    write_json(folder / "model.json", content)
    write_json(folder / "worst.json", worst)
    details = short | {"trained_documents": learnt.height, "held_out_documents": tested.height}
    write_json(folder / "details.json", details)
    return content


def _repeated(examples: pl.DataFrame) -> pl.DataFrame:
    """Return each row as often as its `repeats` says, the copies' draws as far from each other as can be."""
    if "repeats" not in examples.columns or not examples.height:
        return examples
    repeats = examples["repeats"].to_numpy()
    rows = np.repeat(np.arange(examples.height), repeats)
    copies = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    steps = np.uint64((1 << 64) - 1) // repeats[rows].astype(np.uint64)
    repeated = examples[rows]
    return repeated.with_columns(draw=pl.Series(repeated["draw"].to_numpy() + copies.astype(np.uint64) * steps))


def _fit(learnt: pl.DataFrame, labels: Sequence[str], options: TrainingOptions, path: Path, place: str) -> None:
    import fasttext

    # fastText learns in the order of the file: the classes have to be mixed.
    draw = pl.Series("draw", draws(learnt["text_digest"]), dtype=pl.UInt64)
    mixed = _repeated(learnt.with_columns(draw)).sort("draw", "label")
    lines = prepare(text_windows(mixed["text"]), "separated")
    numbers = mixed["label"].to_numpy()[lines["row"].to_numpy()]
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=path.parent) as scratch:
        file = Path(scratch) / "examples.txt"
        with file.open("w", encoding="utf-8") as out:
            out.writelines(
                f"{LABEL}{labels[number]} {line}\n" for number, line in zip(numbers, lines["line"], strict=True)
            )
        try:
            model = fasttext.train_supervised(
                input=str(file),
                dim=options.dimensions,
                epoch=options.epochs,
                lr=options.learning_rate,
                wordNgrams=options.word_ngrams,
                minCount=options.min_word_count,
                bucket=options.num_buckets,
                seed=options.seed,
                thread=1,
                verbose=0,
            )
        except (ValueError, RuntimeError) as error:
            # No word occurs min_word_count times; or the numbers ran away under too large a step.
            needed = f"words that occur {options.min_word_count} times, and steps that are small enough"
            fix = "give more text, or lower min_word_count or learning_rate"
            raise RecipeError(problem(place, f"fastText cannot learn from it ({error})", needed, fix)) from error
        with atomic_file(path) as temporary:
            model.save_model(str(temporary))
