"""Whole processes: their seconds from start to end, and the memory of the process and all its descendants.

Memory is the sum of the proportional set sizes (PSS: shared pages are divided among those that share them) of the
tree, looked up about every 50 ms; the largest sum seen is reported. A look costs the kernel a walk over the pages, so
processes that are run several times are watched in the first run, which warms up, and timed in the others.
"""

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """One command: median seconds with the fastest and slowest run, peak memory in MB, and why it failed, if it did."""

    seconds: float
    low: float
    high: float
    peak_mb: float
    failure: str | None = None


def measure(command: Sequence[str | Path], out: Path, repeats: int = 0, limit_seconds: float = 300.0) -> Run:
    """Run a command once watched and `repeats` times timed alone; without repeats the watched run is the time.

    `out` is what the command writes, a file or folder; it is removed before each run.
    """
    runs: list[Run] = []
    for number in range(1 + repeats):
        shutil.rmtree(out, ignore_errors=True)
        out.unlink(missing_ok=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        runs.append(_once(command, limit_seconds, watched=number == 0))
        if runs[-1].failure is not None:
            return runs[-1]
    seconds = [run.seconds for run in runs[1:] or runs]
    return Run(statistics.median(seconds), min(seconds), max(seconds), runs[0].peak_mb)


def _once(command: Sequence[str | Path], limit_seconds: float, watched: bool) -> Run:
    # A file, not a pipe: a full pipe would stop the process.
    with tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=err, start_new_session=True
        )
        peak = 0.0
        try:
            peak = _watch(process, started + limit_seconds) if watched else _wait(process, limit_seconds)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        seconds = time.perf_counter() - started
        failure = None
        if process.returncode != 0:
            err.seek(0)
            lines = err.read().strip().splitlines()
            late = seconds >= limit_seconds
            failure = f"over {limit_seconds:.0f} s" if late else f"exit {process.returncode}: {' '.join(lines[-1:])}"
        return Run(seconds, seconds, seconds, peak, failure)


def _wait(process: subprocess.Popen[bytes], limit_seconds: float) -> float:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(limit_seconds)
    return 0.0


def _watch(process: subprocess.Popen[bytes], deadline: float) -> float:
    peak = 0.0
    while time.perf_counter() < deadline:
        looked = time.perf_counter()
        peak = max(peak, tree_pss_mb(process.pid))
        # A look at gigabytes takes milliseconds of a core that the process could use: never more than a twentieth.
        pause = max(LOOK_SECONDS, 20 * (time.perf_counter() - looked))
        try:
            process.wait(pause)
            break
        except subprocess.TimeoutExpired:
            continue
    return peak


def tree_pss_mb(pid: int) -> float:
    """Return the summed PSS of a process and its descendants, in MB; what has ended counts nothing."""
    total, waiting = 0, [pid]
    while waiting:
        process = Path("/proc", str(waiting.pop()))
        try:
            for line in (process / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
            for task in (process / "task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return total * 1024 / 1e6
