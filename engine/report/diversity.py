"""The effective number of sources before and after, in documents, bytes and tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.mixture.accounts import UNITS, effective_before_and_after, effective_sources
from engine.report.evidence import Evidence
from engine.report.sources import Sources
from engine.report.table import Table, table
from engine.report.wording import decimal


@dataclass(frozen=True)
class Diversity:
    """exp(H) of the sources' shares; a unit nobody counted is missing."""

    read: Mapping[str, float]
    """Unit -> figure of what was read."""
    kept: Mapping[str, float]
    """The same of what the selection kept; empty where there is none."""
    mixtures: Sequence[tuple[str, Mapping[str, float]]]
    """Reference and figures of each mixture: of its distinct documents, and of its tokens, repeats included."""


def diversity(evidence: Evidence, sources: Sources) -> Diversity:
    """Return the figures of what was read, of what was kept, and of every mixture the recipe ended with."""
    read = {unit: effective_sources(sources.rows.get_column(unit)) for unit in ("documents", "bytes")}
    kept: dict[str, float] = {}
    if evidence.selection is not None:
        figures = effective_before_and_after(evidence.selection.ledger())
        read |= {unit: figure["before"] for unit, figure in figures.items()}
        kept = {unit: figure["after"] for unit, figure in figures.items()}
    mixtures = []
    for mixture in evidence.mixtures:
        manifest = mixture.manifest
        documents = manifest.n_eff_documents_after
        known = {} if documents is None else {"documents": documents}
        mixtures.append((mixture.reference, known | {"tokens": manifest.n_eff_after}))
    return Diversity(read, kept, mixtures)


def diversity_table(numbers: Diversity) -> Table:
    """Return one row per level: as read, kept, each mixture."""
    levels = [("as read", numbers.read), *([("kept", numbers.kept)] if numbers.kept else []), *numbers.mixtures]
    rows = [[name, *(decimal(figures.get(unit)) for unit in UNITS)] for name, figures in levels]
    caption = "Effective number of sources; of a mixture by distinct documents, and by tokens with their repeats"
    return table(["level", *(f"by {unit}" for unit in UNITS)], rows, caption=caption)
