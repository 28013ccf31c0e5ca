"""Budgets per source and the documents that fill them, in integers and fractions only.

Budgets are supervised tokens, split by largest remainder (Hamilton), so that they sum to the whole. Documents are taken
whole, in a seeded order; one that does not fit any more is passed over, so a budget is never exceeded and the tokens
left over are fewer than the shortest document not taken. A budget above what a source has repeats all of it as often as
it goes in whole, and then fills up with documents used once more.
"""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import RecipeError, problem
from engine.mixture.config import exact

Integers = NDArray[np.int64]


def largest_remainder(total: int, weights: Mapping[str, Fraction]) -> dict[str, int]:
    """Split `total` in proportion to the weights; the parts sum to it. Ties go to the smaller name."""
    whole = sum(weights.values(), Fraction(0))
    quotas = {name: total * weights[name] / whole for name in sorted(weights)}
    parts = {name: int(quota) for name, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: (parts[name] - quotas[name], name))
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def checked_weights(
    place: str, sources: list[str] | dict[str, int | float], tokens: Mapping[str, Integers]
) -> dict[str, Fraction]:
    """Return source -> weight: as written, or for a list the supervised tokens there are.

    `tokens`: source -> supervised tokens of its documents. Raises RecipeError where a source has none.
    """
    for name in sources:
        if not tokens[name].sum():
            found = "no kept document with a supervised token"
            raise RecipeError(
                problem(f"{place}.{name}", found, "text in every source", "take it out or loosen a filter")
            )
    if isinstance(sources, dict):
        return {name: exact(weight) for name, weight in sources.items()}
    return {name: Fraction(int(tokens[name].sum())) for name in sources}


def budgets(
    place: str,
    total: int,
    weights: Mapping[str, Fraction],
    tokens: Mapping[str, Integers],
    max_repeats: int,
    part: Fraction,
) -> dict[str, int]:
    """Return source -> supervised tokens.

    Args:
        place: Where in the recipe, for messages.
        total: Supervised tokens to split.
        weights: Source -> weight, above 0.
        tokens: Source -> supervised tokens of its documents.
        max_repeats: How often a document may be used.
        part: Which part of the mixture's budget `total` is; only for the message that says what is possible.

    Raises RecipeError where a source would get nothing, or cannot give as much.
    """
    parts = largest_remainder(total, weights)
    for name, budget in parts.items():
        there = int(tokens[name].sum())
        if not budget:
            found = f"its part of {total} supervised tokens is less than one"
            raise RecipeError(
                problem(f"{place}.{name}", found, "at least one document", "raise its weight or the budget")
            )
        if budget > there * max_repeats:
            found = f"budget of {budget} supervised tokens, but it has {there}, used {max_repeats} times at most"
            most = int(most_tokens(weights, tokens, max_repeats) / part)
            fix = f"lower budget_tokens to {most} or less, raise max_repeats, or lower its weight"
            raise RecipeError(problem(f"{place}.{name}", found, f"{there * max_repeats} or less", fix))
    return parts


def most_tokens(weights: Mapping[str, Fraction], tokens: Mapping[str, Integers], max_repeats: int) -> int:
    """Return the most tokens in these proportions for which no document is used more than `max_repeats` times."""
    whole = sum(weights.values(), Fraction(0))
    return int(min(int(tokens[name].sum()) * max_repeats * whole / weight for name, weight in weights.items()))


def uses(tokens: Integers, budget: int) -> Integers:
    """Return how often each document is used: int64[num_documents].

    `tokens`: supervised tokens of the documents, in the order in which they are to be taken. The uses cost `budget`
    tokens or less; what is left is less than the shortest document that was not used once more.
    """
    passes, rest = divmod(budget, int(tokens.sum()))
    return np.full(tokens.size, passes, dtype=np.int64) + _fitting(tokens, rest)


def _fitting(tokens: Integers, budget: int) -> NDArray[np.bool_]:
    """Return which documents are taken when each is taken, in order, if it still fits."""
    is_taken = np.zeros(tokens.size, dtype=np.bool_)
    waiting = np.flatnonzero(tokens <= budget) if budget else np.zeros(0, np.int64)
    while waiting.size:
        running = np.cumsum(tokens[waiting])
        count = int(np.searchsorted(running, budget, side="right"))
        is_taken[waiting[:count]] = True
        budget -= int(running[count - 1])
        waiting = waiting[count:]
        waiting = waiting[tokens[waiting] <= budget]
    return is_taken
