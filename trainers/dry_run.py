"""What a training would be, before anything is loaded: `provender train RECIPE --dry-run`, and the lines in front of
every run. Nothing is written."""

import os
from collections.abc import Iterator
from typing import Any

import polars as pl
import torch

from engine.base.machine_memory import free_memory
from engine.base.progress import say
from engine.formats.run import open_run, run_names
from trainers.job import Job
from trainers.learning_rates import default_rate
from trainers.memory import free_bytes, memory_of
from trainers.model import choose_device
from trainers.recipe import FreezingConfig, TrainRecipe

PARTS = ("weights", "adapters", "masters", "optimizer", "gradients", "activations", "logits")
MOST_RANKS = 8


def plan_of(job: Job, waived: list[str], ranks: int | None = None) -> dict[str, Any]:
    """Return what the run would be and need on each of `ranks` devices (default: those torchrun started, or one).

    Sizes are bytes. `changes`: settings that need less, with what they would need; empty where the run fits.
    """
    tokens, labels = tokens_of(job)
    device = choose_device()
    speed, where = known_speed(job, device)
    sizes = _sizes(job, device, ranks or started_ranks())
    return {
        "dry_run": True,
        "mixture": job.mixture.reference,
        "objective": job.recipe.objective,
        "learning_rate": job.recipe.optimizer.learning_rate,
        "learning_rate_from": rate_from(job),
        "steps": job.num_steps,
        "tokens": tokens,
        "supervised_tokens": labels,
        **sizes,
        "seconds": None if speed is None else round(tokens / (speed * sizes["ranks"])),
        "seconds_from": where,
        "waived": waived,
    }


def _sizes(job: Job, device: torch.device, ranks: int) -> dict[str, Any]:
    recipe = job.recipe
    memory, free = memory_of(job, device, ranks), free_bytes(device)
    host = memory.total_parameters * 4 if device.type == "cuda" else 0
    host_free = free_memory()
    fits = memory.needed <= free and host * ranks <= host_free
    return {
        "run": recipe.name,
        "base": job.base.described(),
        "tuning": recipe.tuning.method,
        "parameters": memory.total_parameters,
        "trained_parameters": memory.trained_parameters,
        "trained_share": round(memory.trained_parameters / memory.total_parameters, 6),
        "device": str(device),
        "ranks": ranks,
        "parallel": recipe.parallel if ranks > 1 else None,
        "memory": memory.described(),
        "free_memory": free,
        "host_memory": host,
        "host_free": host_free,
        "fits": fits,
        "changes": [] if fits else list(_changes(job, device, ranks, free)),
    }


def announce(job: Job) -> None:
    """Say on stderr what is trained and what memory it needs; nothing on ranks other than the first."""
    if os.environ.get("RANK", "0") != "0":
        return
    plan = _sizes(job, choose_device(), started_ranks())
    say(f"{plan['run']}: {_trained(plan)}")
    say(f"{plan['run']}: {_memory(plan)}")
    if not plan["fits"]:
        say(f"{plan['run']}: it may not fit; would need less: {_listed(plan['changes'])}")


def show_plan(plan: dict[str, Any]) -> str:
    """Return the plan for a terminal."""
    lines = [f"WAIVED: {text}" for text in plan["waived"]]
    lines += [
        f"{plan['run']}: {plan['objective']} on {plan['mixture']}, {plan['steps']:,} steps, {plan['tokens']:,} tokens, "
        f"{plan['supervised_tokens']:,} of them labels",
        f"  {_trained(plan)}",
        f"  {plan['learning_rate_from']}",
        f"  {_memory(plan)}",
    ]
    if plan["fits"]:
        lines.append("  it fits")
    else:
        lines.append("  it does NOT fit; less would be needed with:")
        lines += [
            f"    {change['change']}: {_gigabytes(change['peak'])}" + (", fits" if change["fits"] else "")
            for change in plan["changes"]
        ]
    seconds = plan["seconds"]
    expected = "unknown" if seconds is None else duration(seconds)
    return "\n".join([*lines, f"  time: {expected} ({plan['seconds_from']})", "  nothing was loaded or written"])


def started_ranks() -> int:
    """Return how many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def tokens_of(job: Job) -> tuple[int, int]:
    """Return the tokens of the run's steps, and its labels."""
    spans = job.rows.schedule.spans_where(pl.col("step") < job.num_steps)
    return int(spans["length"].cast(pl.Int64).sum()), int(spans["supervised_tokens"].cast(pl.Int64).sum())


def rate_from(job: Job) -> str:
    """Return in words where the learning rate comes from."""
    recipe = job.recipe
    rate, objective = recipe.optimizer.learning_rate, recipe.objective or "dapt"
    if rate != default_rate(recipe, objective, job.base.num_parameters):
        return f"learning rate {rate:g}: the recipe's"
    if recipe.tuning.method != "full":
        why = f"for {recipe.tuning.method}"
    elif job.base.num_parameters is None:
        why = "for a model from scratch"
    else:
        why = "for all weights on answers" if objective == "sft" else "a tenth of what its size is pre-trained with"
    return f"learning rate {rate:g}: the default, {why}"


