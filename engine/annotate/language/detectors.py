"""Who is asked for the language of a line: the detector that comes with the package, or a fastText model.

The embedded one is ELD (`eldc`, Apache-2.0): 60 languages, n-grams of up to six bytes, no file to load. Its score is
1 - exp(-1e-4 w), w the mean weight of the line's n-grams in that language: how familiar the line is, no probability.
It reads the first 1,000 bytes of what it is given. A fastText model answers with probabilities.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.errors import RecipeError, unknown
from engine.text import fasttext_model
from engine.text.language_codes import codes

CANDIDATES = 5
"""Languages a line is given at most."""
_ANSWERS = pl.Schema({"line": pl.UInt32, "language": pl.UInt16, "score": pl.Float32})


@dataclass(frozen=True)
class Detector:
    """Something that knows languages."""

    languages: tuple[str, ...]
    """Codes it answers with, sorted."""
    ask: Callable[[Sequence[str]], pl.DataFrame]
    """Lines -> line (UInt32), language (UInt16, position in `languages`), score (Float32); none for a line without."""


def detector(model: str | None, languages: Sequence[str] | None) -> Detector:
    """Return the detector of a recipe; `languages` are the only ones it answers with, None is all it knows.

    Raises InputError where the model is no fastText classifier, RecipeError where it has no label for a language.
    """
    wanted = None if languages is None else frozenset(codes(languages))
    return _embedded(wanted) if model is None else _fasttext(fasttext_model.load(Path(model)), wanted)


def embedded_languages() -> tuple[str, ...]:
    """Return the languages the embedded detector knows, sorted."""
    import eldc

    return tuple(sorted(eldc.LANGUAGES))


def check_languages(wanted: Sequence[str] | frozenset[str], known: Sequence[str]) -> None:
    """Raise RecipeError for a language there is no answer for."""
    for language in sorted(wanted):
        if language not in known:
            raise RecipeError(unknown("languages", "language", language, known))


@lru_cache(maxsize=2)
def _embedded(wanted: frozenset[str] | None) -> Detector:
    import eldc

    eldc.init()
    # An instance has settings of its own; those of the package hold for everybody in the process.
    instance = eldc.instance()
    instance.set_scores(CANDIDATES)
    known = embedded_languages()
    if wanted is not None:
        check_languages(wanted, known)
        instance.set_languages(sorted(wanted))
    positions = {language: position for position, language in enumerate(known)}

    def ask(lines: Sequence[str]) -> pl.DataFrame:
        found = [instance.detect_details(line).scores for line in lines]
        sizes = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        named = (positions[language] for language in chain.from_iterable(found))
        scores = chain.from_iterable(scores.values() for scores in found)
        count = int(sizes.sum())
        return _answers(
            np.repeat(np.arange(len(lines)), sizes),
            np.fromiter(named, dtype=np.int64, count=count),
            np.fromiter(scores, dtype=np.float32, count=count),
        )

    return Detector(known, ask)


def _fasttext(model: fasttext_model.Model, wanted: frozenset[str] | None) -> Detector:
    of_label = codes(model.labels)
    known = tuple(sorted(set(of_label)))
    if wanted is not None:
        check_languages(wanted, known)
    positions = np.array([known.index(code) for code in of_label])
    is_wanted = np.array([wanted is None or code in wanted for code in of_label])
    k = min(CANDIDATES, len(of_label)) if wanted is None else len(of_label)

    def ask(lines: Sequence[str]) -> pl.DataFrame:
        labels, chances = model.top(lines, k)
        rows, places = np.nonzero((labels >= 0) & is_wanted[labels])
        answers = _answers(rows, positions[labels[rows, places]], chances[rows, places])
        # Several labels can be one language, in several scripts.
        return answers.group_by("line", "language", maintain_order=True).agg(pl.col("score").sum())

    return Detector(known, ask)


def _answers(lines: NDArray[np.int64], languages: NDArray[np.int64], scores: NDArray[np.float32]) -> pl.DataFrame:
    return pl.DataFrame({"line": lines, "language": languages, "score": scores}).cast(_ANSWERS)
