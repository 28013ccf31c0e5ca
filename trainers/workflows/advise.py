"""The verb `advise`: is this training a good idea, what does it need, and which rules of the field does it break.

Counts come from the mixture and memory from the plan (trainers.dry_run). How far the domain is from general text is
measured on a few held-out documents under the base, before any training; time comes from an earlier run of the kind, or
from one micro-batch and one step of the optimizer, made here and thrown away.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import torch

from engine.base.progress import progress
from engine.base.terminal import table, terminal_width, wrapped
from engine.formats.split import Split
from engine.formats.workspace import DEFAULT_WORKSPACE, Workspace
from trainers.data import micro_batches
from trainers.dry_run import duration, plan_of, show_plan
from trainers.job import Job, resolve_job
from trainers.language_model import LanguageModel
from trainers.learning_rates import pretraining_rate
from trainers.loop import Training
from trainers.model import choose_device
from trainers.prepare import prepare
from trainers.probes import measure
from trainers.train import passed_gates
from trainers.workflows.field_rules import FAR, RULES, Numbers, broken_rules
from trainers.world import World

PROBED_DOCUMENTS = 8
"""Of each set."""
TIMED_TOKENS = 4096
"""Rows that hold so many are timed at once; more take longer, and are no faster."""
FEW_EXAMPLES, MANY_EXAMPLES = 50, 10_000
FEW_TOKENS, MANY_TOKENS = 1_000_000, 10_000_000
ROOM = 1.05
"""From here on, bits per byte of the domain to those of general text, there is room for continued pre-training. Below
nothing is known: SmolLM2-135M needs 0.71 of the bits for medical answers, and a LoRA of 60 steps saved 10 % of them."""


def advise(
    recipe: Path | str, workspace: Path | str = DEFAULT_WORKSPACE, name: str | None = None, no_probe: bool = False
) -> dict[str, Any]:
    """Return what speaks for and against a train recipe; trains and writes nothing.

    `no_probe`: do not load the base to measure held-out text and time; neither is measured where the run would not fit.
    Raises as `train` does before it loads.
    """
    job = resolve_job(Path(recipe), Workspace.open(workspace), name)
    plan = plan_of(job, passed_gates(job))
    fit = tokenizer_fit(job)
    probe = measured(job, plan["seconds"] is None) if plan["fits"] and not no_probe else {}
    if "tokens_per_second" in probe:
        of_tokens, of_steps = plan["tokens"] / probe["tokens_per_second"], plan["steps"] * probe["optimizer_seconds"]
        plan["seconds"] = round(of_tokens + of_steps)
        plan["seconds_from"] = (
            f"one micro-batch made here: {probe['tokens_per_second']:,.0f} tokens a second, and "
            f"{duration(probe['optimizer_seconds'])} for the optimizer's step; without probes and checkpoints"
        )
    numbers = numbers_of(job, plan, fit, probe)
    room, room_why = room_of(numbers)
    way, way_why = approach(numbers)
    return {
        "run": job.recipe.name,
        "numbers": asdict(numbers),
        "tokenizer_fit": fit,
        "probe": probe,
        "room": room,
        "room_why": room_why,
        "approach": way,
        "approach_why": way_why,
        "broken": broken_rules(numbers),
        "rules": len(RULES),
        "plan": plan,
    }


def tokenizer_fit(job: Job) -> dict[str, float | None]:
    """Return bytes per token of the domain and of general text: of replay, else of the general held-out sets."""
    store = job.rows.store.documents(["num_bytes", "num_tokens"]).with_row_index("store_row")
    used = job.mixture.documents(["store_row", "is_replay"]).unique()
    joined = used.join(store, on="store_row", how="left").filter(pl.col("num_bytes") > 0)
    found: dict[str, float | None] = {"domain": None, "general": None}
    for role, is_replay in (("domain", False), ("general", True)):
        chosen = joined.filter(pl.col("is_replay") == is_replay)
        if chosen.height:
            found[role] = round(int(chosen["num_bytes"].sum()) / int(chosen["num_tokens"].cast(pl.Int64).sum()), 4)
    general, split = job.recipe.probes.general, job.mixture.manifest.split
    if found["general"] is None and general and split is not None:
        heldout = Split(job.workspace.split(split), split).heldout().filter(pl.col("set").is_in(general))
        tokens = sum(len(ids) + 1 for ids in job.tokenizer.encode(heldout["text"].to_list()))  # EOS, as in the store
        found["general"] = round(int(heldout["num_bytes"].sum()) / tokens, 4) if tokens else None
    return found


def measured(job: Job, wants_time: bool) -> dict[str, Any]:
    """Load the run's model; return what a few held-out documents need under its base, and how fast it trains.

    Returns documents, domain_bits_per_byte and general_bits_per_byte, where the base is trained and the recipe names
    sets of both kinds; and what `timed` returns, where time is wanted.
    """
    probes, found = job.recipe.probes, dict[str, Any]()
    with progress(f"measuring under {job.base.name}"):
        training = prepare(job, World(choose_device()))
        if job.base.tiny is None and probes.general and probes.domain:
            by_set = [[one for one in training.probes if one.probe == name] for name in probes.sets]
            documents = [one for of_set in by_set for one in of_set[:PROBED_DOCUMENTS]]
            # Without what stands in front of it; adapters inside of it change nothing yet.
            base, context = LanguageModel(training.model.causal), job.rows.schedule.meta.row_tokens
            kinds = measure(base, documents, 0, context, training.world.device).with_columns(
                pl.col("probe").is_in(probes.general).alias("is_general")
            )
            bits = pl.col("nats").sum() / pl.col("bytes").sum() / pl.lit(2.0).log()
            by_kind = dict(kinds.group_by("is_general").agg(bits.alias("bits")).iter_rows())
            found = {
                "documents": len(documents),
                "domain_bits_per_byte": round(by_kind[False], 4),
                "general_bits_per_byte": round(by_kind[True], 4),
            }
        return found | (timed(training) if wants_time else {})


def timed(training: Training) -> dict[str, float]:
    """Return tokens_per_second of a forward and a backward pass over one micro-batch; optimizer_seconds of a step."""
    rows, recipe, device = training.rows.step(0), training.recipe, training.world.device
    at_once = min(recipe.micro_batch_rows or rows.most_rows, -(-TIMED_TOKENS // training.rows.schedule.meta.row_tokens))
    batch = next(iter(micro_batches(rows, training.rows.store.meta.eos_id, at_once, training.model.is_flat))).to(device)
    training.optimizer.begin(0)
    for _ in range(2):  # in the first, memory is touched for the first time
        marks = [_now(device)]
        nats, _ = training.model(batch)
        torch.autograd.backward(training.optimizer.scaled(nats / rows.step_labels))
        training.optimizer.collect()
        marks.append(_now(device))
        training.optimizer.step(0.0)
        marks.append(_now(device))
    tokens = int(rows.length[rows.row_number < at_once].sum())
    return {"tokens_per_second": round(tokens / (marks[1] - marks[0]), 1), "optimizer_seconds": marks[2] - marks[1]}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def numbers_of(job: Job, plan: dict[str, Any], fit: dict[str, float | None], probe: dict[str, Any]) -> Numbers:
    """Return the plan's numbers for the rules."""
    recipe, row_tokens = job.recipe, job.rows.schedule.meta.row_tokens
    documents = job.mixture.documents(["is_replay", "store_row", "num_tokens", "supervised_tokens"])
    domain = documents.filter(~pl.col("is_replay")).unique("store_row")
    spans = job.rows.schedule.spans_where(pl.col("step") < job.num_steps)
    roles = job.mixture.documents(["document", "is_replay"])
    sums = dict.fromkeys((True, False), (0, 0))
    joined = spans.join(roles, on="document", how="left")
    counts = [pl.col(name).cast(pl.Int64).sum() for name in ("length", "supervised_tokens")]
    for is_replay, tokens, labels in joined.group_by("is_replay").agg(counts).iter_rows():
        sums[is_replay] = (tokens, labels)
    unique_tokens = int(domain["num_tokens"].cast(pl.Int64).sum())
    ratio = None if fit["domain"] is None or fit["general"] is None else fit["general"] / fit["domain"]
    bits = probe["domain_bits_per_byte"] / probe["general_bits_per_byte"] if "documents" in probe else None
    assert recipe.optimizer.learning_rate is not None
    return Numbers(
        objective=recipe.objective or "dapt",
        method=recipe.tuning.method,
        is_from_scratch=job.base.tiny is not None,
        parameters=plan["parameters"],
        trained_parameters=plan["trained_parameters"],
        examples=domain.height,
        unique_tokens=unique_tokens,
        unique_labels=int(domain["supervised_tokens"].cast(pl.Int64).sum()),
        tokens=plan["tokens"],
        epochs=round(sums[False][0] / max(1, unique_tokens), 4),
        replay_share=round(sums[True][1] / max(1, plan["supervised_tokens"]), 4),
        learning_rate=recipe.optimizer.learning_rate,
        pretraining_rate=pretraining_rate(plan["parameters"]),
        warmup_fraction=recipe.optimizer.warmup_fraction,
        cut_share=round(domain.filter(pl.col("num_tokens") > row_tokens).height / max(1, domain.height), 4),
        tokens_per_byte_ratio=None if ratio is None else round(ratio, 4),
        bits_per_byte_ratio=None if bits is None else round(bits, 4),
    )


