"""What held-out documents say of a classifier. Everything is counted in integers; shares are rounded to 1e-4."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.annotate._units import UNITS

CALIBRATION_BINS = 10
WORST = 10
EXCERPT_CHARS = 200
Z_95 = 1.959964


def auc(units: NDArray[np.int64], is_positive: NDArray[np.bool_]) -> dict[str, Any]:
    """Return auc, the share of (positive, negative) pairs ranked rightly, ties half, and its 95 % interval.

    The interval is DeLong's (DeLong, DeLong, Clarke-Pearson 1988), cut to 0..1; it takes the documents for independent.
    Where it has no width (all pairs are right, or all wrong) it is Wilson's for as many trials as the smaller side has
    documents. Both are null where a side is empty, the interval also where a side has a single document.
    """
    positive, negative = (np.bincount(units[side], minlength=UNITS + 1) for side in (is_positive, ~is_positive))
    num_positive, num_negative = int(positive.sum()), int(negative.sum())
    if not num_positive or not num_negative:
        return {"auc": None, "auc_interval_95": None}
    # In half pairs: below counts twice, a tie once.
    below = 2 * (np.cumsum(negative) - negative) + negative
    above = 2 * (num_positive - np.cumsum(positive)) + positive
    value = Fraction(int((positive * below).sum()), 2 * num_positive * num_negative)
    interval = None
    if num_positive > 1 and num_negative > 1:
        variance = _variance(below, positive, num_negative) / num_positive
        spread = Z_95 * math.sqrt(variance + _variance(above, negative, num_positive) / num_negative)
        low, high = float(value) - spread, float(value) + spread
        if spread == 0:
            slack = Z_95**2 / (min(num_positive, num_negative) + Z_95**2)
            low, high = (low - slack, high) if value == 1 else (low, high + slack) if value == 0 else (low, high)
        interval = [round(max(0.0, low), 4), round(min(1.0, high), 4)]
    return {"auc": round(float(value), 4), "auc_interval_95": interval}


def calibration(units: NDArray[np.int64], is_positive: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return the calibration table: per tenth of the score the documents, the positive ones, and the mean score."""
    bins = np.minimum(units * CALIBRATION_BINS // UNITS, CALIBRATION_BINS - 1)
    documents = np.bincount(bins, minlength=CALIBRATION_BINS)
    positives = np.bincount(bins[is_positive], minlength=CALIBRATION_BINS)
    table = []
    for number in range(CALIBRATION_BINS):
        count, total = int(documents[number]), int(units[bins == number].sum())
        table.append(
            {
                "score_from": number / CALIBRATION_BINS,
                "documents": count,
                "positive_documents": int(positives[number]),
                "mean_score": round(total / count / UNITS, 4) if count else None,
                "positive_share": round(int(positives[number]) / count, 4) if count else None,
            }
        )
    return table


def confusion(said: NDArray[np.int64], truth: NDArray[np.int64], labels: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, recall and precision per class, and the table true class -> said class -> documents."""
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(table, (truth, said), 1)
    per_class = {
        name: {
            "held_out_documents": int(table[number].sum()),
            "recall": _share(table[number, number], table[number].sum()),
            "precision": _share(table[number, number], table[:, number].sum()),
        }
        for number, name in enumerate(labels)
    }
    return {
        "accuracy": _share(np.trace(table), table.sum()),
        "per_class": per_class,
        "confusion": {
            name: {other: int(table[row, column]) for column, other in enumerate(labels) if table[row, column]}
            for row, name in enumerate(labels)
        },
    }


def worst(
    examples: pl.DataFrame, errors: NDArray[np.int64], shown: dict[str, list[Any]], is_mistake: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Return the at most ten worst mistakes: name, source, `shown`, length in characters, beginning of the text.

    errors: how wrong each document is; ties in the order of names.
    """
    table = examples.select("name", "source", "text").with_columns(error=pl.Series(errors), **_series(shown))
    found = table.filter(pl.Series(is_mistake)).sort(["error", "source", "name"], descending=[True, False, False])
    chosen = found.head(WORST).with_columns(
        num_chars=pl.col("text").str.len_chars(), excerpt=pl.col("text").str.slice(0, EXCERPT_CHARS)
    )
    return chosen.drop("text", "error").to_dicts()


def _series(columns: dict[str, list[Any]]) -> dict[str, pl.Series]:
    return {name: pl.Series(name, values) for name, values in columns.items()}


def _share(part: Any, whole: Any) -> float | None:
    return round(int(part) / int(whole), 4) if int(whole) else None


def _variance(half_pairs: NDArray[np.int64], counts: NDArray[np.int64], others: int) -> float:
    """Return the sample variance of the share of `others` that each document stands rightly to."""
    number = int(counts.sum())
    total = int((counts * half_pairs).sum())
    squares = sum(int(count) * int(value) ** 2 for count, value in zip(counts, half_pairs, strict=True) if count)
    return float(Fraction(number * squares - total * total, number * (number - 1) * (2 * others) ** 2))
