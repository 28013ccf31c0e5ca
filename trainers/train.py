"""The verb `train`: from a train recipe and a mixture to a model, a loss curve and a verdict on forgetting.

1. resolve the recipe, the mixture version and the base, all by digest (trainers.job); an earlier run of the name goes
   on or answers
2. gates: every probe covered by the mixture and by its ancestors', one tokenizer, enough embeddings
3. the model, its adapters, fp32 masters, on every rank or divided (trainers.prepare); then the proof that documents in
   one row cannot see each other
4. the loop (trainers.loop), from the newest checkpoint
5. final/, metrics, verdict, receipt (trainers.final)
"""

import platform
import time
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import engine
from engine.base.errors import RecipeError, problem
from engine.base.hashing import digest_json
from engine.base.progress import progress, say
from engine.formats.receipt import NAME as RECEIPT
from engine.formats.takedowns import require_none_taken_down
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from trainers.blocks import is_checkpointing, wants_checkpointing
from trainers.checkpoint import latest_checkpoint, load_checkpoint, remove_leftovers
from trainers.coverage import require_coverage
from trainers.dry_run import announce, plan_of, show_plan
from trainers.final import finish
from trainers.isolation import prove_isolation
from trainers.job import Job, resolve_job
from trainers.loop import Training, train_steps
from trainers.model import keep_freed_memory
from trainers.new_rows import described
from trainers.out_of_memory import told_what_would_fit
from trainers.prepare import prepare
from trainers.preview import preview as preview_rows
from trainers.preview import show_preview
from trainers.record import differences
from trainers.torchrun import joined
from trainers.trackers import Tracker, require_trackers, tracking
from trainers.world import World