def room_of(numbers: Numbers) -> tuple[str, str]:
    """Return yes, unclear or unknown: is there room for continued pre-training, and why."""
    ratio = numbers.bits_per_byte_ratio
    if numbers.is_from_scratch:
        return "yes", "the base is untrained"
    if ratio is None:
        return "unknown", "no held-out text was measured under the base (needs probes of both kinds)"
    said = f"the base needs {ratio:.2f} times the bits per byte of general text for the domain's"
    if ratio < ROOM:
        return "unclear", f"{said}, which may be the kind of text: only a short run shows (max_steps)"
    return "yes", f"{said}: {'far from what it knows' if ratio >= FAR else 'related to what it knows'}"


def approach(numbers: Numbers) -> tuple[str, str]:
    """Return prompt, retrieval, lora or full, and why; the borders are rules of thumb."""
    if numbers.is_from_scratch:
        return "full", "an untrained base has nothing to adapt"
    if numbers.objective == "sft":
        number = f"{numbers.examples:,} examples"
        if numbers.examples < FEW_EXAMPLES:
            why = "put some into the prompt; gains of tuning begin at 50 to 100 (developers.openai.com, fine-tuning)"
            return "prompt", f"{number}: {why}"
        if numbers.examples < MANY_EXAMPLES:
            why = "few enough for adapters to hold (LoRA Without Regret), which forget less (arXiv:2405.09673)"
            return "lora", f"{number}: {why}"
        return "full", f"{number}: enough for all weights; LoRA with a large r is as good up to its capacity"
    number = f"{numbers.unique_tokens:,} distinct tokens"
    if numbers.unique_tokens < FEW_TOKENS:
        return "retrieval", f"{number}: facts of so little text are better looked up (arXiv:2312.05934)"
    if numbers.unique_tokens < MANY_TOKENS:
        return "lora", f"{number}: adapters, which forget less (arXiv:2405.09673)"
    return "full", f"{number}: all weights learn more of so much text than adapters (arXiv:2405.09673)"


