"""The order in which the documents of a mixture are trained on."""

from collections.abc import Callable

import polars as pl

from engine.base.errors import RecipeError, unknown
from engine.base.hashing import seeded_order

DIFFICULTY = "difficulty"
_SALT = b"curriculum"


def shuffled(documents: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Order by a seeded hash of doc_id, independent of the one by which documents are chosen."""
    order = [seeded_order(seed, _SALT + doc_id) for doc_id in documents["doc_id"]]
    return documents.with_columns(pl.Series("_order", order, dtype=pl.UInt64)).sort("_order", "doc_id").drop("_order")


def by_length(documents: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Easy to hard: short documents first (tokens), documents of one length shuffled."""
    return shuffled(documents, seed).sort("num_tokens", maintain_order=True)


def easy_to_hard(documents: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The least `difficulty` first; documents of one shuffled, those without one at the end."""
    return shuffled(documents, seed).sort(DIFFICULTY, maintain_order=True, nulls_last=True)


def hard_to_easy(documents: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The greatest `difficulty` first; documents of one shuffled, those without one at the end."""
    return shuffled(documents, seed).sort(DIFFICULTY, maintain_order=True, nulls_last=True, descending=True)


CURRICULA: dict[str, Callable[[pl.DataFrame, int], pl.DataFrame]] = {
    "shuffled": shuffled,
    "by_length": by_length,
    "easy_to_hard": easy_to_hard,
    "hard_to_easy": hard_to_easy,
}
BY_DIFFICULTY = ("easy_to_hard", "hard_to_easy")
"""Those that read the column `difficulty`."""


def order(documents: pl.DataFrame, curriculum: str, seed: int) -> pl.DataFrame:
    """Return the documents (doc_id, num_tokens, difficulty, and whatever else) in the order of the curriculum.

    The same for any order they come in; raises RecipeError for a curriculum that does not exist.
    """
    if curriculum not in CURRICULA:
        raise RecipeError(unknown("curriculum", "curriculum", curriculum, CURRICULA))
    return CURRICULA[curriculum](documents, seed)
