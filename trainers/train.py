"""The verb `train`: from a train recipe and a mixture to a model, a loss curve and a verdict on forgetting.

1. resolve the recipe, the mixture version and the base, all by digest; an earlier run of the name goes on or answers
2. gates: every probe covered by the mixture and by its ancestors', one tokenizer, enough embeddings
3. the model, its adapters, fp32 masters; then the proof that documents in one row cannot see each other
4. the loop (trainers.loop), from the newest checkpoint
5. final/, metrics, verdict, receipt
"""

import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import torch

import engine
from engine.base.atomic import atomic_folder
from engine.base.errors import InputError, RecipeError, problem
from engine.base.progress import progress, say
from engine.base.recipe_errors import check
from engine.formats.manifest import Mixture, open_mixture
from engine.formats.parquet import write_parquet
from engine.formats.receipt import NAME as RECEIPT
from engine.formats.receipt import Receipt, write_receipt
from engine.formats.split import Split
from engine.formats.takedowns import require_none_taken_down
from engine.formats.tokenizer import Tokenizer, decode, load_tokenizer
from engine.formats.training_rows import TrainingRows, open_training_rows
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from trainers.adapters import add_adapters, trained_parameters
from trainers.checkpoint import latest_checkpoint, load_checkpoint
from trainers.coverage import require_coverage
from trainers.forgetting import deciding, forgetting
from trainers.isolation import prove_isolation
from trainers.lineage import Base, resolve_base
from trainers.loop import Training, train_steps
from trainers.model import choose_device, choose_dtype, keep_freed_memory, load_base, save_final
from trainers.optim import MasterOptimizer
from trainers.probes import probe_documents
from trainers.recipe import TrainRecipe, load_train_recipe
from trainers.record import RunRecord
from trainers.tokenizer_files import write_chat_template

VERSION = 1
TEXTS_TRIED = 64


@dataclass(frozen=True)
class Job:
    """A train recipe with everything it names found and checked."""

    recipe: TrainRecipe
    workspace: Workspace
    mixture: Mixture
    tokenizer: Tokenizer
    base: Base
    rows: TrainingRows
    record: RunRecord
    num_steps: int


def train(recipe: Path | str, workspace: Path | str = DEFAULT_WORKSPACE, name: str | None = None) -> dict[str, Any]:
    """Train as the recipe says, or go on where a killed run of it stopped; return the run's summary.

    `name` replaces the run's name. A finished run answers at once. Raises RecipeError (recipe, or a name that belongs
    to another run), InputError (a file, a mixture with documents that were taken down), AuditError (an uncovered probe,
    documents that see each other, a loss that is no number). Exceeding the forgetting budget is no error:
    `within_budget` says it.
    """
    job = _resolve(Path(recipe), Workspace.open(workspace), name)
    record = job.record
    record.require_same(_identity(job))
    if not (record.folder / RECEIPT).is_file():
        require_none_taken_down(job.workspace, job.mixture)
        waived = require_coverage(job.recipe.probes, job.recipe.gate, job.mixture, job.base.runs, job.workspace)
        for text in waived:
            say(f"{job.recipe.name}: waived: {text}")
        _train(job, waived)
    content = record.content
    assert content is not None
    return {
        "run": job.recipe.name,
        "folder": str(record.folder),
        "waived": content.get("waived", []),
        **content["summary"],
    }


def show_train(result: dict[str, Any]) -> str:
    """Return the run's outcome, for a terminal; what the gate was told to let through stands first."""
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
    return "\n".join([*lines, f"  {result['folder']}"])


def _resolve(path: Path, workspace: Workspace, name: str | None) -> Job:
    recipe = load_train_recipe(path)
    if name is not None:
        recipe = check("--name", {**recipe.model_dump(), "name": name}, TrainRecipe)
    mixture = open_mixture(workspace, recipe.mixture)
    manifest = mixture.manifest
    rows = open_training_rows(workspace, mixture)
    if recipe.max_steps is not None and recipe.max_steps > rows.num_steps:
        needed = f"at most {rows.num_steps}, the steps of {mixture.reference}"
        raise RecipeError(
            problem(f"{path.name}: max_steps", f"got {recipe.max_steps}", needed, "raise budget_tokens of the mixture")
        )
    tokenizer = load_tokenizer(workspace.tokenizer(manifest.tokenizer))
    if tokenizer.meta.digest != manifest.tokenizer:
        found = f"another tokenizer ({tokenizer.meta.digest[:12]}) than the one {mixture.reference} was made with"
        fix = "restore the folder from a copy, or delete it and run the data recipe again"
        raise InputError(problem(tokenizer.folder, found, f"digest {manifest.tokenizer[:12]}", fix))
    base = resolve_base(recipe.base, workspace, path.parent, tokenizer, recipe.seed)
    record = RunRecord(workspace.run(recipe.name))
    return Job(recipe, workspace, mixture, tokenizer, base, rows, record, recipe.max_steps or rows.num_steps)


def _identity(job: Job) -> dict[str, Any]:
    manifest = job.mixture.manifest
    named: dict[str, Any] = {
        "digest": manifest.digest,
        "reference": job.mixture.reference,
        "schedule": manifest.schedule,
    }
    named |= {"tokenizer": manifest.tokenizer, "split": manifest.split}
    return {"recipe": job.recipe.resolved(), "mixture": named, "base": job.base.described()}


def _train(job: Job, waived: list[str]) -> None:
    started = time.monotonic()
    keep_freed_memory()
    with progress(f"loading the base {job.base.name}"):
        training, trained = _prepare(job)
        proof = prove_isolation(training.model, training.rows, training.device)
    with job.record.exclusive():
        if not (job.record.folder / RECEIPT).is_file():  # another process may have been at work meanwhile
            content = _train_exclusively(job, training, proof, waived)
            _finish(job, training, trained, content, started)


