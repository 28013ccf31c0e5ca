"""The mixture's part of a recipe: which sources, how much of each, in which order, in what shape of step."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from engine.base.errors import problem, unknown
from engine.base.stage import StrictModel
from engine.mixture.check_config import check_keys, check_order, check_phases, check_weighting
from engine.mixture.curriculum import BY_DIFFICULTY, CURRICULA, Curriculum
from engine.mixture.weights import exact, largest_remainder

Weight = Annotated[int | float, Field(ge=0, allow_inf_nan=False)]
Sources = list[str] | dict[str, Weight]
Temperature = Annotated[int | float, Field(ge=0.01, le=1000)]
_SOURCES = "a list (weighted by `weighting`) or source -> weight, where 0 leaves a source out"
_WEIGHTING = (
    "weights of a list: proportional to the supervised tokens there are (the default), temperature (tokens to the "
    "power of 1 / temperature) or unimax (the same for all; what is too small gives all it has, max_repeats times)"
)


class ReplayConfig(StrictModel):
    """General text mixed in against forgetting."""

    share: int | float = Field(ge=0, lt=1, description="share of the supervised tokens of its phase, 0 for none")
    sources: Sources = Field(default_factory=list, description=f"{_SOURCES}; needed where share is above 0")
    weighting: str | None = Field(default=None, description=_WEIGHTING)
    temperature: Temperature | None = Field(default=None, description="of weighting: temperature")

    @model_validator(mode="before")
    @classmethod
    def _has_no_weights_apart(cls, content: Any) -> Any:
        check_keys(content)
        return content

    @field_validator("sources")
    @classmethod
    def _are_distinct(cls, sources: list[str] | dict[str, int | float]) -> list[str] | dict[str, int | float]:
        return distinct(sources)

    @model_validator(mode="after")
    def _is_weighted(self) -> "ReplayConfig":
        if self.share and not self.sources:
            raise ValueError(problem("sources", "no source is named", "at least 1, as share is above 0"))
        check_weighting(self.sources, self.weighting, self.temperature)
        return self


class _Choice(StrictModel):
    """What a mixture and each of its phases may say."""

    sources: Sources | None = Field(default=None, description=f"{_SOURCES}; null: the mixture's")
    weighting: str | None = Field(default=None, description=_WEIGHTING)
    temperature: Temperature | None = Field(default=None, description="of weighting: temperature; 1 is proportional")
    replay: ReplayConfig | None = Field(
        default=None, description="general text mixed in; of a phase, null: the mixture's, {share: 0}: none"
    )
    budget_tokens: int | None = Field(
        default=None,
        ge=1,
        description="supervised tokens, repeats and replay included; null: as many as `sources` have, or with weights "
        "as many as they allow without a repeat",
    )
    curriculum: str | None = Field(
        default=None,
        description="order of the documents: shuffled, by_length, easy_to_hard, hard_to_easy, staged or competence; of "
        "a phase, null: the mixture's",
    )
    difficulty: str | None = Field(
        default=None,
        description="column of numbers that easy_to_hard, hard_to_easy, staged and competence go by, as "
        "difficulty__value; of a phase, null: the mixture's",
    )
    stages: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="of curriculum: staged; groups of about equal supervised tokens, easy ones first",
    )
    initial_competence: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="of curriculum: competence; share of the documents, easiest first, that may come at the start, "
        "four decimals at most, default 0.01",
    )

    @model_validator(mode="before")
    @classmethod
    def _has_no_weights_apart(cls, content: Any) -> Any:
        check_keys(content)
        return content

    @field_validator("sources", check_fields=False)
    @classmethod
    def _are_distinct(cls, sources: Any) -> Any:
        return None if sources is None else distinct(sources)


class PhaseConfig(_Choice):
    """A part of the training with weights and an order of its own."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="what the phase is called")
    share: int | float | None = Field(
        default=None, description="of the mixture's budget_tokens; all phases have one, and they sum to 1"
    )

    @model_validator(mode="before")
    @classmethod
    def _is_not_empty(cls, content: Any) -> Any:
        for key in ("share", "budget_tokens", "sources") if isinstance(content, dict) else ():
            if content.get(key) in (0, [], {}) and not isinstance(content[key], bool):
                found = f"{key} is {content[key]}, so it is empty"
                raise ValueError(problem(f"phase {content.get('name')}", found, "at least one document"))
        return content

    def curriculum_of(self) -> Curriculum:
        """Return its order, where every key is filled in."""
        assert self.curriculum is not None
        competence = Fraction(1, 100) if self.initial_competence is None else exact(self.initial_competence)
        return Curriculum(self.curriculum, self.stages or 1, competence)

    @property
    def replay_share(self) -> Fraction:
        """Replay's share of the supervised tokens, 0 where there is none."""
        return exact(self.replay.share) if self.replay is not None else Fraction(0)


