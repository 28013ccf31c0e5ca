"""Sections `tuning`, `vocabulary` and `freezing`: which parameters are trained, and from which step on."""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from engine.base.stage import StrictModel

LOW_RANK = ("lora", "qlora")
VIRTUAL = ("prompt", "prefix")
_FITS = {"r": LOW_RANK, "alpha": LOW_RANK, "dropout": LOW_RANK, "virtual_tokens": VIRTUAL}


class TuningConfig(StrictModel):
    """Which parameters are trained: all of the model, or few new ones beside it, by PEFT."""

    method: Literal["full", "lora", "qlora", "ia3", "prompt", "prefix"] = Field(
        default="full",
        description="full; lora: low-rank adapters; qlora: the same on a base in 4 bits (NF4); ia3: learnt scales; "
        "prompt: learnt embeddings in front; prefix: learnt keys and values in front",
    )
    r: PositiveInt = Field(default=16, description="rank of low-rank adapters")
    alpha: float = Field(default=32, gt=0, description="low-rank adapters are scaled by alpha / r")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="dropout in front of low-rank adapters")
    virtual_tokens: PositiveInt = Field(default=20, description="learnt positions in front of every document")

    @property
    def positions_in_front(self) -> int:
        """Learnt positions in front of every document, which count towards the model's context."""
        return self.virtual_tokens if self.method in VIRTUAL else 0

    @model_validator(mode="after")
    def _only_what_is_read(self) -> Self:
        changed = [name for name in _FITS if getattr(self, name) != TuningConfig.model_fields[name].default]
        stray = [name for name in changed if self.method not in _FITS[name]]
        if stray:
            needed = dict.fromkeys(method for name in stray for method in _FITS[name])
            names = ", ".join(stray)
            raise ValueError(
                f"{names} given with method {self.method}. Needed: method {' or '.join(needed)}, or no {names}"
            )
        return self


class VocabularyConfig(StrictModel):
    """Tokens of the mixture's tokenizer that the base has no row for."""

    new_rows_steps: NonNegativeInt = Field(
        default=0, description="first steps in which nothing but the rows of new tokens is trained"
    )


class FreezingConfig(StrictModel):
    """What stays as it is, or moves later or less (Howard and Ruder 2018, ULMFiT); for method full."""

    embeddings: bool = Field(default=False, description="the input embeddings stay (and a head that is tied to them)")
    blocks: NonNegativeInt = Field(default=0, description="the first so many blocks stay")
    unfreeze_every: PositiveInt | None = Field(
        default=None, description="start with the last block and free one more every so many steps, from the top"
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="learning rate of a block as a share of that of the block above it",
    )
