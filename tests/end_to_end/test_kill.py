"""A killed run goes on from the last whole artifact and ends with the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TRAIN = """
name: small
mixture: small_code@latest
base: {tiny: {hidden_size: 32, layers: 2, heads: 2, intermediate_size: 64}}
objective: dapt
tuning: {method: full}
optimizer: {learning_rate: 0.003}
max_steps: 24
probes: {general: [general], domain: [code], every_steps: 8, max_documents: 4}
checkpoints: {every_steps: 4, keep: 2}
seed: 1
"""


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "engine.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def stop(process: subprocess.Popen[str], how: signal.Signals, moment: Callable[[], bool]) -> str:
    """Send the signal to the process and its workers as soon as `moment` has come; return what stderr says."""
    while not moment():
        assert process.poll() is None, "the process ended before the moment came"
        time.sleep(0.002)
    os.killpg(process.pid, how)
    return process.communicate(timeout=60)[1]


def provender(*arguments: str | Path) -> dict[str, Any]:
    process = start(*arguments, "--json")
    out, err = process.communicate()
    assert process.returncode == 0, err
    return dict(json.loads(out))


def outcome(folder: Path, workspace: str) -> dict[str, Any]:
    run = provender("run", folder / "recipe.yaml", "--workspace", folder / workspace)
    trained = provender("train", folder / "train.yaml", "--workspace", folder / workspace)
    return {"mixtures": run["mixtures"], "losses": losses(folder / workspace), "probes": trained["probes"]}


def losses(workspace: Path) -> list[float]:
    path = workspace / "runs" / "small" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line)["loss"] for line in lines if line.endswith("\n")]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_five_times_it_ends_with_the_same_digests_and_losses(small_corpus: Path) -> None:
    (small_corpus / "train.yaml").write_text(TRAIN)
    whole = outcome(small_corpus, "whole")
    workspace = small_corpus / "killed"
    # Moments are artifacts, not seconds: in the middle of taking in, of annotating, and of training.
    moments: list[tuple[str, Callable[[], bool]]] = [
        ("run", lambda: any(workspace.glob("documents/prose*"))),
        ("run", lambda: any(workspace.glob("annotations/near_dup/*"))),
        ("run", lambda: any(workspace.glob("selections/*"))),
        ("train", lambda: len(losses(workspace)) >= 3),
        ("train", lambda: len(losses(workspace)) >= 13),
    ]
    for verb, moment in moments:
        if verb == "train":
            provender("run", small_corpus / "recipe.yaml", "--workspace", workspace)
        recipe = small_corpus / ("recipe.yaml" if verb == "run" else "train.yaml")
        process = start(verb, recipe, "--workspace", workspace, "--json")
        stop(process, signal.SIGKILL, moment)
        assert process.returncode == -signal.SIGKILL, f"{verb} ended before it could be killed"
    assert outcome(small_corpus, "killed") == whole
    assert len(whole["losses"]) == 24


def test_interrupt_ends_with_one_line_and_the_run_goes_on(small_corpus: Path) -> None:
    recipe, workspace = small_corpus / "recipe.yaml", small_corpus / "ws"
    process = start("run", recipe, "--workspace", workspace)
    err = stop(process, signal.SIGINT, lambda: any(workspace.glob("annotations/*")))
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted; the same command goes on" in err
    provender("run", recipe, "--workspace", workspace)


def test_interrupt_while_workers_start_is_answered_once(small_corpus: Path) -> None:
    # The quality stage holds the GIL, so its wave works in processes, which take a second to import the engine.
    recipe, workspace = small_corpus / "recipe.yaml", small_corpus / "ws"
    process = start("run", recipe, "--workspace", workspace, "--jobs", "2")
    err = stop(process, signal.SIGINT, lambda: has_workers(process.pid))
    assert process.returncode == 130, err
    assert "Traceback" not in err


def has_workers(pid: int) -> bool:
    """Whether a process has a spawned worker (Linux; elsewhere the tests' machine has no /proc)."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (status.parent / "cmdline").read_bytes():
                return True
        except (OSError, IndexError):
            continue
    return False
