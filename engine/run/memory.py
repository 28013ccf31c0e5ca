"""The memory ceiling: what the user asks for, or half of what the machine or its container allows.

A shard of N bytes of text needs about `SHARD_FACTOR` x N while it is worked on (Arrow text, words, shingles, columns),
so the ceiling bounds how many shards are worked on at once. It never changes a result.
"""

import re
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

from engine.base.errors import RecipeError, problem
from engine.base.machine_memory import available_memory
from engine.formats.documents import Shard

SHARD_FACTOR = 8
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def memory_ceiling(asked: str | None) -> int:
    """Return the ceiling in bytes for `--memory` ("4GB", "512M"), or half of what there is."""
    if asked is None:
        return available_memory() // 2
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", asked, re.IGNORECASE)
    if match is None:
        raise RecipeError(problem("--memory", f"'{asked}'", "a number with a unit", "write for example 4GB or 512MB"))
    return int(float(match[1]) * _UNITS[match[2].upper()])


def workers_within(ceiling: int, jobs: int, shards: Iterable[Shard]) -> int:
    """Return how many of `jobs` workers may hold a shard at once under the ceiling; at least one."""
    largest = max((shard.num_bytes for shard in shards), default=0)
    return max(1, min(jobs, ceiling // (SHARD_FACTOR * largest + 1)))


def peak_memory_bytes() -> int:
    """Return the most memory this process has held so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not ru_maxrss where it can be helped: it begins with that of the process this one was started from.
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
