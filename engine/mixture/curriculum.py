"""The order in which the documents of a phase are trained on.

Whatever the curriculum, documents it does not tell apart are shuffled by a seeded hash of their doc_id, and those
without a difficulty (null, NaN) stand last. The order they come in changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.errors import RecipeError, problem, unknown
from engine.base.hashing import digest_bytes
from engine.mixture.seeded_order import seeded_positions

DIFFICULTY = "difficulty"
FINEST_COMPETENCE = 10_000
"""Largest denominator of an initial competence: it has four decimals at most."""
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Curriculum:
    """The name of an order, and what belongs to it."""

    name: str
    stages: int = 1
    """Of `staged`: number of groups."""
    initial_competence: Fraction = Fraction(1, 100)
    """Of `competence`: share of the documents, easiest first, that may come at the start."""


def shuffled(documents: pl.DataFrame, seed: int) -> Positions:
    """Order by a seeded hash of doc_id, independent of the one by which documents are chosen."""
    return seeded_positions(documents["doc_id"], seed, "curriculum")


def by_length(documents: pl.DataFrame, seed: int) -> Positions:
    """Short documents first (tokens), documents of one length shuffled."""
    start = shuffled(documents, seed)
    return start[np.argsort(documents["num_tokens"].to_numpy()[start], kind="stable")]


def easy_to_hard(documents: pl.DataFrame, seed: int) -> Positions:
    """The least `difficulty` first."""
    return _by_difficulty(documents, seed, descending=False)


def hard_to_easy(documents: pl.DataFrame, seed: int) -> Positions:
    """The greatest `difficulty` first."""
    return _by_difficulty(documents, seed, descending=True)


def staged(documents: pl.DataFrame, stages: int, seed: int, place: str) -> Positions:
    """Groups of about equal supervised tokens (repeats included), the easy ones first, shuffled within each.

    A document belongs to the group in which the middle of its tokens lies. Raises RecipeError for an empty group;
    `place`: where in the recipe the keys of the phase stand.
    """
    easy = easy_to_hard(documents, seed)
    tokens = (documents["supervised_tokens"].cast(pl.Int64) * documents["repeats"].cast(pl.Int64)).to_numpy()[easy]
    until = np.cumsum(tokens)
    group = (2 * until - tokens) * stages // (2 * int(until[-1])) if tokens.size else tokens
    empty = np.setdiff1d(np.arange(stages), group)
    if empty.size:
        found = f"group {int(empty[0]) + 1} of {stages} gets none of the {tokens.size} documents"
        raise RecipeError(problem(f"{place}.stages", found, "a document in each group", "set fewer stages"))
    groups = np.empty(tokens.size, dtype=np.int64)
    groups[easy] = group
    start = shuffled(documents, seed)
    return start[np.argsort(groups[start], kind="stable")]


def competence(documents: pl.DataFrame, initial: Fraction, seed: int) -> Positions:
    """Any document at random whose difficulty is within the competence reached, which grows with the square root.

    Of n documents, the easiest ceil(n * sqrt(c^2 + (1 - c^2) * i / n)) may stand at position i, c being `initial`.
    Platanios et al., "Competence-based curriculum learning for neural machine translation" (2019), with the phase as
    the time in which full competence is reached.
    """
    from engine.mixture.pacing import openings, paced  # numba, which reading a recipe does without

    easy = easy_to_hard(documents, seed)
    own = int.from_bytes(digest_bytes(f"{seed}:competence".encode())[:8], "little")
    return easy[paced(openings(easy.size, initial), np.uint64(own))]


_ORDERS: dict[str, Callable[[pl.DataFrame, int], Positions]] = {
    "shuffled": shuffled,
    "by_length": by_length,
    "easy_to_hard": easy_to_hard,
    "hard_to_easy": hard_to_easy,
}
CURRICULA = (*_ORDERS, "staged", "competence")
BY_DIFFICULTY = ("easy_to_hard", "hard_to_easy", "staged", "competence")
"""Those that read the column `difficulty`."""


def order(documents: pl.DataFrame, curriculum: Curriculum, seed: int, place: str) -> Positions:
    """Return the positions of the documents in the order of the curriculum.

    documents: doc_id, num_tokens, supervised_tokens, repeats and, for BY_DIFFICULTY, difficulty. place: where in the
    recipe the keys of the phase stand, for messages. Raises RecipeError for a curriculum that does not exist, and for
    a group of `staged` without documents.
    """
    if curriculum.name not in CURRICULA:
        raise RecipeError(unknown(f"{place}.curriculum", "curriculum", curriculum.name, CURRICULA))
    if curriculum.name == "staged":
        return staged(documents, curriculum.stages, seed, place)
    if curriculum.name == "competence":
        return competence(documents, curriculum.initial_competence, seed)
    return _ORDERS[curriculum.name](documents, seed)


def _by_difficulty(documents: pl.DataFrame, seed: int, descending: bool) -> Positions:
    start = shuffled(documents, seed)
    difficulty = documents[DIFFICULTY].gather(start)
    if difficulty.dtype.is_float():
        difficulty = difficulty.fill_nan(None)
    rows = pl.DataFrame({"difficulty": difficulty, "row": start})
    rows = rows.sort("difficulty", maintain_order=True, nulls_last=True, descending=descending)
    return rows["row"].to_numpy()
