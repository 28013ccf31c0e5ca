"""All numbers of a report, gathered once: the sections draw them, the findings put them into words."""

from dataclasses import dataclass

from engine.report.balance import Balance, balance
from engine.report.control_tokens import ControlTokens, control_tokens
from engine.report.diversity import Diversity, diversity
from engine.report.duplicates import Duplicates, duplicates
from engine.report.evidence import Evidence
from engine.report.examples import Examples, examples
from engine.report.forgetting import Curve, forgetting
from engine.report.funnel import Funnel, funnel
from engine.report.heldout import HeldOut, heldout
from engine.report.mixtures import MixtureNumbers, mixtures
from engine.report.quality import Quality, quality
from engine.report.sources import Sources, sources
from engine.report.tags import Tags, tags
from engine.report.tokenizer_fit import TokenizerFit, tokenizer_fit
from engine.report.training import RunNumbers, training


@dataclass(frozen=True)
class Numbers:
    """One field per section; None or empty where the recipe has no such part."""

    funnel: Funnel | None
    tags: Tags | None
    examples: list[Examples]
    balance: Balance | None
    sources: Sources
    diversity: Diversity
    duplicates: Duplicates | None
    quality: list[Quality]
    tokenizer_fit: list[TokenizerFit]
    control_tokens: ControlTokens | None
    heldout: HeldOut | None
    mixtures: list[MixtureNumbers]
    runs: list[RunNumbers]
    curves: list[Curve]


def gather(evidence: Evidence) -> Numbers:
    """Read everything the report says from the files of a workspace."""
    runs, of_sources = training(evidence), sources(evidence)
    return Numbers(
        funnel=funnel(evidence),
        tags=tags(evidence),
        examples=examples(evidence),
        balance=balance(evidence),
        sources=of_sources,
        diversity=diversity(evidence, of_sources),
        duplicates=duplicates(evidence),
        quality=quality(evidence),
        tokenizer_fit=tokenizer_fit(evidence),
        control_tokens=control_tokens(evidence),
        heldout=heldout(evidence),
        mixtures=mixtures(evidence),
        runs=runs,
        curves=forgetting(runs),
    )
