"""Two trainers that take turns: each in a process of its own, which makes one step when it is told to.

What is said goes through the pipes as lines that begin with MARK; whatever else a library prints is passed over.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.near_dup.tools import ROOT

MARK = "@turn "
THREADS = len(os.sched_getaffinity(0))


class Side:
    """A trainer in its own process, seen from outside."""

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        """Start `python -m module arguments...` and return when it is loaded and waits for its first turn."""
        environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "TOKENIZERS_PARALLELISM": "false"}
        command = [sys.executable, "-m", module, *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)  # type: ignore[call-overload]
        self._answer()

    def step(self) -> dict[str, float]:
        """Let it make a step; return its loss, seconds (of the clock and of processors), and peak memory so far."""
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, float]:
        for line in self._process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")


class Turns:
    """The same, seen from inside: waits for its turn, and answers with what it took."""

    def __init__(self) -> None:
        """Nothing has been said yet."""
        self._started: tuple[float, float] | None = None

    def wait(self) -> None:
        """Wait to be told, the first time after saying that all is loaded."""
        if self._started is None:
            say({})
        if not sys.stdin.readline():
            raise SystemExit
        self._started = time.perf_counter(), time.process_time()

    def answer(self, loss: float) -> None:
        """Say what the step took."""
        from benchmarks.harness import peak_memory_mb

        assert self._started is not None
        seconds, processor = time.perf_counter() - self._started[0], time.process_time() - self._started[1]
        say({"loss": loss, "seconds": seconds, "processor": processor, "peak_mb": peak_memory_mb()})


def say(what: dict[str, Any]) -> None:
    """Write a line for the other end."""
    print(MARK + json.dumps(what), flush=True)
