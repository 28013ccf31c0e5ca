"""The train recipe: what is trained on which mixture, and how; YAML in, checked values out, every mistake at once.

Row length and rows per step belong to the mixture: this recipe may divide a step into micro-batches, never change it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.base.hashing import digest_json
from engine.base.recipe_errors import check, read_yaml
from engine.base.stage import StrictModel

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class TinyConfig(StrictModel):
    """A Llama that is initialised from the seed; its vocabulary is the mixture's tokenizer."""

    hidden_size: Positive = Field(default=192, description="width of the residual stream")
    layers: Positive = Field(default=4, description="number of layers")
    heads: Positive = Field(default=6, description="attention heads; divide hidden_size into even parts")
    intermediate_size: Positive = Field(default=512, description="width of the MLP")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"{self.heads} heads in hidden_size {self.hidden_size}. Needed: heads of equal, even width"
            )
        return self


class BaseConfig(StrictModel):
    """What training starts from: exactly one of the four."""

    tiny: TinyConfig | None = Field(default=None, description="a small Llama from scratch")
    model: str | None = Field(default=None, description="name of a model of the workspace (provender models list)")
    path: str | None = Field(default=None, description="a Hugging Face folder; relative paths start at the recipe")
    run: str | None = Field(default=None, description="name of a finished run of the workspace")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in BaseConfig.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"names {' and '.join(given)}" if given else "names nothing"
            raise ValueError(f"{found}. Needed: exactly one of {', '.join(BaseConfig.model_fields)}")
        return self


class TuningConfig(StrictModel):
    """Which parameters are trained: all, or low-rank adapters on the linears of attention and MLP."""

    method: Literal["full", "lora"] = Field(default="full", description="full or lora")
    r: Positive = Field(default=16, description="rank of the adapters")
    alpha: float = Field(default=32, gt=0, description="the adapters' output is scaled by alpha / r")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout in front of the adapters")

    @model_validator(mode="after")
    def _lora_only(self) -> Self:
        fields = TuningConfig.model_fields
        stray = [name for name in ("r", "alpha", "dropout") if getattr(self, name) != fields[name].default]
        if self.method == "full" and stray:
            raise ValueError(
                f"{', '.join(stray)} given with method full. Needed: method lora, or no {', '.join(stray)}"
            )
        return self


class OptimizerConfig(StrictModel):
    """AdamW and its learning rate over the steps."""

    learning_rate: float = Field(default=3.0e-4, gt=0, allow_inf_nan=False, description="the highest, after warm-up")
    weight_decay: float = Field(default=0.1, ge=0, description="of matrices; vectors are never decayed")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    warmup_fraction: Fraction = Field(default=0.05, description="share of the steps with a rising rate")
    final_fraction: Fraction = Field(
        default=0.1, description="learning rate of the last step, as a share of the highest"
    )
    clip: float | None = Field(default=1.0, gt=0, description="largest norm of the gradient; null = none")
    decay: Literal["cosine", "linear", "constant"] = Field(default="cosine", description="way down after warm-up")


class ProbesConfig(StrictModel):
    """Held-out sets of the mixture's split that are measured before step 0 and at every checkpoint."""

    general: list[str] = Field(default_factory=list, description="sets that count against the forgetting budget")
    domain: list[str] = Field(default_factory=list, description="sets that show what is learnt")
    benchmarks: list[str] = Field(
        default_factory=list,
        description="benchmarks the run will be judged by: the gate asks that its data was searched for them",
    )
    every_steps: Positive | None = Field(default=None, description="measure also every so many steps")
    max_documents: Positive = Field(default=64, description="documents per set: the first by doc_id, which is a hash")

    @model_validator(mode="after")
    def _no_set_twice(self) -> Self:
        names = [*self.sets, *self.benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} listed twice. Needed: each once, general, domain or benchmarks")
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


class BudgetConfig(StrictModel):
    """How much may be forgotten."""

    max_general_bpb_rise: float = Field(
        default=0.02,
        ge=0,
        description="relative rise of bits per byte on general text; the interval's upper bound decides",
    )


class CheckpointsConfig(StrictModel):
    """When the state is written, from which a killed run goes on."""

    every_steps: Positive | None = Field(
        default=100, description="steps between checkpoints; null = only after the last"
    )
    keep: Positive = Field(default=2, description="checkpoints kept, the newest")


class TrainRecipe(StrictModel):
    """A whole train recipe."""

    name: str = Field(pattern=NAME_PATTERN, description="name of the run")
    mixture: str = Field(description="name, name@latest, name@v<number> or name@<digest>")
    base: BaseConfig = Field(description="one of tiny, model, path, run")
    objective: Literal["dapt"] = Field(default="dapt", description="dapt: every token of the documents counts")
    tuning: TuningConfig = Field(default_factory=TuningConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    max_steps: Positive | None = Field(default=None, description="null = all steps of the schedule")
    micro_batch_rows: Positive | None = Field(default=None, description="rows at once; null = the whole step")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="bf16: weights in bf16 with fp32 masters; auto chooses it for big models on fast bf16",
    )
    probes: ProbesConfig = Field(default_factory=ProbesConfig)
    gate: GateConfig = Field(default_factory=GateConfig)
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    checkpoints: CheckpointsConfig = Field(default_factory=CheckpointsConfig)
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="of initial weights, dropout and bootstrap")

    @field_validator("objective", mode="before")
    @classmethod
    def _not_yet(cls, value: object) -> object:
        if value == "sft":
            raise ValueError("got 'sft', which comes later. Needed: 'dapt'")
        return value

    def resolved(self) -> dict[str, Any]:
        """The recipe with every default written out."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """Digest of everything that decides the result: all but the name and the reference to the mixture."""
        return digest_json(self.model_dump(mode="json", exclude={"name", "mixture"}))


def load_train_recipe(path: Path | str) -> TrainRecipe:
    """Read and check a train recipe; raises one RecipeError that lists every mistake."""
    return check(Path(path).name, read_yaml(path), TrainRecipe)
