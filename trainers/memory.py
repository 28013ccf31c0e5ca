"""How much memory a run needs, by part, before anything is loaded.

Parts are computed from the base's configuration on the meta device (trainers.empty_model) and from the schedule's
fullest micro-batch (trainers.activations); no weight is read. `peak` is the most at once, over the moments below; it is
less than the sum of the parts, since gradients grow while activations go.

    load        all weights in fp32, and the masters cloned before the cast
    loss        activations, a chunk of logits, the head's gradient
    backward    gradients, and what one block works with
    save        on a CPU, the optimizer's state beside itself, when it is proven that it can be read back

Tests compare `peak` with the tensors really allocated (torch on a CPU, runs of two steps of small Llamas: full, LoRA,
frozen blocks, bf16, activations twice, a row at a time, 8 bits): 0.9 to 1.2 times. On CUDA nothing was compared yet.
What the allocator keeps and libraries take besides is not in it: MARGIN, BESIDES.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl
import torch

from engine.base.machine_memory import free_memory
from engine.formats.training_rows import TrainingRows
from trainers.activations import Activations, count_activations
from trainers.blocks import wants_checkpointing
from trainers.empty_model import EmptyModel, empty_model
from trainers.job import Job
from trainers.losses import CHUNK_LOGITS, MIN_CHUNK_TOKENS
from trainers.model import choose_dtype
from trainers.recipe import TrainRecipe
from trainers.recipe.tuning import VIRTUAL

FP32 = 4
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a number in 4 bits: blocks of 64 with scales of 8 bits, 256 of them with one of 32 (Dettmers et al. 2023,
arXiv:2305.14314, section 3)."""
BLOCK_8BIT, SMALLEST_8BIT = 256, 4096
"""bitsandbytes: numbers per scale, and the smallest tensor whose moments it keeps in 8 bits."""
MARGIN = 1.15
"""Free memory that is needed, as a multiple of `peak`: pieces that an allocator holds and nobody uses."""
BESIDES = 250_000_000
"""Free memory that is needed besides tensors. Measured on a CPU, 26 million parameters: resident memory rose above that
after the imports by 0.20 GB more than `peak` with full training, 0.27 with LoRA, 0.23 in 8 bits."""
LOOKED_AT = 1000
"""Steps whose micro-batches are looked at for the fullest."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the device of one rank."""

    weights: int
    adapters: int
    masters: int
    """fp32 copies of what is trained, where the weights are of two bytes."""
    optimizer: int
    """AdamW's two moments."""
    gradients: int
    activations: int
    """Kept for the backward pass of the fullest micro-batch."""
    logits: int
    """A chunk of logits, and the gradient of the head."""
    peak: int
    load: int
    """Peak before the first step: everything in fp32, masters beside it; on the host where the device is another."""
    total_parameters: int
    trained_parameters: int
    micro_batch_tokens: int
    precision: str
    gradient_checkpointing: bool
    is_counted: bool
    """Whether activations could be counted; else they come on top."""

    @property
    def needed(self) -> int:
        """Free memory that a run should find."""
        return int(MARGIN * self.peak) + BESIDES

    def described(self) -> dict[str, Any]:
        """Return all of it as --json prints it."""
        return {**asdict(self), "needed": self.needed}


def memory_of(job: Job, device: torch.device, ranks: int = 1, recipe: TrainRecipe | None = None) -> Memory:
    """Return the memory of a run on each of `ranks` devices; `recipe`: another than the job's, on the same data."""
    recipe = recipe or job.recipe
    row_tokens = job.rows.schedule.meta.row_tokens
    model = empty_model(job.base, recipe, job.tokenizer, row_tokens)
    dtype = choose_dtype(recipe.precision, model.base_parameters, device, ranks > 1 and recipe.parallel == "fsdp")
    computes_twice = wants_checkpointing(recipe.gradient_checkpointing, model.base_parameters)
    edges, batches = fullest_batch(job.rows, recipe, ranks)
    activations = count_activations(model.causal, edges, dtype, device.type == "cuda")
    memory = _sum(model, recipe, dtype, activations, computes_twice, edges[-1], batches, ranks)
    if device.type == "cpu":
        state = memory.weights + memory.adapters + memory.masters + 2 * memory.optimizer
        return replace(memory, peak=max(memory.peak, state))
    return memory


