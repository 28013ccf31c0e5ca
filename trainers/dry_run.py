"""What a training would be, before anything is loaded: `provender train RECIPE --dry-run`, and the lines in front of
every run. Nothing is written."""

from collections.abc import Iterator
from typing import Any

import polars as pl
import torch

from engine.base.errors import RecipeError
from engine.base.machine_memory import free_memory
from engine.base.progress import say
from engine.base.terminal import terminal_width, wrapped
from engine.formats.run import open_run, run_names
from trainers.job import Job
from trainers.learning_rates import default_rate
from trainers.memory import FP32, comes_in_4_bits, free_bytes, memory_of
from trainers.model import choose_device
from trainers.new_rows import check_new_rows
from trainers.out_of_memory import changed, smaller, told
from trainers.recipe import TrainRecipe

PARTS = ("weights", "adapters", "masters", "optimizer", "gradients", "activations", "logits")
MOST_RANKS = 8


def plan_of(job: Job, waived: list[str], ranks: int = 1) -> dict[str, Any]:
    """Return what the run would be and need on each of `ranks` devices.

    Sizes are bytes. `changes`: settings that need less, each with those before it, up to the first that fits.
    """
    tokens, labels = tokens_of(job)
    device = choose_device()
    speed, where = known_speed(job, device)
    sizes = _sizes(job, device, ranks)
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
    recipe, free = job.recipe, free_bytes(device)
    memory = memory_of(job, device, ranks)
    loads_on_host = device.type == "cuda" and not comes_in_4_bits(job, recipe, torch.device("cpu"))
    host = memory.total_parameters * FP32 if loads_on_host else 0
    host_free = free_memory()
    sizes = {
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
        "fits": _fits(memory.needed, device, ranks, free) and host * ranks <= host_free,
    }
    return sizes | {
        "changes": [] if sizes["fits"] else list(_changes(job, device, ranks, free, memory.gradient_checkpointing))
    }


def _fits(needed: int, device: torch.device, ranks: int, free: int) -> bool:
    # Processes on a CPU share its memory.
    return needed * (ranks if device.type == "cpu" else 1) <= free


def _changes(job: Job, device: torch.device, ranks: int, free: int, twice: bool) -> Iterator[dict[str, Any]]:
    """Yield settings that need less, each with those before it, up to the first that fits; then more devices."""

    def tried(recipe: TrainRecipe, said: str, number: int) -> dict[str, Any]:
        memory = memory_of(job, device, number, recipe)
        fits = _fits(memory.needed, device, number, free)
        return {"change": said, "peak": memory.peak, "needed": memory.needed, "fits": fits}

    given: dict[str, Any] = {}
    for change in smaller(job.recipe, -(-job.rows.schedule.meta.rows_per_step // ranks), twice):
        recipe = _possible(job, given | change)
        if recipe is not None:
            given |= change
            yield (found := tried(recipe, told(given), ranks))
            if found["fits"]:
                return
    divided, number = _possible(job, {"parallel": "fsdp"}), 2 * ranks
    while divided is not None and device.type == "cuda" and number <= MOST_RANKS:
        yield tried(divided, f"parallel: fsdp on {number} devices", number)
        number *= 2


def _possible(job: Job, change: dict[str, Any]) -> TrainRecipe | None:
    recipe = changed(job.recipe, change)
    try:
        if recipe is not None:
            check_new_rows(recipe, job.base.new_rows)
    except RecipeError:
        return None
    return recipe


def announce(job: Job, ranks: int) -> None:
    """Say on stderr what is trained and what memory it needs."""
    plan = _sizes(job, choose_device(), ranks)
    for line in (_trained(plan), _memory(plan), *_too_large(plan)):
        say(f"{plan['run']}: {line}")


def show_plan(plan: dict[str, Any]) -> str:
    """Return the plan for a terminal."""
    said = [
        _trained(plan),
        plan["learning_rate_from"],
        _memory(plan),
        *(_too_large(plan) or ["it fits"]),
        f"time: {'unknown' if plan['seconds'] is None else duration(plan['seconds'])} ({plan['seconds_from']})",
    ]
    head = (
        f"{plan['run']}: {plan['objective']} on {plan['mixture']}, {plan['steps']:,} steps, {plan['tokens']:,} tokens, "
        f"{plan['supervised_tokens']:,} of them labels"
    )
    width = terminal_width()
    lines = [f"WAIVED: {text}" for text in plan["waived"]] + wrapped(head, width).splitlines()
    return "\n".join([*lines, *(wrapped(line, width, 2) for line in said)])


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
                speed = content["summary"]["tokens_per_second"] / session["ranks"]
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
    return f"{seconds:,.0f} seconds" if seconds >= 10 else f"{seconds:.2g} seconds"


def _kind(recipe: dict[str, Any]) -> dict[str, Any]:
    names = ("precision", "gradient_checkpointing", "compile")
    return {"method": recipe["tuning"]["method"], **{name: recipe[name] for name in names}}


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
    rough = "" if memory["is_counted"] else ", and activations, which no run without data counts for this model"
    each = f" of each of {plan['ranks']} processes" if plan["ranks"] > 1 else ""
    host = f"; loading takes {_gigabytes(plan['host_memory'])} of the host's {_gigabytes(plan['host_free'])}"
    return (
        f"memory{each} on {plan['device']}: at most {_gigabytes(memory['peak'])} at once ({parts}) in "
        f"{memory['precision']}{twice}{rough}; with what libraries take {_gigabytes(memory['needed'])}, and "
        f"{_gigabytes(plan['free_memory'])} are free{host if plan['host_memory'] else ''}"
    )


def _too_large(plan: dict[str, Any]) -> list[str]:
    if plan["fits"]:
        return []
    ways = [f"{one['change']} ({_gigabytes(one['needed'])}{', fits' * one['fits']})" for one in plan["changes"]]
    return ["it would NOT fit; less is needed with", *(f"  {way}" for way in ways or ["nothing but a smaller base"])]


def _gigabytes(size: int) -> str:
    if size >= 1e8:
        return f"{size / 1e9:,.2f} GB"
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
