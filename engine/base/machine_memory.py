"""Memory of this machine, or of the container it is.

Stands in `base` because the memory ceiling of `run` and the plan of a training both go by it.
"""

import os
from pathlib import Path

_V2, _V1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")
_LIMITS = (_V2 / "memory.max", _V1 / "memory.limit_in_bytes")
_USED = (_V2 / "memory.current", _V1 / "memory.usage_in_bytes")


def available_memory() -> int:
    """Return the bytes of memory of this machine, or of the container where that allows less (cgroup v2, v1)."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *(limit for path in _LIMITS if (limit := _number(path)) is not None)])


def free_memory() -> int:
    """Return the bytes that a new process can have: what the system or the container has left, cached files given up.

    Where the system does not tell (no /proc/meminfo), all there is.
    """
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.is_file() else []
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), available_memory())
    for limit, used in zip(_LIMITS, _USED, strict=True):
        allowed, taken = _number(limit), _number(used)
        if allowed is not None and taken is not None:
            free = min(free, allowed - taken + _cached(limit.parent))
    return max(0, free)


def _number(path: Path) -> int | None:
    return int(text) if path.is_file() and (text := path.read_text().strip()).isdigit() else None


def _cached(folder: Path) -> int:
    path = folder / "memory.stat"
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
