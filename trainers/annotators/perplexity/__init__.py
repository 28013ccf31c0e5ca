"""How well a local causal language model predicts each document: bits per byte, loss per token, tokens scored.

What is scored: of a document its first 16 x `max_tokens` characters are read, and of their tokens the first
`max_tokens`, cut back to where a token ends with a character. Special tokens written in a text are text. What
tokenizer.json itself puts in front (the BOS of Llama and Gemma; nothing for GPT-2, SmolLM2, Qwen and models trained
here) stands in front and is not scored; where there is nothing, the first token is context only, and neither its loss
nor its bytes count. So the bytes are exactly those of the scored tokens, whole characters each. A model whose tokenizer
has an unknown token pays once for all it does not know: its bits per byte are too low there. Windows of documents
(engine.text.windows) are not used: tokens inside one would be predicted without what stands before them.

Same bytes for any shards and jobs: a batch has one of a few fixed shapes, whatever is in it. A document is filled up at
its end to the next width of `padded_width`, a batch has always `batch_tokens` // width rows, empty ones included, and
the head works on chunks of one size. So a kernel whose rows do not depend on each other gives a document the same
numbers in any company; on a CPU this was bit-equal. Other widths moved the loss of a token by 2e-5 nats in fp32, so
results are stored rounded to 1e-4, and another machine, library, device or `dtype` can differ in the last digits (bf16
by 0.001 bits per byte). Not known: GPU kernels that split sums by position, and models that route tokens to experts.

One model, one batch at a time on all cores or the GPU. The model's memory comes on top of `--memory`.
"""

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from engine.base.errors import RecipeError, problem
from engine.base.hashing import seeded_order
from engine.base.stage import Column, StageConfig

if TYPE_CHECKING:
    from engine.formats.annotation import ShardView
    from trainers.annotators.perplexity.scorer import Score

SCOPE = "shard"
OWN_THREADS = True
VERSION = 1
FILES = ("model",)
READS = ("doc_id", "text")
ADDS = {
    "perplexity__bits_per_byte": Column(
        pl.Float64, "-log2 of the probability of the scored tokens, per UTF-8 byte of their text, rounded to 1e-4"
    ),
    "perplexity__loss": Column(pl.Float64, "nats per scored token, rounded to 1e-4; its exponential is the perplexity"),
    "perplexity__tokens": Column(
        pl.UInt32, "scored tokens; 0 for a text too short to score, null without text or outside the sample"
    ),
}
PACKAGES = ("torch", "transformers", "safetensors")
EXTRA = "train"
_SALT = b"perplexity/"


class Config(StageConfig):
    """Options of perplexity."""

    stage: Literal["perplexity"] = "perplexity"
    model: str = Field(
        description="a Hugging Face folder: config.json, *.safetensors, tokenizer.json (a run leaves one in final/)"
    )
    max_tokens: int | None = Field(
        default=None,
        ge=2,
        description="tokens read from the beginning of a document; default 1,024, fewer where the model knows fewer",
    )
    batch_tokens: int | None = Field(
        default=None, ge=1, description="tokens in a batch, padding included; default 512 on a CPU, 32,768 on a GPU"
    )
    sample: float = Field(default=1.0, gt=0, le=1, description="share of the documents that is scored")
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="another seed samples other documents")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: the GPU where there is one")
    dtype: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="of the weights; auto: bf16 for big models on a GPU that has it, else fp32"
    )

    @model_validator(mode="after")
    def _packages_are_here(self) -> "Config":
        missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
        if missing:
            found = f"the stage needs {', '.join(missing)}"
            fix = "install provender with its extra: pip install 'provender[train]'"
            raise RecipeError(problem("perplexity", found, "the training packages", fix))
        return self


def part_config(config: Config) -> dict[str, Any]:
    """What the scores depend on: the seed only where it draws a sample."""
    return config.model_dump(mode="json", exclude={"prefix"} | ({"seed"} if config.sample == 1 else set()))


def check_files(config: Config) -> None:
    """Raise InputError where the folder is no model with weights and tokenizer."""
    from trainers.base_models import require_model

    require_model(Path(config.model))


def annotate(shard: "ShardView", config: Config) -> pl.DataFrame:
    """Return the scores of the sampled documents of the shard, null for the others.

    Raises InputError where the folder is no causal language model with a tokenizer that fits or gives no finite
    probability, ResourceError where there is no GPU that was asked for, or its memory does not suffice.
    """
    from trainers.annotators.perplexity.scorer import load_scorer

    texts = pl.Series(pl.from_arrow(shard.text))
    has_text = texts.str.strip_chars().str.len_bytes().fill_null(0) > 0
    chosen = (has_text & in_sample(shard.columns(["doc_id"])["doc_id"], config.sample, config.seed)).arg_true()
    scores: list[Score | None] = [None] * len(texts)
    if len(chosen):
        found = load_scorer(config).score(texts.gather(chosen).to_list(), config.max_tokens, config.batch_tokens)
        for row, score in zip(chosen, found, strict=True):
            scores[row] = score
    columns = {
        "perplexity__bits_per_byte": [_rounded(s.nats / math.log(2), s.num_bytes) if s else None for s in scores],
        "perplexity__loss": [_rounded(s.nats, s.num_tokens) if s else None for s in scores],
        "perplexity__tokens": [s.num_tokens if s else None for s in scores],
    }
    return pl.DataFrame(columns, schema={name: column.dtype for name, column in ADDS.items()})


def in_sample(doc_ids: pl.Series, share: float, seed: int) -> pl.Series:
    """Return whether each document is of the sample: Boolean, by a seeded hash of its id and nothing else."""
    if share == 1:
        return pl.repeat(True, len(doc_ids), dtype=pl.Boolean, eager=True)
    limit = int(share * 2**64)
    return pl.Series([seeded_order(seed, _SALT + doc_id) < limit for doc_id in doc_ids], dtype=pl.Boolean)


def _rounded(nats: float, units: int) -> float | None:
    return round(nats / units, 4) if units else None
