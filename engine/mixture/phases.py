"""What one phase of a mixture takes of each source, as domain text and as replay.

Domain text is budgeted first; replay follows from the supervised tokens it really came to. Within a phase a document
has one role: what the domain text takes of a source, replay cannot take again. In another phase it may have the other
one, so that text of an earlier phase can be replayed in a later one; all its uses count against max_repeats, and as
those used least come first, that happens only where a source has nothing unused left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import RecipeError, problem
from engine.mixture import weights
from engine.mixture.config import PhaseConfig, ReplayConfig, weighted
from engine.mixture.pool import Stock
from engine.mixture.replay import replay_tokens, replay_uses

Sources = list[str] | dict[str, int | float]
Uses = NDArray[np.uint16]


@dataclass(frozen=True)
class Cell:
    """One source in one role in one phase."""

    phase: int
    source: str
    is_replay: bool
    budget_tokens: int
    rows: NDArray[np.uint32]
    """Positions of its documents among the candidates."""
    repeats: Uses
    """How often each is used, at least once."""


@dataclass(frozen=True)
class _Terms:
    """What messages and limits of a phase go by."""

    place: str
    lower: str
    max_repeats: int
    part: Fraction


def choose_phase(
    place: str, number: int, phase: PhaseConfig, stocks: Mapping[str, Stock], max_repeats: int, has_phases: bool = False
) -> list[Cell]:
    """Return what the phase takes, domain text first, sources by name; the stocks remember it.

    Args:
        place: Where in the recipe the phase stands, for messages.
        number: Its position among the phases.
        phase: Its keys, all filled in.
        stocks: Source -> its documents.
        max_repeats: How often a document may be used, over all phases.
        has_phases: Whether the recipe names phases; otherwise this is the whole mixture.

    Raises RecipeError where a source has no document, would get none, or has fewer tokens than its budget.
    """
    verb = "set" if phase.budget_tokens is None else "lower"
    lower = f"{verb} the budget of phase {phase.name}" if has_phases else f"{verb} budget_tokens"
    share = phase.replay_share
    taken = _domain(_Terms(f"{place}.sources", lower, max_repeats, 1 - share), phase, stocks)
    cells = []
    for source, (uses, budget) in taken.items():
        cells.append(_cell(f"{place}.sources.{source}", (number, source, False), stocks[source], uses, budget))
        stocks[source].used[:] += uses
    if not share or phase.replay is None:
        return cells
    domain_tokens = sum(weights.spent(stocks[source].tokens, uses) for source, (uses, _) in taken.items())
    free = {source: uses == 0 for source, (uses, _) in taken.items()}
    rest = {
        source: stocks[source].only(free[source]) if source in free else stocks[source]
        for source in weighted(phase.replay.sources)
    }
    terms = _Terms(f"{place}.replay.sources", lower, max_repeats, share)
    for source, (uses, budget) in _replay(terms, phase, rest, replay_tokens(domain_tokens, share)).items():
        where = f"{place}.replay.sources.{source}"
        cells.append(_cell(where, (number, source, True), rest[source], uses, budget))
        stocks[source].used[free.get(source, slice(None))] += uses
    return cells


def _domain(terms: _Terms, phase: PhaseConfig, stocks: Mapping[str, Stock]) -> dict[str, tuple[Uses, int]]:
    """Return source -> (uses, budget) of the domain text."""
    sources = phase.sources or []
    named = {source: stocks[source] for source in weighted(sources)}
    _check_there(terms, named)
    room = {source: stock.room(terms.max_repeats) for source, stock in named.items()}
    if phase.budget_tokens is None:
        wanted = _weights(terms, sources, phase, named, 0)
        total = weights.most_tokens(wanted, {source: stock.total for source, stock in named.items()})
    else:
        parts = {"domain": terms.part, "replay": 1 - terms.part}
        total = weights.largest_remainder(phase.budget_tokens, parts)["domain"]
        _check_some(terms, named, total)
        wanted = _weights(terms, sources, phase, named, total)
    budgets = weights.budgets(terms.place, total, wanted, room, terms.part, terms.lower)
    return {
        source: (weights.uses(named[source].tokens, budget, named[source].used), budget)
        for source, budget in sorted(budgets.items())
    }


def _replay(terms: _Terms, phase: PhaseConfig, rest: Mapping[str, Stock], total: int) -> dict[str, tuple[Uses, int]]:
    """Return the same for replay; `rest` lacks the documents of the domain text."""
    assert phase.replay is not None
    for source, stock in rest.items():
        if not stock.total and source in weighted(phase.sources or []):
            found = "it is domain text and replay, and the domain text takes all of its documents"
            fix = "set a smaller budget_tokens, or name another source for replay"
            raise RecipeError(problem(f"{terms.place}.{source}", found, "each document in one role", fix))
    _check_there(terms, rest)
    _check_some(terms, rest, total)
    room = {source: stock.room(terms.max_repeats) for source, stock in rest.items()}
    wanted = _weights(terms, phase.replay.sources, phase.replay, rest, total)
    budgets = weights.budgets(terms.place, total, wanted, room, terms.part, terms.lower)
    tokens = {source: stock.tokens for source, stock in rest.items()}
    uses = replay_uses(tokens, budgets, room, {source: stock.used for source, stock in rest.items()})
    return {source: (uses[source], budget) for source, budget in sorted(budgets.items())}


def _check_there(terms: _Terms, named: Mapping[str, Stock]) -> None:
    """Raise RecipeError where a source has nothing to take."""
    for source, stock in named.items():
        if not stock.total:
            found, fix = "no kept document with a supervised token", "take it out or loosen a filter"
            raise RecipeError(problem(f"{terms.place}.{source}", found, "text in every source", fix))
        if not stock.room(terms.max_repeats):
            found = f"the phases before use each of its documents {terms.max_repeats} times"
            fix = "raise max_repeats, take it out, or give the phases before smaller budgets"
            raise RecipeError(problem(f"{terms.place}.{source}", found, "a document left to use", fix))


def _check_some(terms: _Terms, named: Mapping[str, Stock], total: int) -> None:
    """Raise RecipeError where there is nothing to split; a rule that goes by the total would have no weights then."""
    if not total:
        raise RecipeError(weights.nothing_for(terms.place, min(named), total))


def _weights(
    terms: _Terms, sources: Sources, keys: PhaseConfig | ReplayConfig, named: Mapping[str, Stock], total: int
) -> dict[str, Fraction]:
    """Return source -> weight, above 0: as written, or by the rule in `keys`; `total`: supervised tokens to split."""
    if isinstance(sources, dict):
        return {source: weights.exact(sources[source]) for source in named}
    tokens = {source: stock.total for source, stock in named.items()}
    if keys.weighting == weights.TEMPERATURE:
        assert keys.temperature is not None
        return weights.tempered(tokens, keys.temperature)
    if keys.weighting != weights.UNIMAX:
        return {source: Fraction(count) for source, count in tokens.items()}
    room = {source: stock.room(terms.max_repeats) for source, stock in named.items()}
    most = sum(room.values())
    if total > most:
        found = f"budget of {total} supervised tokens, but max_repeats leaves them {most} together"
        fix = f"{terms.lower} to {int(most / terms.part)} or less, or raise max_repeats"
        raise RecipeError(problem(terms.place, found, f"{most} or less", fix))
    return weights.unimax(total, room)


def _cell(place: str, key: tuple[int, str, bool], stock: Stock, uses: Uses, budget: int) -> Cell:
    """Return what is used of a source; raises RecipeError where that is nothing."""
    used = np.flatnonzero(uses)
    if not used.size:
        # What comes next are the documents used least so far.
        shortest = int(stock.tokens[stock.used == stock.used.min()].min())
        found = f"budget of {budget} supervised tokens, but its shortest document has {shortest}"
        fix = "raise its weight or the budget, or take it out"
        raise RecipeError(problem(place, found, "at least one document", fix))
    return Cell(*key, budget, stock.rows[used], uses[used])
