"""Warm-up, repeats, medians, versions: what every benchmark shares.

Each measurement is one JSON file `results/<what>.json`; `benchmarks/README.md` is written from them.
"""

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
LIBRARIES = ("numpy", "numba", "polars", "pyarrow", "duckdb", "datasketch", "torch", "transformers")


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure, its unit, and what was checked while it was measured."""

    name: str
    value: float
    unit: str
    includes: str
    correctness: str
    low: float | None = None
    high: float | None = None


def rate(
    name: str, amount: float, unit: str, work: Callable[[], object], includes: str, correctness: str, repeats: int = 5
) -> Row:
    """Return the median of `amount` per second over `repeats` runs after a warm-up, with slowest and fastest."""
    work()
    rates = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        rates.append(amount / (time.perf_counter() - started))
    return Row(name, statistics.median(rates), unit, includes, correctness, min(rates), max(rates))


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def record(what: str, about: str, rows: list[Row]) -> None:
    """Write results/<what>.json and print the rows."""
    RESULTS.mkdir(exist_ok=True)
    content = {
        "what": what,
        "about": about,
        "date": time.strftime("%Y-%m-%d"),
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in LIBRARIES},
        "peak_memory_mb": round(peak_memory_mb()),
        "rows": [asdict(row) for row in rows],
    }
    (RESULTS / f"{what}.json").write_text(json.dumps(content, indent=2) + "\n")
    for row in rows:
        spread = f" ({row.low:,.1f}-{row.high:,.1f})" if row.low is not None and row.high is not None else ""
        print(f"{what}: {row.name}: {row.value:,.1f} {row.unit}{spread}; {row.correctness}")


def write_table() -> None:
    """Write benchmarks/README.md from all results."""
    head = (
        "Written by `make bench` from `results/`: medians after a warm-up, the slowest and the fastest run beside them."
    )
    lines = ["# Benchmarks", "", head, ""]
    for path in sorted(RESULTS.glob("*.json")):
        content = json.loads(path.read_text())
        machine, memory = content["machine"], content["peak_memory_mb"]
        where = f"{machine['processor']}, {machine['cores']} cores, peak memory {memory:,} MB"
        lines += [f"## {content['what']}", "", content["about"], "", f"{content['date']}, {where}.", ""]
        lines += ["| what | figure | spread | the time includes | correctness |", "|---|---|---|---|---|"]
        for row in content["rows"]:
            spread = f"{row['low']:,.1f}-{row['high']:,.1f}" if row["low"] is not None else ""
            cells = (row["name"], f"{row['value']:,.1f} {row['unit']}", spread, row["includes"], row["correctness"])
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    (FOLDER / "README.md").write_text("\n".join(lines))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.is_file()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()
