"""What a mixture's keys need of each other; every mistake is a ValueError in the house form, for pydantic to place."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from engine.base.errors import problem, unknown
from engine.mixture.curriculum import BY_DIFFICULTY, CURRICULA, FINEST_COMPETENCE
from engine.mixture.weights import RULES, TEMPERATURE, UNIMAX, exact

if TYPE_CHECKING:
    from engine.mixture.config import PhaseConfig

LARGEST_SLIP = exact(0.001)
"""How far shares of phases may be from 1 together: three thirds may be written as 0.3333."""


def check_keys(content: Any) -> None:
    """Raise ValueError where weights stand under a key of their own."""
    if isinstance(content, dict) and "weights" in content:
        given = content["weights"]
        inner = ", ".join(f"{name}: {weight}" for name, weight in given.items()) if isinstance(given, dict) else ""
        fix = f"write sources: {{{inner or 'NAME: WEIGHT'}}}, in place of weights and of a list of sources"
        raise ValueError(problem("weights", "unknown key", "sources, a mapping of weights", fix))


def check_weighting(
    sources: list[str] | dict[str, int | float] | None,
    weighting: str | None,
    temperature: float | None,
    place: str = "",
    budget: int | None = None,
) -> None:
    """Raise ValueError where weights and rule do not go together; budget: 0 where unimax would need one."""
    if isinstance(sources, dict):
        unread = {"weighting": weighting, "temperature": temperature}
        for key, value in unread.items():
            if value is not None:
                found = f"{value}, but the sources have weights already"
                needed = "a list of sources, which the rule weights, or a mapping of weights without a rule"
                rule = (
                    f"weighting: {TEMPERATURE} and temperature: {temperature:g}" if temperature else f"{key}: {value}"
                )
                fix = f"write sources: [{', '.join(sources)}] with {rule}, or leave {key} out"
                raise ValueError(problem(f"{place}{key}", found, needed, fix))
        if not any(sources.values()):
            fix = "give a source a weight above 0"
            raise ValueError(problem(f"{place}sources", "weights that sum to zero", "one above 0", fix))
    if weighting is not None and weighting not in RULES:
        raise ValueError(unknown(f"{place}weighting", "rule of weights", weighting, RULES))
    if weighting == TEMPERATURE and temperature is None:
        needed = "a number of at least 0.01; 1 is proportional, higher makes the sources more alike"
        raise ValueError(problem(f"{place}temperature", "not set", needed, "write temperature: 2.0"))
    if weighting != TEMPERATURE and temperature is not None:
        found, fix = f"{temperature}, which nothing reads", "write weighting: temperature beside it"
        raise ValueError(problem(f"{place}temperature", found, "the rule temperature", fix))
    if weighting == UNIMAX and budget == 0:
        raise ValueError(problem(f"{place}weighting unimax", "there is no budget_tokens", "a budget to spread"))


def check_order(place: str, phase: "PhaseConfig") -> None:
    """Raise ValueError where the keys of a phase's curriculum do not go together."""
    name = phase.curriculum
    assert name is not None
    if name not in CURRICULA:
        raise ValueError(unknown(f"{place}curriculum", "curriculum", name, CURRICULA))
    if (phase.difficulty is not None) != (name in BY_DIFFICULTY):
        found = f"difficulty is {phase.difficulty or 'not set'}"
        needed = f"a column with {', '.join(BY_DIFFICULTY[:-1])} and {BY_DIFFICULTY[-1]}, and with them alone"
        fix = (
            "write difficulty: difficulty__value, a column of - {stage: difficulty, by: words}"
            if phase.difficulty is None
            else f"leave difficulty out, or write curriculum: {BY_DIFFICULTY[0]}"
        )
        raise ValueError(problem(f"{place}curriculum {name}", found, needed, fix))
    if (phase.stages is not None) != (name == "staged"):
        found = f"stages is {phase.stages or 'not set'}"
        raise ValueError(problem(f"{place}curriculum {name}", found, "a number with staged, and with it alone"))
    if phase.initial_competence is not None:
        if name != "competence":
            found = f"initial_competence is {phase.initial_competence}"
            raise ValueError(problem(f"{place}curriculum {name}", found, "the curriculum competence"))
        if FINEST_COMPETENCE % exact(phase.initial_competence).denominator:
            found = f"{phase.initial_competence} has more than four decimals"
            raise ValueError(problem(f"{place}initial_competence", found, "0.0001 to 1, in steps of 0.0001"))


def check_phases(phases: list["PhaseConfig"], budget_tokens: int | None, has_sources: bool) -> None:
    """Raise ValueError where the phases do not make a whole."""
    if not has_sources and (not phases or any(phase.sources is None for phase in phases)):
        names = ", ".join(phase.name for phase in phases if phase.sources is None)
        found = "no source is named" + (f", nor by phase {names}" if phases else "")
        raise ValueError(problem("sources", found, "at least 1 source"))
    names_of = [phase.name for phase in phases]
    twice = sorted({name for name in names_of if names_of.count(name) > 1})
    if twice:
        raise ValueError(problem("phases", f"two are called '{twice[0]}'", "one name per phase"))
    sharing = [phase for phase in phases if phase.share is not None]
    owning = [phase.name for phase in phases if phase.budget_tokens is not None]
    if phases and budget_tokens is not None and (owning or len(sharing) < len(phases)):
        found = f"budget_tokens is {budget_tokens} for the mixture, and " + (
            f"phase {owning[0]} has its own" if owning else "a phase says no share"
        )
        fix = "give each phase a share, or each its budget_tokens and the mixture none"
        raise ValueError(problem("phases", found, "one or the other", fix))
    if sharing and budget_tokens is None:
        found = f"phase {sharing[0].name} has a share, but there is no budget_tokens"
        raise ValueError(problem("phases", found, "the budget it is a share of"))
    for phase in sharing:
        if not 0 < (phase.share or 0) <= 1:
            raise ValueError(problem("phases", f"phase {phase.name} has the share {phase.share}", "above 0, up to 1"))
    whole = sum((exact(phase.share or 0) for phase in sharing), Fraction(0))
    if sharing and abs(whole - 1) > LARGEST_SLIP:
        found = f"shares that sum to {float(whole):g}"
        raise ValueError(problem("phases", found, "shares of the budget, 1 together"))
