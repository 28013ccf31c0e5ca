"""The train recipe: what is trained on which mixture, and how; YAML in, checked values out, every mistake at once.

Row length and rows per step belong to the mixture: this recipe may divide a step into micro-batches, never change it.
One file per group of sections; nothing here imports torch.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from engine.base.recipe_errors import check, read_yaml
from engine.base.stage import StrictModel
from trainers.recipe.base import BaseConfig, TinyConfig
from trainers.recipe.optimizer import OptimizerConfig
from trainers.recipe.probes import BudgetConfig, GateConfig, ProbesConfig
from trainers.recipe.tuning import FreezingConfig, TuningConfig, VocabularyConfig

__all__ = [
    "BaseConfig",
    "BudgetConfig",
    "CheckpointsConfig",
    "FreezingConfig",
    "GateConfig",
    "OptimizerConfig",
    "ProbesConfig",
    "TinyConfig",
    "TrackConfig",
    "TrainRecipe",
    "TuningConfig",
    "VocabularyConfig",
    "load_train_recipe",
]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class CheckpointsConfig(StrictModel):
    """When the state is written, from which a killed run goes on."""

    every_steps: PositiveInt | None = Field(
        default=100, description="steps between checkpoints; null = only after the last"
    )
    keep: PositiveInt = Field(default=2, description="checkpoints kept, the newest")


class TrackConfig(StrictModel):
    """Where figures go besides metrics.jsonl, which is always written."""

    tensorboard: bool = Field(default=False, description="event files in the run's folder (needs tensorboard)")
    wandb: str | None = Field(
        default=None, description="project of Weights & Biases, offline unless WANDB_MODE says otherwise (needs wandb)"
    )


class TrainRecipe(StrictModel):
    """A whole train recipe."""

    name: str = Field(pattern=NAME_PATTERN, description="name of the run")
    mixture: str = Field(description="name, name@latest, name@v<number> or name@<digest>")
    base: BaseConfig = Field(description="one of tiny, model, path, run")
    objective: Literal["dapt", "sft"] | None = Field(
        default=None,
        description="dapt: every token of every document counts; sft: answers count; null: what the mixture says. "
        "Which tokens are labels is the mixture's; a recipe that expects something else is refused",
    )
    tuning: TuningConfig = Field(default_factory=TuningConfig)
    vocabulary: VocabularyConfig = Field(default_factory=VocabularyConfig)
    freezing: FreezingConfig = Field(default_factory=FreezingConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    max_steps: PositiveInt | None = Field(default=None, description="null = all steps of the schedule")
    micro_batch_rows: PositiveInt | None = Field(
        default=None, description="rows at once; null = as many as 8,192 tokens fill, on a CPU 1,024, and at least one"
    )
    packed: bool = Field(
        default=True,
        description="documents share rows as the mixture says; false: the model runs on each by itself, which is "
        "slower, for layers that carry a state along the row",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="bf16 and fp16: weights of two bytes with fp32 masters, fp16 with scaled gradients; auto chooses "
        "bf16 for big models where it is fast, else fp16 on CUDA (not under fsdp), else fp32",
    )
    gradient_checkpointing: bool | None = Field(
        default=None, description="compute activations twice to keep fewer; null: above 7 billion parameters"
    )
    compile: bool = Field(default=False, description="torch.compile the blocks; pays on CUDA for long runs")
    parallel: Literal["ddp", "fsdp"] = Field(
        default="ddp", description="under torchrun: ddp keeps the model on every rank, fsdp (FSDP2) shards it"
    )
    probes: ProbesConfig = Field(default_factory=ProbesConfig)
    gate: GateConfig = Field(default_factory=GateConfig)
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    checkpoints: CheckpointsConfig = Field(default_factory=CheckpointsConfig)
    track: TrackConfig = Field(default_factory=TrackConfig)
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="of initial weights, dropout and bootstrap")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        method = self.tuning.method
        if method != "full" and self.freezing != FreezingConfig():
            raise ValueError(f"freezing given with method {method}. Needed: method full, or no freezing")
        # transformers drops the cache of a checkpointed layer, and the prefix is that cache.
        if method == "prefix" and self.gradient_checkpointing:
            needed = "gradient_checkpointing: false, or method prompt"
            raise ValueError(f"gradient_checkpointing with method prefix. Needed: {needed}")
        if self.budget != BudgetConfig() and not self.probes.general:
            raise ValueError("budget given, and no general text to measure. Needed: sets under probes.general")
        if self.parallel == "fsdp" and (found := self._undividable):
            raise ValueError(f"fsdp given with {' and '.join(found)}. Needed: parallel ddp, or none of these")
        return self

    @property
    def _undividable(self) -> list[str]:
        found = {
            f"tuning.method {self.tuning.method}": self.tuning.method not in ("full", "lora", "ia3"),
            f"optimizer.kind {self.optimizer.kind}": self.optimizer.kind != "adamw",
            "precision fp16": self.precision == "fp16",
            "packed false": not self.packed,
            "vocabulary.new_rows_steps": self.vocabulary.new_rows_steps > 0,
            "freezing.unfreeze_every": self.freezing.unfreeze_every is not None,
        }
        return [name for name, is_given in found.items() if is_given]

    def resolved(self) -> dict[str, Any]:
        """The recipe with every default written out."""
        return self.model_dump(mode="json")


def load_train_recipe(path: Path | str) -> TrainRecipe:
    """Read and check a train recipe; raises one RecipeError that lists every mistake."""
    return check(Path(path).name, read_yaml(path), TrainRecipe)
