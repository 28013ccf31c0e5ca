"""A recipe as written: its parts in their models, but for sources and stages, whose model depends on `stage`."""

from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from engine.base.stage import StrictModel
from engine.mixture.config import Config as MixtureConfig
from engine.pack.render import RenderConfig
from engine.pack.tokenizer import TokenizerConfig
from engine.select.balance import Rule as BalanceRule
from engine.select.control_tokens import Config as ControlTokensConfig
from engine.select.filters import FilterItem
from engine.select.split import Config as SplitConfig

Part = TypeVar("Part", bound=StrictModel)
Share = Annotated[float, Field(ge=0, le=1)]


class GuardConfig(StrictModel):
    """When a run stops because too much would go."""

    max_source_loss: Share = Field(default=0.5, description="share of a source's documents that may be dropped")
    max_cluster_documents: int = Field(default=10_000, ge=1, description="documents in one cluster of duplicates")
    allow: dict[str, Share] = Field(default_factory=dict, description="source -> share it may lose instead")

    def limit(self, source: str) -> float:
        """The share of its documents this source may lose."""
        return self.allow.get(source, self.max_source_loss)


class Frame(StrictModel):
    """The recipe as written, its parts still raw where their model depends on `stage`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name of the recipe")
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of everything that is drawn and names no own seed")
    sources: list[dict[str, Any]] = Field(min_length=1, description="where documents come from")
    annotate: list[dict[str, Any]] = Field(default_factory=list, description="stages, in the order of work")
    benchmarks: list[str] = Field(
        default_factory=list, description="[NAME=]PATH of benchmark files or folders that contamination searches for"
    )
    benchmark_fields: dict[str, dict[str, str | list[str]]] = Field(
        default_factory=dict, description="NAME -> question, choices, answer, passage -> field of its file"
    )
    split: SplitConfig | None = Field(default=None, description="held-out sets")
    filters: list[FilterItem] = Field(default_factory=list, description="rules; the first that fails is the reason")
    balance: list[BalanceRule] = Field(default_factory=list, description="how much of a group of documents is kept")
    guard: GuardConfig = Field(default_factory=GuardConfig, description="when too much would go")
    tokenizer: TokenizerConfig | None = Field(
        default=None, description="what budgets are counted with; needed by mixtures"
    )
    control_tokens: ControlTokensConfig | None = Field(
        default=None, description="what columns say, as tokens in front of a document"
    )
    render: RenderConfig = Field(default_factory=RenderConfig, description="how documents become ids")
    mixtures: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], MixtureConfig] = Field(
        default_factory=dict, description="name -> what a model is trained on, how much of it, in which order"
    )


def lenient(model: type[Part], value: Any) -> Part | None:
    """Return the checked part, or None where it is wrong; its mistakes are reported elsewhere."""
    try:
        return model.model_validate(value)
    except ValidationError:
        return None
