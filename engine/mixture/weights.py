"""How many tokens each source gives, and which documents give them, in integers and fractions only.

Weights are written, or follow a rule from what there is. Budgets are supervised tokens, split by largest remainder
(Hamilton), so that they sum to the whole. Documents are taken whole, in a seeded order, those used least so far first;
one that does not fit any more is passed over, so a budget is never exceeded and the tokens left over are fewer than the
shortest document not taken. A document is used again only once every document of its source was used as often.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import RecipeError, problem

Integers = NDArray[Any]
"""Integers of any width; sums are made in 64 bits."""
PROPORTIONAL, TEMPERATURE, UNIMAX = RULES = ("proportional", "temperature", "unimax")
_DIGITS = 40
"""Significant digits of a power. More are computed, so that no implementation's last digit shows."""


def exact(number: float) -> Fraction:
    """Return a number of a recipe as it was written: 0.1 is one tenth, not the nearest binary fraction."""
    return Fraction(str(number))


def largest_remainder(total: int, weights: Mapping[str, Fraction]) -> dict[str, int]:
    """Split `total` in proportion to the weights; the parts sum to it. Ties go to the smaller name."""
    whole = sum(weights.values(), Fraction(0))
    quotas = {name: total * weights[name] / whole for name in sorted(weights)}
    parts = {name: int(quota) for name, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: (parts[name] - quotas[name], name))
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def tempered(tokens: Mapping[str, int], temperature: float) -> dict[str, Fraction]:
    """Return source -> tokens^(1/temperature), to 40 significant digits and the same on every machine.

    1: in proportion to the tokens; the higher, the more alike the sources become. In decimal arithmetic, as binary
    powers differ between mathematical libraries.
    """
    wide, narrow = Context(prec=_DIGITS + 20), Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN)
    exponent = wide.divide(Decimal(1), Decimal(str(temperature)))
    return {name: Fraction(narrow.plus(wide.power(Decimal(count), exponent))) for name, count in tokens.items()}


def unimax(total: int, room: Mapping[str, int]) -> dict[str, Fraction]:
    """Return source -> tokens, which sum to `total`: the same for all, but for those that have less to give.

    room: source -> the most it can give; together at least `total`. Chung et al., "UniMax: Fairer and more effective
    language sampling for large-scale multilingual pretraining" (2023).
    """
    parts, left = dict[str, Fraction](), Fraction(total)
    names = sorted(room, key=lambda name: (room[name], name))
    for position, name in enumerate(names):
        parts[name] = min(Fraction(room[name]), left / (len(names) - position))
        left -= parts[name]
    return parts


def budgets(
    place: str, total: int, weights: Mapping[str, Fraction], room: Mapping[str, int], part: Fraction, lower: str
) -> dict[str, int]:
    """Return source -> supervised tokens.

    Args:
        place: Where in the recipe, for messages.
        total: Supervised tokens to split.
        weights: Source -> weight, above 0.
        room: Source -> the most supervised tokens it can give.
        part: Which part of the budget `total` is; only for the message that says what is possible.
        lower: What the user does to that budget, as "lower budget_tokens"; for the message.

    Raises RecipeError where a source would get nothing, or cannot give as much.
    """
    parts = largest_remainder(total, weights)
    for name, budget in parts.items():
        if not budget:
            raise RecipeError(nothing_for(place, name, total))
        if budget > room[name]:
            found = f"budget of {budget} supervised tokens, but max_repeats leaves it {room[name]}"
            most = int(most_tokens(weights, room) / part)
            fix = f"{lower} to {most} or less, raise max_repeats, or lower its weight"
            raise RecipeError(problem(f"{place}.{name}", found, f"{room[name]} or less", fix))
    return parts


def nothing_for(place: str, name: str, total: int) -> str:
    """Return the message for a source whose part of `total` rounds to nothing."""
    found = f"its part of {total} supervised tokens is less than one"
    return problem(f"{place}.{name}", found, "at least one document", "raise its weight or the budget")


def most_tokens(weights: Mapping[str, Fraction], room: Mapping[str, int]) -> int:
    """Return the most tokens in these proportions for which no source gives more than it has room for."""
    whole = sum(weights.values(), Fraction(0))
    return int(min(room[name] * whole / weight for name, weight in weights.items()))


def uses(tokens: Integers, budget: int, used: Integers | None = None) -> NDArray[np.uint16]:
    """Return how often each document is used: uint16[num_documents].

    Args:
        tokens: Supervised tokens of the documents, above 0, in the order in which they are to be taken.
        budget: The uses cost as much or less; what is left is less than the shortest document that comes next.
        used: How often each was used before. The next document is always one of those used least, before and now; of
            these, one not used now.
    """
    found = np.zeros(tokens.size, dtype=np.uint16)
    level = np.zeros(tokens.size, dtype=np.uint16) if used is None else used.astype(np.uint16)
    while budget and tokens.size:
        lowest = level.min()
        rows = np.flatnonzero(level == lowest)
        cost = int(tokens[rows].sum(dtype=np.int64))
        if cost > budget:
            rows = rows[np.argsort(found[rows], kind="stable")]
            found[rows[_fitting(tokens[rows], budget)]] += 1
            break
        passes = budget // cost if rows.size == tokens.size else 1
        found[rows] += passes
        level[rows] += passes
        budget -= passes * cost
    return found


def spent(tokens: Integers, uses: Integers) -> int:
    """Return what these uses cost, in 64 bits."""
    return int(np.multiply(tokens, uses, dtype=np.int64).sum())


def _fitting(tokens: Integers, budget: int) -> NDArray[np.bool_]:
    """Return which documents are taken when each is taken, in order, if it still fits."""
    is_taken = np.zeros(tokens.size, dtype=np.bool_)
    waiting = np.flatnonzero(tokens <= budget) if budget else np.zeros(0, np.int64)
    while waiting.size:
        running = np.cumsum(tokens[waiting], dtype=np.int64)
        count = int(np.searchsorted(running, budget, side="right"))
        is_taken[waiting[:count]] = True
        budget -= int(running[count - 1])
        waiting = waiting[count:]
        waiting = waiting[tokens[waiting] <= budget]
    return is_taken
