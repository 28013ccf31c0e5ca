"""Two processes against one, with gloo on the CPU: the same losses, weights, figures by source and probes.

One start of two processes makes all runs of this file (each start imports torch twice).
"""

import json
import multiprocessing
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from safetensors.torch import load_file

import engine.formats.training_rows
from engine.base.errors import AuditError, InputError
from engine.formats.mixture import open_mixture
from engine.formats.parquet import read_parquet
from engine.formats.receipt import NAME as RECEIPT
from engine.formats.schedule import rank_rows
from engine.formats.training_rows import StepRows, TrainingRows, open_training_rows
from engine.formats.workspace import Workspace
from trainers.data import MicroBatch
from trainers.job import resolve_job
from trainers.language_model import LanguageModel
from trainers.loop import train_step
from trainers.prepare import prepare
from trainers.replicas import require_same_weights, sum_gradients
from trainers.torchrun import joined
from trainers.train import train
from trainers.world import World

pytestmark = pytest.mark.timeout(200)
"""The first test waits for two processes that run every case."""
LORA = {"method": "lora", "r": 4, "dropout": 0.0}
PROBES = {"general": ["general"], "domain": ["code"], "max_documents": 8}
CASES: dict[str, dict[str, Any]] = {
    "ddp": {"probes": PROBES},
    "ddp_lora": {"tuning": LORA, "micro_batch_rows": 1},
    "ddp_qlora": {"tuning": LORA | {"method": "qlora"}},
    "fsdp": {"parallel": "fsdp", "probes": PROBES},
    "fsdp_lora": {"parallel": "fsdp", "tuning": LORA, "gradient_checkpointing": True, "micro_batch_rows": 1},
    "fsdp_uneven": {"parallel": "fsdp", "micro_batch_rows": 3},
    "fsdp_bf16": {"parallel": "fsdp", "precision": "bf16", "max_steps": 2},
    "ddp_fp16": {"precision": "fp16", "max_steps": 4},
}
EXACT = [case for case in CASES if not case.endswith("16")]
STEPS = 6


def recipe_of(case: str) -> dict[str, Any]:
    common = {
        "name": case,
        "mixture": "mixed",
        "base": {"tiny": {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64}},
        "optimizer": {"learning_rate": 3.0e-3},
        "max_steps": STEPS,
        "checkpoints": {"every_steps": 3, "keep": 9},
    }
    return common | CASES[case]


def _work(rank: int, port: int, root: str, said: Any) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
    os.environ["MASTER_PORT"] = str(port)
    of_step = TrainingRows.step
    for case in CASES:
        mine = _all_rows_to_the_last if case == "fsdp_uneven" else rank_rows
        engine.formats.training_rows.rank_rows = mine  # type: ignore[attr-defined]
        train(Path(root) / f"{case}.yaml", root)
    with joined() as world:
        said.put((rank, _small_facts(world)))
        said.put((rank, {"nonfinite": _stopped_by_a_document_of_the_last_rank(world, Path(root))}))

    def failing(rows: TrainingRows, step: int, rank: int = 0, world_size: int = 1) -> StepRows:
        if rank == 1 and step == 1:
            raise InputError("rank 1 cannot read its rows")
        return of_step(rows, step, rank, world_size)

    TrainingRows.step = failing  # type: ignore[method-assign, assignment]
    started = time.monotonic()
    try:
        train(Path(root) / "dies.yaml", root)
    except (InputError, SystemExit) as error:
        said.put((rank, {"error": type(error).__name__, "text": str(error), "seconds": time.monotonic() - started}))
        said.close()
        said.join_thread()
        sys.stdout.flush()
        os._exit(1)


def _all_rows_to_the_last(num_rows: int, world_size: int, rank: int) -> range:
    return range(num_rows if rank == world_size - 1 else 0)


def _small_facts(world: World) -> dict[str, Any]:
    """What collectives say; rank 1 has a gradient for `a` alone, nobody for `c`."""
    a, b, c = (torch.nn.Parameter(torch.ones(3)) for _ in range(3))
    a.grad = torch.full((3,), float(world.rank + 1))
    if world.is_main:
        b.grad = torch.full((3,), 5.0)
    sum_gradients({"a": a, "b": b, "c": c}, world)
    errors = []
    weights = {"same": torch.ones(2), "other": torch.tensor([1.0, 2.0 + 1e-6 * world.rank])}
    checks: list[Callable[[], None]] = [
        lambda: require_same_weights(weights, world, "now"),
        lambda: world.require_same("run", job=f"{world.rank:016x}", packages="00" * 8),
    ]
    for check in checks:
        try:
            check()
        except Exception as error:  # noqa: BLE001 - both kinds are looked at by the test
            errors.append(str(error))
    gradients = [None if p.grad is None else p.grad.tolist() for p in (a, b, c)]
    prints = sys.stdout.name != os.devnull
    return {"gradients": gradients, "errors": errors, "main": world.from_main(7 + world.rank), "prints": prints}