def _train_exclusively(job: Job, training: Training, proof: dict[str, Any], waived: list[str]) -> dict[str, Any]:
    record = job.record
    first, checkpoint = latest_checkpoint(record.folder / "checkpoints")
    stored = record.content
    sessions = [*(stored["sessions"] if stored else []), {"from_step": first, **_environment(training.device)}]
    if any(session["threads"] != sessions[-1]["threads"] for session in sessions):
        say(f"{job.recipe.name}: another number of threads than before; the last digits of the result may differ")
    content = {
        "run": job.recipe.name,
        **_identity(job),
        "lineage": job.base.lineage(),
        "model": _describe_model(training),
        "isolation": proof,
        "waived": waived,
        "sessions": sessions,
        "summary": None,
    }
    record.write(content)
    record.go_back_to(first)
    if checkpoint is not None:
        load_checkpoint(checkpoint, training.optimizer)
    train_steps(training, first)
    return content


def _prepare(job: Job) -> tuple[Training, Any]:
    recipe, row_tokens = job.recipe, job.rows.schedule.meta.row_tokens
    device = choose_device()
    model = load_base(job.base, job.tokenizer, row_tokens, recipe.seed).to(device)
    dtype = choose_dtype(recipe.precision, model.num_parameters(), device)
    trained = add_adapters(model, recipe.tuning, recipe.seed)
    optimizer = MasterOptimizer(model, trained_parameters(model), recipe.optimizer, dtype)
    split = job.mixture.manifest.split
    probes = []
    if recipe.probes.sets and split is not None:
        probes = probe_documents(recipe.probes, Split(job.workspace.split(split), split), job.tokenizer)
    return Training(recipe, job.rows, model, optimizer, job.record, device, job.num_steps, probes), trained


def _finish(job: Job, training: Training, trained: Any, content: dict[str, Any], started: float) -> None:
    record = job.record
    metrics = record.metrics()
    write_parquet(record.folder / "metrics.parquet", metrics)
    training.optimizer.restore()
    with atomic_folder(record.folder / "final") as folder:
        digest = save_final(trained, job.base, job.tokenizer, folder, _some_texts(job))
        write_chat_template(folder, job.rows.store.meta.chat_template)
    summary = _summary(job, metrics) | {"wall_seconds": _wall_seconds(metrics, content["sessions"], started)}
    record.write({**content, "summary": summary})
    inputs = {"mixture": job.mixture.manifest.digest, "base": job.base.digest}
    receipt = Receipt(
        made_by=f"train/{VERSION}",
        digest=digest,
        inputs=inputs,
        config=job.recipe.resolved(),
        rows=job.num_steps,
        seconds=summary["wall_seconds"],
        details=summary,
    )
    write_receipt(record.folder, receipt)


def _wall_seconds(metrics: pl.DataFrame, sessions: list[dict[str, Any]], started: float) -> float:
    # Probes, checkpoints and loading of this session, and the steps of the ones before that still count.
    earlier = metrics.filter(pl.col("source").is_null() & (pl.col("step") <= sessions[-1]["from_step"]))
    return round(time.monotonic() - started + float(earlier.get_column("seconds").sum()), 3)


def _some_texts(job: Job) -> list[str]:
    documents = job.rows.store.documents().head(TEXTS_TRIED).select("offset", "num_tokens")
    ids = job.rows.store.ids
    return [decode(job.tokenizer, ids[start : start + length - 1].tolist()) for start, length in documents.iter_rows()]


def _summary(job: Job, metrics: pl.DataFrame) -> dict[str, Any]:
    totals = metrics.filter(pl.col("source").is_null())
    seconds, tokens = float(totals.get_column("seconds").sum()), int(totals.get_column("tokens").sum())
    summary: dict[str, Any] = {
        "mixture": job.mixture.reference,
        "base": job.base.described(),
        "steps": job.num_steps,
        "tokens": tokens,
        "supervised_tokens": int(totals.get_column("supervised_tokens").sum()),
        "loss_first": totals.get_column("loss").item(0),
        "loss_last": totals.get_column("loss").item(-1),
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds, 1),
    }
    recipe = job.recipe
    if not recipe.probes.sets:
        return summary | {"probes": [], "max_general_bpb_rise": None, "within_budget": None}
    allowed = recipe.budget.max_general_bpb_rise
    rows = forgetting(job.record.probes(), recipe.probes, allowed, recipe.seed)
    last = rows.filter(pl.col("step") == job.num_steps)
    before = rows.filter(pl.col("step") == 0).select("probe", pl.col("bits_per_byte").alias("bits_per_byte_before"))
    verdict = deciding(last).get_column("within_budget").to_list()
    probes = last.drop("step").join(before, on="probe", how="left", maintain_order="left").to_dicts()
    return summary | {
        "probes": probes,
        "max_general_bpb_rise": allowed,
        "within_budget": verdict[0] if verdict else None,
    }


def _describe_model(training: Training) -> dict[str, Any]:
    working = next(iter(training.optimizer.working.values())).dtype
    return {
        "architecture": type(training.model).__name__,
        "parameters": sum(p.numel() for p in training.model.parameters()),
        "trained_parameters": sum(p.numel() for p in training.optimizer.masters.values()),
        "precision": str(working).removeprefix("torch."),
    }


def _environment(device: torch.device) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "provender": engine.__version__,
        **{name: version(name) for name in ("torch", "transformers", "peft")},
    }
