"""All numbers of a report, gathered once: the sections draw them, the findings put them into words."""

from dataclasses import dataclass

from engine.report.duplicates import Duplicates, duplicates
from engine.report.evidence import Evidence
from engine.report.forgetting import Curve, forgetting
from engine.report.funnel import Funnel, funnel
from engine.report.heldout import HeldOut, heldout
from engine.report.mixtures import MixtureNumbers, mixtures
from engine.report.quality import Quality, quality
from engine.report.sources import Sources, sources
from engine.report.tokenizer_fit import TokenizerFit, tokenizer_fit
from engine.report.training import RunNumbers, training


@dataclass(frozen=True)
class Numbers:
    """One field per section; None or empty where the recipe has no such part."""

    funnel: Funnel | None
    sources: Sources
    duplicates: Duplicates | None
    quality: list[Quality]
    tokenizer_fit: list[TokenizerFit]
    heldout: HeldOut | None
    mixtures: list[MixtureNumbers]
    runs: list[RunNumbers]
    curves: list[Curve]


def gather(evidence: Evidence) -> Numbers:
    """Read everything the report says from the files of a workspace."""
    runs = training(evidence)
    return Numbers(
        funnel=funnel(evidence),
        sources=sources(evidence),
        duplicates=duplicates(evidence),
        quality=quality(evidence),
        tokenizer_fit=tokenizer_fit(evidence),
        heldout=heldout(evidence),
        mixtures=mixtures(evidence),
        runs=runs,
        curves=forgetting(runs),
    )