class Config(_Choice):
    """One mixture of a recipe; budgets are counted in supervised tokens."""

    sources: Sources = Field(default_factory=list, description=f"{_SOURCES}; needed unless every phase names its own")
    curriculum: str = Field(default="shuffled", description=_Choice.model_fields["curriculum"].description)
    phases: list[PhaseConfig] = Field(
        default_factory=list,
        max_length=255,
        description="parts of the training, one after the other; what a phase does not say is as the mixture says. "
        "Documents used least so far come first, max_repeats counts over all phases, and a document has one role "
        "(domain text or replay) in each phase",
    )
    max_repeats: int = Field(default=4, ge=1, le=1000, description="how often a document may be used at most")
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of choice and order")
    row_tokens: int = Field(default=1024, ge=8, le=1 << 20, description="tokens of a training row")
    rows_per_step: int = Field(default=16, ge=1, le=(1 << 16) - 1, description="training rows of an optimizer step")

    @model_validator(mode="after")
    def _holds_together(self) -> "Config":
        check_phases(self.phases, self.budget_tokens, has_sources=bool(self.sources))
        if self.sources:
            check_weighting(self.sources, self.weighting, self.temperature)
        elif (self.weighting or self.temperature) and all(isinstance(phase.sources, dict) for phase in self.phases):
            found, needed = "no phase takes the sources it is for", "a rule beside the sources it weights"
            raise ValueError(problem("weighting", found, needed))
        if self.curriculum not in CURRICULA:
            raise ValueError(unknown("curriculum", "curriculum", self.curriculum, CURRICULA))
        used = set()
        for phase in self.phase_list():
            place = f"phase {phase.name}: " if self.phases else ""
            if phase.budget_tokens == 0:
                found = f"its share of {self.budget_tokens} tokens is less than one, so it is empty"
                raise ValueError(problem(f"phase {phase.name}", found, "at least one document"))
            check_weighting(phase.sources, phase.weighting, phase.temperature, place, phase.budget_tokens or 0)
            check_order(place, phase)
            used.add(phase.difficulty)
        if self.difficulty not in used | {None}:
            raise ValueError(problem("difficulty", "no phase goes by it", f"a phase with {' or '.join(BY_DIFFICULTY)}"))
        return self

    def phase_list(self) -> list[PhaseConfig]:
        """Return the phases with every key but an unused one filled in; one named "all" where the recipe has none."""
        if not self.phases:
            own = {name: getattr(self, name) for name in _Choice.model_fields}
            return [PhaseConfig.model_construct(name="all", **own)]
        shares = {str(number): exact(phase.share or 0) for number, phase in enumerate(self.phases)}
        parts = largest_remainder(self.budget_tokens, shares) if self.budget_tokens is not None else {}
        return [self._filled(phase, parts.get(str(number))) for number, phase in enumerate(self.phases)]

    def _filled(self, phase: PhaseConfig, part: int | None) -> PhaseConfig:
        filled: dict[str, Any] = {"budget_tokens": phase.budget_tokens if part is None else part}
        filled["replay"] = self.replay if phase.replay is None else phase.replay
        if phase.sources is None:
            filled["sources"] = self.sources
        if phase.weighting is None and isinstance(filled.get("sources", phase.sources), list):
            filled |= {"weighting": self.weighting, "temperature": phase.temperature or self.temperature}
        if phase.curriculum is None:
            filled["curriculum"] = self.curriculum
            for name in ("stages", "initial_competence"):
                filled[name] = getattr(self if getattr(phase, name) is None else phase, name)
        if phase.difficulty is None and filled.get("curriculum", phase.curriculum) in BY_DIFFICULTY:
            filled["difficulty"] = self.difficulty
        return phase.model_copy(update=filled)

    def source_names(self) -> list[str]:
        """Return the sources the mixture uses, by phase and domain text first, each once."""
        return list(dict.fromkeys(self._names()))

    def difficulties(self) -> list[tuple[str, str]]:
        """Return (key, column) of each column of difficulty that is named."""
        named = [("difficulty", self.difficulty)]
        named += [(f"phases.{phase.name}.difficulty", phase.difficulty) for phase in self.phases]
        return [(key, column) for key, column in named if column is not None]

    def _names(self) -> Iterator[str]:
        for phase in self.phase_list():
            yield from weighted(phase.sources or [])
            if phase.replay is not None and phase.replay_share:
                yield from weighted(phase.replay.sources)


def weighted(sources: list[str] | dict[str, int | float]) -> list[str]:
    """Return the sources that have a weight other than 0."""
    return [name for name in sources if not isinstance(sources, dict) or sources[name]]


def distinct(sources: list[str] | dict[str, int | float]) -> list[str] | dict[str, int | float]:
    """Return the sources; raises ValueError where one is named twice."""
    twice = sorted({name for name in sources if list(sources).count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} named twice; each source once is needed, weights say how much")
    return sources
