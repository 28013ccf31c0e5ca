"""A killed run goes on from the last whole artifact and ends with the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
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


def provender(*arguments: str | Path, kill_after: float | None = None) -> dict[str, Any] | None:
    command = [sys.executable, "-m", "engine.cli", *map(str, arguments), "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    assert process.returncode == 0, err
    return dict(json.loads(out))


def outcome(folder: Path, workspace: str) -> dict[str, Any]:
    run = provender("run", folder / "recipe.yaml", "--workspace", folder / workspace)
    trained = provender("train", folder / "train.yaml", "--workspace", folder / workspace)
    assert run is not None
    assert trained is not None
    losses = [json.loads(line)["loss"] for line in (folder / workspace / "runs" / "small" / "metrics.jsonl").open()]
    return {"mixtures": run["mixtures"], "losses": losses, "probes": trained["probes"]}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_five_times_it_ends_with_the_same_digests_and_losses(small_corpus: Path) -> None:
    (small_corpus / "train.yaml").write_text(TRAIN)
    started = time.monotonic()
    whole = outcome(small_corpus, "whole")
    seconds = time.monotonic() - started
    killed = 0
    for share in (0.15, 0.25, 0.35):
        options = ("run", small_corpus / "recipe.yaml", "--workspace", small_corpus / "killed")
        killed += provender(*options, kill_after=share * seconds) is None
    provender("run", small_corpus / "recipe.yaml", "--workspace", small_corpus / "killed")
    for share in (0.2, 0.3):
        options = ("train", small_corpus / "train.yaml", "--workspace", small_corpus / "killed")
        killed += provender(*options, kill_after=share * seconds) is None
    assert killed >= 3, f"only {killed} of 5 kills came before the end"
    assert outcome(small_corpus, "killed") == whole
    assert len(whole["losses"]) == 24


def test_interrupt_ends_with_one_line_and_the_run_goes_on(small_corpus: Path) -> None:
    options = ["run", str(small_corpus / "recipe.yaml"), "--workspace", str(small_corpus / "ws")]
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.cli", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted; the same command goes on" in err
    assert provender(*options) is not None
