"""From a job to what the loop works on: the model, what of it is trained, the optimizer and the probes."""

import torch

from engine.base.progress import say
from engine.formats.split import Split
from engine.formats.tokenizer import special_pieces
from trainers.adapters import add_adapters
from trainers.attention import attend_by_document
from trainers.blocks import checkpoint_blocks, compile_blocks, wants_checkpointing
from trainers.embeddings import sum_in_fp32
from trainers.freezing import freezing_of
from trainers.fsdp import shard
from trainers.job import Job
from trainers.loop import Training
from trainers.model import choose_dtype, load_base
from trainers.optim import MasterOptimizer
from trainers.probes import probe_documents
from trainers.quantised import load_quantised
from trainers.recipe.tuning import VIRTUAL
from trainers.replicas import require_same_weights
from trainers.vocabulary import NewRowsFirst, require_learnt_stops
from trainers.world import World


def prepare(job: Job, world: World) -> Training:
    """Load the base and put in what is trained, on every rank or divided; nothing is written."""
    recipe, row_tokens = job.recipe, job.rows.schedule.meta.row_tokens
    is_divided = world.size > 1 and recipe.parallel == "fsdp"
    longest = row_tokens + recipe.tuning.positions_in_front
    if recipe.tuning.method == "qlora":
        dtype = choose_dtype(recipe.precision, job.base.num_parameters or 0, world.device)
        loaded = load_quantised(job.base, job.tokenizer, longest, recipe.seed, dtype, world.device)
    else:
        loaded = load_base(job.base, job.tokenizer, longest, recipe.seed)
        loaded = loaded if is_divided else loaded.to(world.device)
        dtype = choose_dtype(recipe.precision, loaded.num_parameters(), world.device)
    stops = {*job.stop_ids, job.tokenizer.meta.eos_id}
    require_learnt_stops(loaded, special_pieces(job.tokenizer), sorted(stops), recipe.tuning.method)
    if recipe.tuning.method not in VIRTUAL:
        attend_by_document(loaded, row_tokens)
    sum_in_fp32(loaded)
    model = add_adapters(loaded, recipe.tuning, recipe.seed, job.base.new_rows)
    model.packed = recipe.packed
    freezing = freezing_of(loaded, recipe)
    require_same_weights(dict(model.named_parameters()), world, "at the start")
    if is_divided:
        shard(model, world, dtype)
        dtype = torch.float32  # what is divided are the masters; FSDP gathers them rounded
    optimizer = MasterOptimizer(model, model.trained(), recipe.optimizer, dtype, freezing)
    first = NewRowsFirst(model, job.base.new_rows, recipe.vocabulary.new_rows_steps)
    if recipe.optimizer.kind == "paged_adamw_8bit" and world.device.type != "cuda":
        say(f"{recipe.name}: nothing is paged without CUDA: adamw_8bit")
    if wants_checkpointing(recipe.gradient_checkpointing, job.base.num_parameters):
        checkpoint_blocks(loaded)
    if recipe.compile:
        compile_blocks(loaded)
    split = job.mixture.manifest.split
    probes = []
    if recipe.probes.sets and split is not None:
        probes = probe_documents(recipe.probes, Split(job.workspace.split(split), split), job.tokenizer)
    return Training(recipe, job.rows, model, optimizer, job.record, world, job.num_steps, probes, job.identity(), first)
