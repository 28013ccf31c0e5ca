"""Warm-up, repeats, medians, versions: what every benchmark shares.

Each measurement is one JSON file `results/<what>.json`; `benchmarks/README.md` is written from them.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
LIBRARIES = ("numpy", "numba", "polars", "pyarrow", "duckdb", "datasketch", "torch", "transformers")


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure, its unit, and what was checked while it was measured.

    Without a value the line says in `correctness` why there is none. `details` are further columns of the table.
    """

    name: str
    value: float | None
    unit: str
    includes: str
    correctness: str
    low: float | None = None
    high: float | None = None
    details: dict[str, float | int | str] = field(default_factory=dict)


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
    from engine.run.memory import peak_memory_bytes

    return peak_memory_bytes() / 1e6


def record(
    what: str,
    about: str,
    rows: list[Row],
    folder: Path = RESULTS,
    versions: dict[str, str] | None = None,
    own_memory: bool = True,
) -> None:
    """Write <folder>/<what>.json and print the rows.

    versions: of what runs outside this environment; own_memory: whether the work was done by this process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "what": what,
        "about": about,
        "date": time.strftime("%Y-%m-%d"),
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in LIBRARIES} | (versions or {}),
        "peak_memory_mb": round(peak_memory_mb()) if own_memory else None,
        "rows": [asdict(row) for row in rows],
    }
    (folder / f"{what}.json").write_text(json.dumps(content, indent=2) + "\n")
    for row in rows:
        spread = f" ({row.low:,.1f}-{row.high:,.1f})" if row.low is not None and row.high is not None else ""
        details = "".join(f"; {name} {shown(value)}" for name, value in row.details.items())
        print(f"{what}: {row.name}: {_figure(row.value, row.unit)}{spread}{details}; {row.correctness}")


def write_table() -> None:
    """Write benchmarks/README.md from all results."""
    (FOLDER / "README.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the text of benchmarks/README.md."""
    head = (
        "Written by `make bench` from `results/`: medians after a warm-up, the slowest and the fastest run beside them."
    )
    lines = ["# Benchmarks", "", head, ""]
    for path in sorted(RESULTS.glob("*.json")):
        content = json.loads(path.read_text())
        machine, memory = content["machine"], content["peak_memory_mb"]
        where = f"{machine['processor']}, {machine['cores']} cores"
        where += f", peak memory {memory:,} MB" if memory is not None else ""
        lines += [f"## {content['what']}", "", content["about"], "", f"{content['date']}, {where}.", ""]
        lines += [*_table(content["rows"]), ""]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of one table; the details that any row has stand between the spread and what is included."""
    extra = list(dict.fromkeys(name for row in rows for name in row.get("details", {})))
    head = ["what", "figure", "spread", *extra, "the time includes", "correctness"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        spread = f"{row['low']:,.1f}-{row['high']:,.1f}" if row["low"] is not None else ""
        more = [shown(row.get("details", {}).get(name, "")) for name in extra]
        cells = (row["name"], _figure(row["value"], row["unit"]), spread, *more, row["includes"], row["correctness"])
        lines.append(f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |")
    return lines


def _figure(value: float | None, unit: str) -> str:
    return f"{value:,.1f} {unit}" if value is not None else "-"


def shown(value: float | int | str) -> str:
    """Return a detail of a row as the tables show it."""
    if isinstance(value, str):
        return value
    # Shares down to a tenth of a per mille: 0.99 and 0.9999 are not the same.
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if value <= 1 else f"{value:,.1f}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.is_file()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()