def train(
    recipe: Path | str,
    workspace: Path | str = DEFAULT_WORKSPACE,
    name: str | None = None,
    dry_run: bool = False,
    ranks: int | None = None,
    preview: int | None = None,
) -> dict[str, Any]:
    """Train as the recipe says, or go on where a killed run of it stopped; return the run's summary.

    `name` replaces the run's name. A finished run answers at once. `dry_run`: check all that, return what the run would
    be and need (trainers.dry_run), for so many `ranks`, and write nothing. `preview`: train nothing and return so many
    rows as they would be trained on. Raises RecipeError (recipe, or a name that belongs to another run), InputError (a
    file, a mixture with documents that were taken down), AuditError (an uncovered probe, unsound labels, documents that
    see each other, a loss that is no number). Exceeding the forgetting budget is no error: `within_budget` says it.
    Under torchrun every rank calls this (trainers.torchrun).
    """
    with joined() as world:
        if ranks is not None and not (dry_run and ranks > 0):
            raise RecipeError(problem("--ranks", f"got {ranks}", "1 or more, with --dry-run"))
        if preview is not None and dry_run:
            raise RecipeError(problem("--preview", "given with --dry-run", "one of the two"))
        job = resolve_job(Path(recipe), Workspace.open(workspace), name)
        if preview is not None:
            job.require_sound_answers()
            return {"preview": preview_rows(job, preview)}
        record = job.record
        record.require_same(job.identity())
        if dry_run:
            return plan_of(job, passed_gates(job), ranks or world.size)
        world.require_same(job.recipe.name, job=digest_json(job.identity()), packages=digest_json(_packages()))
        if not world.from_main((record.folder / RECEIPT).is_file()):
            waived = passed_gates(job)
            for text in waived:
                say(f"{job.recipe.name}: waived: {text}")
            announce(job, world.size)
            computes_twice = wants_checkpointing(job.recipe.gradient_checkpointing, job.base.num_parameters)
            rows_of_rank = -(-job.rows.schedule.meta.rows_per_step // world.size)
            with told_what_would_fit(job.recipe, rows_of_rank, computes_twice):
                _train(job, world, waived)
        content = record.content
    assert content is not None
    return {
        "run": job.recipe.name,
        "folder": str(record.folder),
        "waived": content.get("waived", []),
        "lineage": content["lineage"],
        **content["summary"],
    }


def show_train(result: dict[str, Any]) -> str:
    """Return the run's outcome, for a terminal; what the gate was told to let through stands first."""
    if result.get("dry_run"):
        return show_plan(result)
    if "preview" in result:
        return show_preview(result["preview"])
    lines = [
        *(f"WAIVED: {text}" for text in result["waived"]),
        f"{result['run']}: {result['steps']:,} steps on {result['mixture']}, loss {result['loss_first']:.3f} -> "
        f"{result['loss_last']:.3f}, {result['tokens']:,} tokens at {result['tokens_per_second']:,.0f} a second",
    ]
    for probe in result["probes"]:
        change = " ".join(f"{100 * probe[name]:+.2f}" for name in ("rise_low", "rise_high"))
        kind = "general" if probe["is_general"] else "domain"
        lines.append(
            f"  {probe['probe']} ({kind}): {probe['bits_per_byte_before']:.4f} -> {probe['bits_per_byte']:.4f} bits "
            f"per byte, {100 * probe['relative_rise']:+.2f} % (95 % interval {change})"
        )
    if result["within_budget"] is not None:
        verdict = "within" if result["within_budget"] else "OVER"
        lines.append(f"  forgetting: {verdict} the budget of {100 * result['max_general_bpb_rise']:+.2f} %")
    behind = [f"{run['run']} ({run['mixture']['reference']})" for run in result["lineage"]["runs"]]
    if behind:
        lines.append(
            f"  behind it: {' > '.join(behind)}; pre-training of the first base: {result['lineage']['pretraining']}"
        )
    return "\n".join([*lines, f"  {result['folder']}"])


def passed_gates(job: Job) -> list[str]:
    """Return what the recipe waives; raises where anything else keeps the run from starting."""
    require_none_taken_down(job.workspace, job.mixture)
    require_trackers(job.recipe.track)
    waived = require_coverage(job.recipe.probes, job.recipe.gate, job.mixture, job.base.runs, job.workspace)
    return waived + job.require_sound_answers()


def _train(job: Job, world: World, waived: list[str]) -> None:
    started = time.monotonic()
    keep_freed_memory()
    with progress(f"loading the base {job.base.name}"):
        training = prepare(job, world)
        proof = prove_isolation(training.model, training.rows, world.device)
    with job.record.exclusive() if world.is_main else nullcontext():
        if not world.from_main((job.record.folder / RECEIPT).is_file()):  # another may have been at work meanwhile
            content = _train_exclusively(job, training, proof, waived)
            finish(job, training, content, started)
    world.wait()


def _train_exclusively(job: Job, training: Training, proof: dict[str, Any], waived: list[str]) -> dict[str, Any]:
    record, world = job.record, training.world
    if world.is_main:
        remove_leftovers(record.folder / "checkpoints")
    first, checkpoint = latest_checkpoint(record.folder / "checkpoints")
    world.require_same(record.folder, checkpoint=digest_json(first))
    stored = record.content
    before = stored["sessions"] if stored else []
    session = {"from_step": first, "precision": proof["precision"], **_environment(world)}
    if first and (changed := differences({**before[-1], "from_step": first}, session)):
        say(f"{job.recipe.name}: goes on with another {'; '.join(changed)}: the last digits of the result may differ")
    content = {
        "run": job.recipe.name,
        **job.identity(),
        "lineage": job.base.lineage(),
        "model": _describe_model(training, proof["precision"]),
        "vocabulary": described(job.base.new_rows, job.tokenizer.folder),
        "isolation": proof,
        "waived": waived,
        "generation": job.generation(),
        "sessions": [*before, session],
        "summary": None,
    }
    if world.is_main:
        record.write(content)
        record.go_back_to(first)
    world.wait()
    if checkpoint is not None:
        load_checkpoint(checkpoint, training.optimizer, training.identity)
    tracked: AbstractContextManager[list[Tracker]] = nullcontext([])
    with tracking(job.recipe, record.folder, first) if world.is_main else tracked as trackers:
        train_steps(training, first, trackers)
    return content


def _describe_model(training: Training, precision: str) -> dict[str, Any]:
    causal, optimizer = training.model.causal, training.optimizer
    return {
        "architecture": type(causal).__name__,
        "parameters": causal.num_parameters(),
        "trained_parameters": sum(p.numel() for p in optimizer.masters.values()),
        "optimizer": optimizer.config.kind,
        "freezing": None if optimizer.freezing is None else optimizer.freezing.describe(),
        "gradient_checkpointing": is_checkpointing(causal),
        "precision": precision,
        "quantised": "nf4" if getattr(causal, "is_loaded_in_4bit", False) else None,
    }


def _environment(world: World) -> dict[str, Any]:
    device = world.device
    return {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "ranks": world.size,
        "python": platform.python_version(),
        "provender": engine.__version__,
        **_packages(),
    }


def _packages() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "peft")}
