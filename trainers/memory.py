"""How much memory a run needs, by part, before anything is loaded.

Parts are computed from the base's configuration on the meta device (trainers.empty_model) and from the schedule's
fullest micro-batch (trainers.activations); no weight is read. `peak` is the most at once, over the moments below; it is
less than the sum of the parts, since gradients grow while activations go.

    load        all weights in fp32, and the masters cloned before the cast
    loss        activations, a chunk of logits, the head's gradient
    backward    gradients, and what one block works with
    save        on a CPU, the optimizer's state beside itself, when it is proven that it can be read back

Tests compare `peak` with the tensors really allocated (torch on a CPU, runs of two steps of small Llamas): 0.9 to 1.2
times for full, frozen blocks, bf16, activations twice, a row at a time, 8 bits, LoRA, QLoRA, IA3, prompt, prefix and
padded rows; by hand 0.9 to 1.0 for two processes under fsdp, full and LoRA, 13 million parameters. On CUDA nothing was
compared yet. What the allocator keeps and libraries take besides is not in it: MARGIN, BESIDES.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import polars as pl
import torch

from engine.base.machine_memory import free_memory
from engine.formats.training_rows import TrainingRows
from trainers.activations import count_activations
from trainers.attention import has_such_attention
from trainers.blocks import wants_checkpointing
from trainers.empty_model import EmptyModel, empty_model
from trainers.fsdp import divided_type
from trainers.job import Job
from trainers.losses import CHUNK_LOGITS, MIN_CHUNK_TOKENS
from trainers.model import choose_dtype
from trainers.quantised import is_whole
from trainers.recipe import TrainRecipe
from trainers.recipe.tuning import VIRTUAL
from trainers.virtual_tokens import of_like_length

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
    """fp32 copies of what is trained, where the weights are of two bytes; under fsdp they are the weights."""
    optimizer: int
    """AdamW's two moments."""
    gradients: int
    activations: int
    """Kept for the backward pass of the fullest micro-batch."""
    logits: int
    """A chunk of logits, and the gradient of the head."""
    peak: int
    total_parameters: int
    trained_parameters: int
    micro_batch_tokens: int
    """Padding included, where rows are padded."""
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
    model = empty_model(job.base, recipe, job.tokenizer, row_tokens + recipe.tuning.positions_in_front)
    dtype = choose_dtype(recipe.precision, model.base_parameters, device)
    shards = ranks if recipe.parallel == "fsdp" else 1
    dtype = divided_type(dtype) if shards > 1 else dtype
    computes_twice = wants_checkpointing(recipe.gradient_checkpointing, model.base_parameters)
    is_flat = recipe.tuning.method not in VIRTUAL and has_such_attention(model.causal.config, row_tokens)
    edges, batches = fullest_batch(job.rows, recipe, ranks, is_flat)
    kept = count_activations(model.causal, edges, dtype, device.type == "cuda")
    parts = _parts(model, recipe, dtype, shards)
    gradients, earlier = parts.pop("gradients"), sum(model.trained) * FP32 // shards if batches > 1 else 0
    own_tokens = edges[-1] - recipe.tuning.positions_in_front * (len(edges) - 1)
    activations, logits = kept.kept(computes_twice), _logits(model, dtype, own_tokens)
    stays = sum(parts.values())
    whole = _whole(model, recipe, dtype, shards, len(kept.blocks))
    of_block, working = max(kept.blocks, default=0), 3 * kept.largest
    peaks = [
        stays + whole + earlier + activations - (of_block if computes_twice else 0) + logits,
        stays + whole + earlier + activations + working,
        stays + whole + gradients + of_block + working,
    ]
    # A divided model is loaded on the host, and one in 4 bits layer by layer.
    if (device.type == "cpu" or shards == 1) and not comes_in_4_bits(job, recipe, device):
        adapters = 0 if recipe.tuning.method == "full" else sum(model.trained)
        peaks.append((model.base_parameters + adapters) * FP32 + parts["masters"])
    if device.type == "cpu":
        # Read back by every process; what is divided, gathered by the main one for a checkpoint.
        masters = sum(model.trained) * FP32 if shards > 1 else 0
        peaks.append(stays + parts["optimizer"] * shards + masters)
    return Memory(
        **parts,
        gradients=gradients,
        activations=activations,
        logits=logits,
        peak=max(peaks),
        total_parameters=model.base_parameters,
        trained_parameters=sum(model.trained),
        micro_batch_tokens=edges[-1],
        precision=str(dtype).removeprefix("torch."),
        gradient_checkpointing=computes_twice,
        is_counted=kept.is_counted,
    )