def _stopped_by_a_document_of_the_last_rank(world: World, root: Path) -> str:
    job = resolve_job(root / "ddp.yaml", Workspace(root), None)
    training = prepare(job, world)
    original = LanguageModel.forward

    def poisoned(self: LanguageModel, batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        summed, nats = original(self, batch)
        if world.is_main:
            return summed, nats
        nats = torch.where(torch.arange(len(nats)) == len(nats) - 1, torch.nan, nats)
        return summed * torch.nan, nats

    LanguageModel.forward = poisoned  # type: ignore[method-assign]
    try:
        train_step(training, 0)
    except AuditError as error:
        return str(error)
    finally:
        LanguageModel.forward = original  # type: ignore[method-assign]
    return "went on"


@pytest.fixture(scope="module")
def ran(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, Any]]]:
    """The workspace after two processes went through all cases, and what each said."""
    root = Path(shutil.copytree(built, tmp_path_factory.mktemp("ranks") / "workspace"))
    for name in [*CASES, "dies"]:
        recipe = recipe_of(name) if name in CASES else recipe_of("ddp") | {"name": "dies"}
        (root / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainers.train", "transformers.models.llama.modeling_llama", "peft"])
    said = context.Queue()
    processes = [context.Process(target=_work, args=(rank, port, str(root), said)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = [said.get(timeout=150) for _ in range(6)]
    for process in processes:
        process.join(30)
        assert process.exitcode == 1
    return root, found


@pytest.fixture(scope="module")
def alone(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that makes the run of a case in one process, once."""
    root = Path(shutil.copytree(built, tmp_path_factory.mktemp("alone") / "workspace"))

    def run(case: str) -> Path:
        # In one process neither the way to divide the model nor the micro-batches change what comes out.
        case = case.removesuffix("_uneven")
        case = case if case == "fsdp_bf16" else case.replace("fsdp", "ddp")  # nor whether activations are kept
        path = root / f"{case}.yaml"
        path.write_text(yaml.safe_dump(recipe_of(case)), encoding="utf-8")
        return Path(train(path, root)["folder"])

    return run


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = (folder / "final").glob("*.safetensors")
    return load_file(path)


@pytest.mark.parametrize("case", EXACT)
def test_two_processes_make_the_steps_of_one(ran: Any, alone: Callable[[str], Path], case: str) -> None:
    two, one = ran[0] / "runs" / case, alone(case)
    pairs = list(zip(lines_of(two), lines_of(one), strict=True))
    assert len(pairs) == STEPS
    differences = [abs(a["loss"] - b["loss"]) / b["loss"] for a, b in pairs]
    assert max(differences) < 2e-5
    assert sum(differences) / STEPS < 5e-6
    for a, b in pairs:
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=2e-3)
        assert (a["tokens"], a["supervised_tokens"]) == (b["tokens"], b["supervised_tokens"])
        assert a["sources"].keys() == b["sources"].keys()
        for source, figures in a["sources"].items():
            assert figures == pytest.approx(b["sources"][source], rel=1e-4)


@pytest.mark.parametrize("case", EXACT)
def test_two_processes_leave_the_weights_of_one(ran: Any, alone: Callable[[str], Path], case: str) -> None:
    two, one = weights_of(ran[0] / "runs" / case), weights_of(alone(case))
    assert two.keys() == one.keys()
    for name, tensor in two.items():
        assert tensor.shape == one[name].shape
        # AdamW moves a weight whose gradient is nearly nothing by its sign.
        assert float((tensor - one[name]).abs().max()) < 2e-3, name
        assert float((tensor - one[name]).abs().mean()) < 2e-5, name


@pytest.mark.parametrize("case", ["ddp", "fsdp"])
def test_probes_divided_over_ranks_give_the_numbers_of_one_process(
    ran: Any, alone: Callable[[str], Path], case: str
) -> None:
    two, one = (read_parquet(folder / "probes.parquet") for folder in (ran[0] / "runs" / case, alone(case)))
    assert two.drop("nats").equals(one.drop("nats"))
    assert two.get_column("nats").to_list() == pytest.approx(one.get_column("nats").to_list(), rel=1e-5)
    start = two.get_column("step") == 0
    assert two.filter(start).equals(one.filter(start))  # the same weights: the same bits


def test_weights_in_bf16_are_divided_as_fp32_masters(ran: Any, alone: Callable[[str], Path]) -> None:
    two, one = (folder for folder in (ran[0] / "runs" / "fsdp_bf16", alone("fsdp_bf16")))
    assert json.loads((two / "run.json").read_text())["model"]["precision"] == "bfloat16"
    assert {tensor.dtype for tensor in weights_of(two).values()} == {torch.float32}
    losses = [[line["loss"] for line in lines_of(folder)] for folder in (two, one)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


@pytest.mark.parametrize("case", ["ddp", "fsdp_lora"])
def test_one_process_goes_on_from_the_checkpoint_of_two(ran: Any, tmp_path: Path, case: str) -> None:
    root = Path(shutil.copytree(ran[0], tmp_path / "workspace"))
    run, last = Workspace(root).run(case), Workspace(root).run(case) / "checkpoints" / f"step-{STEPS:06d}"
    before, lines = weights_of(run), lines_of(run)
    shutil.rmtree(last)
    shutil.rmtree(run / "final")
    (run / RECEIPT).unlink()
    train(root / f"{case}.yaml", root)
    assert [line["loss"] for line in lines_of(run)] == pytest.approx([line["loss"] for line in lines], rel=2e-5)
    assert lines_of(run)[:3] == lines[:3]
    for name, tensor in weights_of(run).items():
        assert float((tensor - before[name]).abs().max()) < 2e-3
    assert [session["ranks"] for session in json.loads((run / "run.json").read_text())["sessions"]] == [2, 1]


def test_losses_scaled_in_fp16_are_those_of_one_process_on_every_rank(ran: Any, alone: Callable[[str], Path]) -> None:
    two, one = (lines_of(folder) for folder in (ran[0] / "runs" / "ddp_fp16", alone("ddp_fp16")))
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=2e-3)
    assert [line["skipped_steps"] for line in two] == [line["skipped_steps"] for line in one]


def test_main_rank_names_the_document_of_another_that_is_no_number(ran: Any) -> None:
    texts = [found["nonfinite"] for _, found in ran[1] if "nonfinite" in found]
    assert texts[0] == texts[1]
    assert "step 1: loss nan" in texts[0]
    (path,) = (ran[0] / "runs" / "ddp").glob("nonfinite*.json")
    rows = open_training_rows(Workspace(ran[0]), open_mixture(Workspace(ran[0]), "mixed"))
    step = rows.step(0)
    last = int(step.of_tokens(step.document)[step.is_label][-1])
    expected = rows.mixture.documents().filter(pl.col("document") == last).get_column("doc_id").item().hex()
    documents = json.loads(path.read_text())["documents"]
    assert [(d["doc_id"], d["nats"]) for d in documents if d["nats"] == "nan"] == [(expected, "nan")]
    assert documents[0]["doc_id"] == expected
    assert len(documents) == len(set(step.of_tokens(step.document)[step.is_label].tolist()))


def test_gradients_are_summed_and_missing_ones_are_zeros(ran: Any) -> None:
    facts = [found["gradients"] for _, found in ran[1] if "gradients" in found]
    assert facts == [[[3.0] * 3, [5.0] * 3, None]] * 2


def test_ranks_that_differ_are_told_so_on_every_rank(ran: Any) -> None:
    for found in (found for _, found in ran[1] if "errors" in found):
        weights, job = found["errors"]
        assert "1 of 2 tensors are not the same on all ranks, other the first" in weights
        assert job.startswith("run: job not the same on all ranks")
        assert found["main"] == 7


def test_one_rank_alone_prints(ran: Any) -> None:
    assert {rank: found["prints"] for rank, found in ran[1] if "prints" in found} == {0: True, 1: False}


def test_rank_that_fails_ends_the_other_in_seconds_with_one_message(ran: Any) -> None:
    ends = {rank: found for rank, found in ran[1] if "error" in found}
    assert ends[1]["error"] == "InputError"
    assert ends[1]["text"] == "rank 1 cannot read its rows"
    assert ends[0]["error"] == "SystemExit", ends[0]["text"]
    assert max(found["seconds"] for found in ends.values()) < 20
    assert not (ran[0] / "runs" / "dies" / RECEIPT).exists()
