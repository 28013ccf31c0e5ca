"""The mixture's part of a recipe: which sources, how much of each, in which order, in what shape of step."""

from fractions import Fraction
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from engine.base.errors import problem, unknown
from engine.base.stage import StrictModel
from engine.mixture.curriculum import BY_DIFFICULTY, CURRICULA

Weight = Annotated[int | float, Field(gt=0, allow_inf_nan=False)]
Sources = Annotated[list[str], Field(min_length=1)] | Annotated[dict[str, Weight], Field(min_length=1)]


def exact(number: float) -> Fraction:
    """Return a number of a recipe as it was written: 0.1 is one tenth, not the nearest binary fraction."""
    return Fraction(str(number))


class ReplayConfig(StrictModel):
    """General text mixed in against forgetting."""

    share: int | float = Field(ge=0, lt=1, description="share of the mixture's supervised tokens, 0 for none")
    sources: Sources = Field(description="a list (in proportion to what there is) or source -> weight")

    @field_validator("sources")
    @classmethod
    def _are_distinct(cls, sources: list[str] | dict[str, int | float]) -> list[str] | dict[str, int | float]:
        return distinct(sources)


class Config(StrictModel):
    """One mixture of a recipe; budgets are counted in supervised tokens."""

    sources: Sources = Field(description="a list (in proportion to what there is) or source -> weight")
    replay: ReplayConfig | None = Field(default=None, description="general text mixed in")
    budget_tokens: int | None = Field(
        default=None,
        ge=1,
        description="supervised tokens, repeats and replay included; null: every document of `sources` once, or with "
        "weights as much as they allow without a repeat",
    )
    max_repeats: int = Field(default=4, ge=1, le=1000, description="how often a document may be used at most")
    curriculum: str = Field(
        default="shuffled", description="order of the documents: shuffled, by_length, easy_to_hard or hard_to_easy"
    )
    difficulty: str | None = Field(
        default=None, description="column of numbers that easy_to_hard and hard_to_easy go by, as difficulty__value"
    )
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of choice and order")
    row_tokens: int = Field(default=1024, ge=8, le=1 << 20, description="tokens of a training row")
    rows_per_step: int = Field(default=16, ge=1, le=(1 << 16) - 1, description="training rows of an optimizer step")

    @field_validator("sources")
    @classmethod
    def _are_distinct(cls, sources: list[str] | dict[str, int | float]) -> list[str] | dict[str, int | float]:
        return distinct(sources)

    @model_validator(mode="after")
    def _is_known(self) -> "Config":
        if self.curriculum not in CURRICULA:
            raise ValueError(unknown("curriculum", "curriculum", self.curriculum, CURRICULA))
        if (self.difficulty is not None) != (self.curriculum in BY_DIFFICULTY):
            found = f"difficulty is {self.difficulty or 'not set'}"
            needed = f"a column with {' and '.join(BY_DIFFICULTY)}, and with them alone"
            raise ValueError(problem(f"curriculum {self.curriculum}", found, needed))
        return self

    @property
    def replay_share(self) -> Fraction:
        """Replay's share of the supervised tokens, 0 where there is none."""
        return exact(self.replay.share) if self.replay is not None else Fraction(0)

    def source_names(self) -> list[str]:
        """Return the sources the mixture uses, domain text first, each once."""
        replay = list(self.replay.sources) if self.replay is not None and self.replay_share else []
        return list(dict.fromkeys([*self.sources, *replay]))


def distinct(sources: list[str] | dict[str, int | float]) -> list[str] | dict[str, int | float]:
    """Return the sources; raises ValueError where one is named twice."""
    twice = sorted({name for name in sources if list(sources).count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} named twice; each source once is needed, weights say how much")
    return sources
