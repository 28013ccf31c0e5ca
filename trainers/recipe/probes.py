"""Sections `probes`, `gate` and `budget`: what is measured while training, and what it may cost."""

from typing import Self

from pydantic import Field, PositiveInt, model_validator

from engine.base.stage import StrictModel


class ProbesConfig(StrictModel):
    """Held-out sets of the mixture's split that are measured before step 0 and at every checkpoint."""

    general: list[str] = Field(default_factory=list, description="sets that count against the forgetting budget")
    domain: list[str] = Field(default_factory=list, description="sets that show what is learnt")
    benchmarks: list[str] = Field(
        default_factory=list,
        description="benchmarks the run will be judged by: the gate asks that its data was searched for them",
    )
    every_steps: PositiveInt | None = Field(default=None, description="measure also every so many steps")
    max_documents: PositiveInt = Field(
        default=64, description="documents per set: the first by doc_id, which is a hash"
    )

    @model_validator(mode="after")
    def _sets_are_clear(self) -> Self:
        names = [*self.sets, *self.benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} listed twice. Needed: each once, general, domain or benchmarks")
        if self.every_steps is not None and not self.sets:
            raise ValueError("every_steps given, and no set to measure. Needed: sets under general or domain")
        return self

    @property
    def sets(self) -> list[str]:
        """All held-out sets, general ones first."""
        return [*self.general, *self.domain]


class GateConfig(StrictModel):
    """What the data must have been searched for before the run may start."""

    min_planted_recall: float = Field(
        default=0.95, ge=0, le=1, description="share of planted copies a search must have found"
    )
    waive: list[str] = Field(
        default_factory=list,
        description="probes and benchmarks that may be uncovered; the report says so in its first line",
    )
    other_template: bool = Field(
        default=False, description="the base may have learnt chats in another template; the report says so likewise"
    )


class BudgetConfig(StrictModel):
    """How much may be forgotten."""

    max_general_bpb_rise: float = Field(
        default=0.02,
        ge=0,
        description="relative rise of bits per byte on general text; the interval's upper bound decides",
    )