def fullest_batch(rows: TrainingRows, recipe: TrainRecipe, ranks: int = 1) -> tuple[list[int], int]:
    """Return where the documents of the micro-batch with most tokens begin and end, and the micro-batches of its step.

    Of the first LOOKED_AT steps; of equally full ones that with the longest documents.
    """
    per_step = rows.schedule.meta.rows_per_step
    of_rank = -(-per_step // ranks)
    at_once = min(recipe.micro_batch_rows or of_rank, of_rank)
    row = pl.col("row").cast(pl.Int64)
    length = pl.col("length").cast(pl.Int64)
    spans = rows.schedule.spans_where(pl.col("step") < LOOKED_AT).with_columns(
        (row // of_rank).alias("rank"), (row % of_rank // at_once).alias("batch")
    )
    sums = spans.group_by("step", "rank", "batch").agg(length.sum().alias("tokens"), (length**2).sum().alias("squares"))
    fullest = sums.sort("tokens", "squares", "step", "rank", "batch", descending=[True, True, False, False, False])
    chosen = spans.join(fullest.head(1), on=["step", "rank", "batch"], how="semi").sort("row", "start")
    front = recipe.tuning.virtual_tokens if recipe.tuning.method in VIRTUAL else 0
    edges = [0]
    for one in chosen["length"]:
        edges.append(edges[-1] + one + front)
    return edges, -(-of_rank // at_once)


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free on the device: of a GPU, or of this machine or its container."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()


def _sum(
    model: EmptyModel,
    recipe: TrainRecipe,
    dtype: torch.dtype,
    kept: Activations,
    computes_twice: bool,
    tokens: int,
    batches: int,
    ranks: int,
) -> Memory:
    size, trained, is_full = dtype.itemsize, sum(model.trained), recipe.tuning.method == "full"
    four_bits = model.linears if recipe.tuning.method == "qlora" else 0
    shards = ranks if recipe.parallel == "fsdp" else 1
    weights = int((model.base_parameters - four_bits) * size + four_bits * NF4_BYTES) // shards
    adapters = 0 if is_full else trained * size // shards
    masters = trained * FP32 // shards if size < FP32 else 0
    optimizer = moments(model.trained, recipe.optimizer.kind) // shards
    gradients = trained * (FP32 + (size if size < FP32 else 0)) // shards
    head = model.causal.get_output_embeddings().weight
    states = 2 * tokens * head.shape[1] * size
    head_gradient = head.numel() * (2 * FP32) if head.requires_grad else 0
    chunk = min(tokens, max(MIN_CHUNK_TOKENS, CHUNK_LOGITS // head.shape[0])) * head.shape[0]
    logits = chunk * (2 * FP32 + (size if size < FP32 else 0)) + head_gradient + states
    activations = kept.kept(computes_twice)
    # Of a block: its gradients beside what it kept; under fsdp, and in 4 bits, its weights gathered or unpacked.
    working = 3 * kept.largest
    block = (model.linears // max(1, len(kept.blocks))) * size
    unpacked = (2 * block if shards > 1 else 0) + (block if four_bits else 0)
    static = weights + adapters + masters + optimizer + unpacked
    earlier = trained * FP32 // shards if batches > 1 else 0
    inside = max(kept.blocks, default=0) if computes_twice else 0
    moments_of_step = (
        static + earlier + activations - inside + logits,
        static + earlier + activations + working,
        static + gradients + max(kept.blocks, default=0) + working,
    )
    load = model.base_parameters * FP32 + trained * FP32 * (2 if not is_full and size < FP32 else 1)
    if is_full and size == FP32:
        load -= trained * FP32
    return Memory(
        weights,
        adapters,
        masters,
        optimizer,
        gradients,
        activations,
        logits,
        max(*moments_of_step, 0 if four_bits or shards > 1 else load),
        load,
        model.base_parameters,
        trained,
        tokens,
        str(dtype).removeprefix("torch."),
        computes_twice,
        kept.is_counted,
    )


def moments(trained: Sequence[int], kind: str) -> int:
    """Return the bytes of AdamW's two moments of tensors of so many numbers each."""
    if kind == "adamw":
        return 2 * FP32 * sum(trained)
    return sum(2 * n + 2 * FP32 * -(-n // BLOCK_8BIT) if n >= SMALLEST_8BIT else 2 * FP32 * n for n in trained)