def known_speed(job: Job, device: torch.device) -> tuple[float | None, str]:
    """Return tokens per second of one rank in the longest finished run like this one, and which that was.

    Like it: the same base, method, gradient checkpointing, precision and device, in this workspace.
    """
    on_cuda = device.type == "cuda"
    machine = torch.cuda.get_device_name(device) if on_cuda else torch.backends.cpu.get_cpu_capability()
    wanted = _kind(job.recipe.resolved()) | {"base": job.base.digest, "device": machine}
    found = []
    for name in run_names(job.workspace):
        run = open_run(job.workspace, name)
        content = run.content
        if run.is_finished and content["summary"] is not None:
            kind = _kind(content["recipe"]) | {"base": content["base"]["digest"]}
            session = content["sessions"][-1]
            if kind | {"device": session["device"]} == wanted:
                speed = content["summary"]["tokens_per_second"] / session.get("ranks", 1)
                found.append((content["summary"]["steps"], run.name, speed))
    if not found:
        return None, "no run of this base and method is finished on this device"
    steps, name, speed = max(found)
    return speed, f"from run {name}: {speed:,.0f} tokens a second over {steps:,} steps"


def duration(seconds: float) -> str:
    """Return seconds in words."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} seconds" if seconds >= 10 else f"{seconds:.1f} seconds"


def _kind(recipe: dict[str, Any]) -> dict[str, Any]:
    names = ("precision", "gradient_checkpointing", "compile")
    return {"method": recipe["tuning"]["method"], **{name: recipe[name] for name in names}}


def _changes(job: Job, device: torch.device, ranks: int, free: int) -> Iterator[dict[str, Any]]:
    for change, recipe, number in _smaller(job, ranks):
        memory = memory_of(job, device, number, recipe)
        yield {"change": change, "peak": memory.peak, "needed": memory.needed, "fits": memory.needed <= free}


def _smaller(job: Job, ranks: int) -> Iterator[tuple[str, TrainRecipe, int]]:
    """Yield settings that need less memory, those that change least of the result first, and all these at once."""
    recipe = job.recipe
    rows = -(-job.rows.schedule.meta.rows_per_step // ranks)
    at_once = min(recipe.micro_batch_rows or rows, rows)
    same: dict[str, Any] = {}
    if at_once > 1:
        same["micro_batch_rows"] = 1
        if at_once > 3:
            yield f"micro_batch_rows: {at_once // 2}", _changed(recipe, micro_batch_rows=at_once // 2), ranks
        yield "micro_batch_rows: 1", _changed(recipe, micro_batch_rows=1), ranks
    if not recipe.gradient_checkpointing:
        same["gradient_checkpointing"] = True
        yield "gradient_checkpointing: true", _changed(recipe, gradient_checkpointing=True), ranks
    if len(same) > 1:
        yield "both of these", _changed(recipe, **same), ranks
    number = max(2, 2 * ranks)
    while number <= MOST_RANKS and not recipe.undividable:
        yield f"parallel: fsdp on {number} devices", _changed(recipe, parallel="fsdp"), number
        number *= 2
    if recipe.optimizer.kind == "adamw":
        optimizer = recipe.optimizer.model_copy(update={"kind": "adamw_8bit"})
        same["optimizer"] = optimizer
        yield "optimizer: {kind: adamw_8bit}", _changed(recipe, optimizer=optimizer), ranks
    if recipe.tuning.method in ("full", "lora"):
        tuning = recipe.tuning.model_copy(update={"method": "qlora"})
        changed = {"tuning": tuning, "freezing": FreezingConfig()}
        yield "tuning: {method: qlora}", _changed(recipe, **changed), ranks
        if same:
            yield "all of these on one device", _changed(recipe, **same, **changed), ranks


def _changed(recipe: TrainRecipe, **changes: Any) -> TrainRecipe:
    return recipe.model_copy(update=changes)


def _trained(plan: dict[str, Any]) -> str:
    share = 100 * plan["trained_share"]
    return (
        f"{plan['tuning']} on {plan['base']['name']}: {plan['trained_parameters']:,} parameters are trained, "
        f"{share:.3g} % of {plan['parameters']:,}"
    )


def _memory(plan: dict[str, Any]) -> str:
    memory = plan["memory"]
    parts = ", ".join(f"{part} {_gigabytes(memory[part])}" for part in PARTS if memory[part])
    twice = ", activations computed twice" if memory["gradient_checkpointing"] else ""
    twice += "" if memory["is_counted"] else ", and activations, which no run without data counts for this model"
    return (
        f"memory of {plan['device']}: at most {_gigabytes(memory['peak'])} at once ({parts}) in {memory['precision']}"
        f"{twice}; {_gigabytes(plan['free_memory'])} are free"
    ) + (
        f"; loading takes {_gigabytes(plan['host_memory'])} of the host's {_gigabytes(plan['host_free'])}"
        if plan["host_memory"]
        else ""
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def _listed(changes: list[dict[str, Any]]) -> str:
    fitting = [change for change in changes if change["fits"]] or changes
    return "; ".join(f"{change['change']} ({_gigabytes(change['peak'])})" for change in fitting)
