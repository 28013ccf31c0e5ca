"""Section `optimizer`: AdamW and its learning rate over the steps."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.base.stage import StrictModel

Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(StrictModel):
    """AdamW and its learning rate over the steps."""

    kind: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = Field(
        default="adamw",
        description="adamw: fused, moments in fp32; adamw_8bit: moments in 8 bits (bitsandbytes); paged: they may "
        "leave a full CUDA device",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="the highest, after warm-up; null: by base, tuning and objective (trainers.learning_rates)",
    )
    weight_decay: float = Field(default=0.1, ge=0, description="of matrices; vectors are never decayed")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.95), description="share of the old that each moment keeps a step")
    warmup_fraction: Fraction = Field(default=0.05, description="share of the steps with a rising rate")
    final_fraction: Fraction = Field(
        default=0.1, description="learning rate of the last step, as a share of the highest"
    )
    clip: float | None = Field(default=1.0, gt=0, description="largest norm of the gradient; null = none")
    decay: Literal["cosine", "linear", "constant"] = Field(default="cosine", description="way down after warm-up")

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        default = OptimizerConfig.model_fields["final_fraction"].default
        if self.decay == "constant" and self.final_fraction not in (1.0, default):
            raise ValueError("final_fraction given with decay constant. Needed: cosine or linear, or no final_fraction")
        return self