def show_advise(result: dict[str, Any]) -> str:
    """Return the advice for a terminal."""
    numbers, fit, probe = result["numbers"], result["tokenizer_fit"], result["probe"]
    data = [
        ["documents of the domain", f"{numbers['examples']:,}"],
        ["distinct tokens, labels", f"{numbers['unique_tokens']:,}, {numbers['unique_labels']:,}"],
        ["times seen", f"{numbers['epochs']:.2f}"],
        ["replay, of the labels", f"{100 * numbers['replay_share']:.1f} %"],
        ["bytes per token, domain and general", f"{_or_unknown(fit['domain'])}, {_or_unknown(fit['general'])}"],
    ]
    if "documents" in probe:
        bits = f"{probe['domain_bits_per_byte']:.4f}, {probe['general_bits_per_byte']:.4f}"
        data.append(["bits per byte, domain and general", f"{bits} ({probe['documents']} documents)"])
    width = terminal_width()
    lines = [show_plan(result["plan"]), "", table(["of the data", ""], data), ""]
    lines.append(wrapped(f"room for continued pre-training: {result['room']}: {result['room_why']}", width, 2))
    lines.append(wrapped(f"advised: {result['approach']}: {result['approach_why']}", width, 2))
    broken = result["broken"]
    lines.append(f"{len(broken)} of {result['rules']} rules of the field are broken" + (":" if broken else ""))
    for rule in broken:
        source = f"rule of thumb: {rule['source']}" if rule["is_rule_of_thumb"] else rule["source"]
        lines.append(wrapped(f"{rule['rule']}: {rule['found']}. Needed: {rule['needed']}. [{source}]", width, 2))
    return "\n".join(lines)


def _or_unknown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