def fullest_batch(
    rows: TrainingRows, recipe: TrainRecipe, ranks: int = 1, is_flat: bool = True
) -> tuple[list[int], int]:
    """Return where the documents of the micro-batch with most tokens begin and end, and the micro-batches of its step.

    Of the first LOOKED_AT steps; of equally full ones that with the longest documents. What a model that is not flat
    (trainers.language_model) runs on is longer by its padding: rows; documents where the recipe says `packed: false` or
    something learnt stands in front of them.
    """
    per_step, front = rows.schedule.meta.rows_per_step, recipe.tuning.positions_in_front
    of_rank = -(-per_step // ranks)
    at_once = min(recipe.micro_batch_rows or of_rank, of_rank)
    row, length, batch = pl.col("row").cast(pl.Int64), pl.col("length").cast(pl.Int64), ["step", "rank", "batch"]
    rank = ((row + 1) * ranks - 1) // per_step  # as engine.formats.schedule.rank_rows
    spans = rows.schedule.spans_where(pl.col("step") < LOOKED_AT)
    spans = spans.with_columns(rank.alias("rank"), ((row - per_step * rank // ranks) // at_once).alias("batch"), length)
    has_padded_rows = not is_flat and recipe.packed and not front
    if has_padded_rows:
        end = (pl.col("start") + pl.col("length")).max()
        spans = spans.group_by(*batch, "row").agg(pl.col("start").min(), end.alias("length"))
        spans = spans.with_columns(pl.col("length").max().over(batch))
    sums = spans.group_by(batch).agg(length.sum().alias("tokens"), (length**2).sum().alias("squares"))
    fullest = sums.sort("tokens", "squares", *batch, descending=[True, True, False, False, False])
    lengths = spans.join(fullest.head(1), on=batch, how="semi").sort("row", "start")["length"].to_list()
    if not (is_flat or has_padded_rows):
        groups = of_like_length([(number, place) for place, number in enumerate(lengths)])
        lengths = [group[0][0] + front for group in groups for _ in group]
    return [0, *accumulate(lengths)], -(-of_rank // at_once)


def comes_in_4_bits(job: Job, recipe: TrainRecipe, device: torch.device) -> bool:
    """Whether the base never stands in fp32 on a device: what no folder holds is made on the host before."""
    return recipe.tuning.method == "qlora" and (device.type == "cuda" or is_whole(job.base, job.tokenizer))


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free on the device: of a GPU, or of this machine or its container."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()


def moments(trained: Sequence[int], kind: str) -> int:
    """Return the bytes of AdamW's two moments of tensors of so many numbers each."""
    if kind == "adamw":
        return 2 * FP32 * sum(trained)
    return sum(2 * n + 2 * FP32 * -(-n // BLOCK_8BIT) if n >= SMALLEST_8BIT else 2 * FP32 * n for n in trained)


def _parts(model: EmptyModel, recipe: TrainRecipe, dtype: torch.dtype, shards: int) -> dict[str, int]:
    """Return what stays between two micro-batches, and the gradients, on each of `shards` devices."""
    size = FP32 if shards > 1 else dtype.itemsize  # what is divided are the masters
    copies = FP32 if size < FP32 else 0
    trained, four_bits = sum(model.trained), model.linears if recipe.tuning.method == "qlora" else 0
    parts = {
        "weights": (model.base_parameters - four_bits) * size + four_bits * NF4_BYTES,
        "adapters": 0 if recipe.tuning.method == "full" else trained * size,
        "masters": trained * copies,
        "optimizer": moments(model.trained, recipe.optimizer.kind),
        "gradients": trained * (size + copies),
    }
    return {name: int(part) // shards for name, part in parts.items()}


def _logits(model: EmptyModel, dtype: torch.dtype, tokens: int) -> int:
    """Return what the loss needs at once (trainers.losses): states and gradient, a chunk of logits, the head's own."""
    head, size = model.causal.get_output_embeddings().weight, dtype.itemsize
    chunk = min(tokens, max(MIN_CHUNK_TOKENS, CHUNK_LOGITS // head.shape[0])) * head.shape[0]
    of_head = head.numel() * 2 * FP32 if head.requires_grad else 0
    return int(2 * tokens * head.shape[1] * size + chunk * (2 * FP32 + (size if size < FP32 else 0)) + of_head)


def _whole(model: EmptyModel, recipe: TrainRecipe, dtype: torch.dtype, shards: int, blocks: int) -> int:
    """Return what weights take that are made whole to compute with: of 4 bits those of a block; under fsdp those of two
    blocks and all that belongs to none, what they are gathered in, and their gradients before these are divided."""
    block, beside = model.linears // max(1, blocks), model.base_parameters - model.linears
    if shards == 1:
        return block * dtype.itemsize if recipe.tuning.method == "qlora" else 0
    gradients = block + beside if recipe.tuning.method == "full" else 0
    return (2 * block + beside + max(block, beside) + gradients) * dtype.itemsize
