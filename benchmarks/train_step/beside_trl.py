"""SmolLM2-135M on the CPU, full and LoRA: our trainer and TRL's make the same steps in turns.

The machine drifts by a factor of two within minutes, so only what stands next to each other is compared: each step is
made by both, one after the other, who begins changes from step to step, and between two turns the rate of a matrix
product is measured. The ratio is the median over the steps of (TRL's seconds / ours); the first step, in which memory
is touched for the first time, is not counted. Real tokens are the same on both sides, and padding is not counted.

What did not make our step faster on a CPU, in processor time of one core: F.rms_norm in place of the norm written out
(0.26 and 0.26 s for 60 norms of 1,000 tokens; both keep the same tensors for the backward pass), one function for
silu(gate) * up that keeps only its inputs (0.42 against 0.25 s for 30 layers). bf16 on a processor with AVX512_BF16
but without AMX: 13.4 s a step of 988 tokens against 8.9 s in fp32, so there fp32 is what `precision: auto` takes.
"""

import statistics
import time
from dataclasses import dataclass

import torch

from benchmarks.harness import Row
from benchmarks.near_dup.corpora import DATA
from benchmarks.train_step import peer
from benchmarks.train_step.rows import WORKSPACE, chat_rows, fill, train_recipe, write_batches
from benchmarks.train_step.turns import THREADS, Side
from engine.formats.training_rows import TrainingRows
from engine.formats.workspace import Workspace

METHODS = {"full": "full fine-tuning", "lora": "LoRA, r = 16"}
WARM_UP = 1
PRODUCT = 2048


@dataclass(frozen=True)
class Pair:
    """What both sides answered at each step, and the GFLOP/s of the product in front of each."""

    ours: list[dict[str, float]]
    theirs: list[dict[str, float]]
    gflops: list[float]

    def largest_gap(self) -> float:
        """Return the largest difference of the losses of a step, as a share of TRL's."""
        return max(abs(a["loss"] / b["loss"] - 1) for a, b in zip(self.ours, self.theirs, strict=True))

    def ratios(self, what: str) -> list[float]:
        """Return TRL's figure over ours, for each counted step."""
        pairs = zip(self.ours[WARM_UP:], self.theirs[WARM_UP:], strict=True)
        return [b[what] / a[what] for a, b in pairs]

    def memory_ratio(self) -> float:
        """Return our peak memory over TRL's."""
        return self.ours[-1]["peak_mb"] / self.theirs[-1]["peak_mb"]


def about() -> str:
    """Return what stands above the table."""
    return (
        f"SmolLM2-135M on {THREADS} threads of a CPU: the command `train` beside TRL's SFTTrainer, on the same batches "
        "of real chats (answers supervised, median of the steps after the first). TRL runs with its defaults: every "
        "batch padded to its longest chat, activations computed twice, bf16 autocast over fp32 weights, logits of all "
        "positions; ours with its own: fp32, or where the processor has AMX bf16 weights with fp32 masters. Learning "
        "rate 1e-4 and constant, AdamW without "
        "decay, no dropout, on both sides. Both take turns step by step, in processes of their own. Tokens are real "
        "ones, peak memory is resident."
    )


def comparison_rows(steps: int) -> list[Row]:
    """Return two rows for each method, ours and TRL's; one that says why, where something is missing."""
    reason = peer.absent() or (None if DATA.is_dir() else "no shared data")
    if reason:
        return [Row("beside TRL", None, "tokens/s", "", reason)]
    rows = chat_rows()
    write_batches(rows, WARM_UP + steps)
    return [row for method in METHODS for row in _rows(method, rows, WARM_UP + steps)]


def _rows(method: str, rows: TrainingRows, steps: int) -> list[Row]:
    pair = take_turns(method, steps)
    tokens = [int(rows.step(step).length.sum()) for step in range(WARM_UP, steps)]
    ratios = pair.ratios("seconds")
    shared = {"loss": f"within {100 * pair.largest_gap():.2f} % at each of {steps} steps"}
    own = {
        "our rate / TRL's": statistics.median(ratios),
        "of processor time": statistics.median(pair.ratios("processor")),
        "our memory / TRL's": pair.memory_ratio(),
    }
    product = f"a bf16 product of {PRODUCT}: {min(pair.gflops):,.0f} to {max(pair.gflops):,.0f} GFLOP/s meanwhile"
    filled = statistics.median(fill(rows.step(step)) for step in range(WARM_UP, steps))
    about = {
        "provender": (pair.ours, f"{shared['loss']}; ratio {min(ratios):.2f} to {max(ratios):.2f}; {product}", own),
        "TRL": (pair.theirs, f"{100 * filled:.0f} % of its cells are real tokens", {}),
    }
    return [
        _row(f"{METHODS[method]}, {name}", tokens, answers, said, details)
        for name, (answers, said, details) in about.items()
    ]


def _row(name: str, tokens: list[int], answers: list[dict[str, float]], said: str, more: dict[str, float]) -> Row:
    rates = [number / answer["seconds"] for number, answer in zip(tokens, answers[WARM_UP:], strict=True)]
    seconds = statistics.median(answer["seconds"] for answer in answers[WARM_UP:])
    losses = f"{answers[0]['loss']:.4f} to {answers[-1]['loss']:.4f}"
    details = {"seconds a step": seconds, "peak MB": round(answers[-1]["peak_mb"]), "loss": losses, **more}
    includes = "a whole step, from its rows to the new weights"
    return Row(name, statistics.median(rates), "tokens/s", includes, said, min(rates), max(rates), details)


def take_turns(method: str, steps: int) -> Pair:
    """Let both sides make `steps` steps, never both at once."""
    from shutil import rmtree

    from trainers.base_models import models_list

    recipe = train_recipe(method, steps)
    rmtree(Workspace(WORKSPACE).run(f"beside_trl_{method}"), ignore_errors=True)
    model = next(one["folder"] for one in models_list(WORKSPACE)["models"] if one["name"] == "smollm2")
    torch.set_num_threads(THREADS)
    sides = [
        Side("benchmarks.train_step.our_side", [str(recipe), str(WORKSPACE)]),
        Side("benchmarks.train_step.trl_side", [model, str(WORKSPACE / "batches.json"), method]),
    ]
    answers: list[list[dict[str, float]]] = [[], []]
    gflops = []
    try:
        for step in range(steps):
            for number in (0, 1) if step % 2 else (1, 0):
                gflops.append(product_flops(PRODUCT, torch.device("cpu")) / 1e9)
                answers[number].append(sides[number].step())
            ours, theirs = (one[-1] for one in answers)
            print(f"train_step: {method}, step {step + 1}: {ours} {theirs}, {gflops[-2:]}", flush=True)
    finally:
        for side in sides:
            side.stop()
    return Pair(*answers, gflops)


def product_flops(size: int, device: torch.device) -> float:
    """Return operations a second of a square product in bf16, the best of five after a first."""
    one = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    seconds = []
    for _ in range(6):
        synchronize(device)
        started = time.perf_counter()
        one @ one
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds[1:])


def synchronize(device: torch.device) -> None:
    """Wait for what a device was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
