"""How much general text goes with the domain text, and from where."""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from engine.mixture.weights import Integers, spent, uses


def replay_tokens(domain_tokens: int, share: Fraction) -> int:
    """Return r, the most supervised tokens of replay for which r / (r + domain_tokens) does not exceed `share`."""
    return int(domain_tokens * share / (1 - share))


def replay_uses(
    tokens: Mapping[str, Integers], budgets: Mapping[str, int], room: Mapping[str, int], used: Mapping[str, Integers]
) -> dict[str, NDArray[np.uint16]]:
    """Return how often each document of each replay source is used.

    What a source leaves of its budget, less than one document, passes to the next in the order of their names, so that
    all replay together stays within one document of its share, and each source within one of its budget. `tokens`,
    `used`: as for `engine.mixture.weights.uses`; `room`: source -> the most supervised tokens it can give, at least its
    budget.
    """
    found = {}
    left = 0
    for name in sorted(budgets):
        given = budgets[name] + left
        found[name] = uses(tokens[name], min(given, room[name]), used[name])
        left = given - spent(tokens[name], found[name])
    return found
