"""Section `base`: what training starts from."""

from typing import Self

from pydantic import Field, PositiveInt, model_validator

from engine.base.stage import StrictModel


class TinyConfig(StrictModel):
    """A Llama that is initialised from the seed; its vocabulary is the mixture's tokenizer."""

    hidden_size: PositiveInt = Field(default=192, description="width of the residual stream")
    layers: PositiveInt = Field(default=4, description="number of layers")
    heads: PositiveInt = Field(default=6, description="attention heads; divide hidden_size into even parts")
    intermediate_size: PositiveInt = Field(default=512, description="width of the MLP")

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
