"""How each tool is started, and what it decided: ours, the peers, and the floors of reading and copying.

The peers live in `.bench-venv`, made from the extra `bench` by `python -m benchmarks.near_dup.tools`; their versions
and ours need different ones of the same libraries. A peer whose environment is absent is skipped, with the reason.
"""

import json
import os
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.near_dup.processes import Run, measure
from benchmarks.near_dup.verdict import OURS, PEERS

ROOT = Path(__file__).parents[2]
BENCH_VENV = ROOT / ".bench-venv"
BENCH_PYTHON = BENCH_VENV / "bin" / "python"
SCRIPTS = Path(__file__).parent / "peers"
PROVENDER = Path(sys.executable).parent / "provender"
CORES = len(os.sched_getaffinity(0))
READ = "import sys, polars as pl; pl.scan_parquet(sys.argv[2:]).select(pl.col('text').str.len_bytes().sum()).collect()"
COPY = "import sys, polars as pl; pl.scan_parquet(sys.argv[2:]).sink_parquet(sys.argv[1])"


@dataclass(frozen=True)
class Tool:
    """One way to run something: command + [files], its output, and how often it is timed after the watched run."""

    name: str
    about: str
    command: tuple[str, ...]
    words: str = PEERS
    repeats: int = 0


@dataclass(frozen=True)
class Result:
    """One tool on one corpus."""

    tool: Tool
    run: Run
    folder: Path
    out: Path

    def removed(self) -> list[str]:
        """Return the paths of the removed documents."""
        file = self.out / "removed.parquet" if self.out.is_dir() else self.out
        return pl.read_parquet(file, columns=["id"])["id"].to_list()

    def report(self) -> dict[str, object]:
        """Return our report.json."""
        content: dict[str, object] = json.loads((self.out / "report.json").read_text())
        return content


def ours(name: str, *options: str, jobs: int = CORES, decisions_only: bool = True, id_column: bool = True) -> Tool:
    """Return one way to run our command."""
    named = ("--id-column", "path") if id_column else ()
    command = (str(PROVENDER), "dedup", *named, "--jobs", str(jobs), "--json", *options)
    written = "removals and pairs out" if decisions_only else "removals, pairs and survivors out"
    extra = ("--decisions-only",) if decisions_only else ()
    return Tool(name, f"whole process, Parquet in, {written}", (*command, *extra, "--out"), OURS, repeats=3)


def _peer(name: str, script: str, about: str, *options: str, repeats: int = 0) -> Tool:
    command = (str(BENCH_PYTHON), str(SCRIPTS / script), *options)
    return Tool(name, f"whole process, Parquet in, removals out; {about}", command, repeats=repeats)


PROVENDER_DEFAULT = ours(f"provender, {CORES} jobs")
PROVENDER_WAYS = (
    ours(f"provender, {CORES} jobs, without --id-column", id_column=False),
    ours("provender, 1 job", jobs=1),
    ours(f"provender, {CORES} jobs, --memory 1GB", "--memory", "1GB"),
    ours(f"provender, {CORES} jobs, survivors written", decisions_only=False),
)
READ_FLOOR = Tool("read floor", "Polars scans and sums the text bytes", (sys.executable, "-c", READ), repeats=3)
COPY_FLOOR = Tool("copy floor", "Polars scans and sinks the same files", (sys.executable, "-c", COPY), repeats=3)
_STAR = "117 permutations, 9 x 13, star contraction"
DAFT = _peer("Daft", "run_daft.py", f"its `normalize`, {_STAR}", repeats=1)
DAFT_WORDS = _peer("Daft on words", "run_daft.py", f"runs of \\w, {_STAR}", "--words", repeats=1)
DAFT_RECALL = _peer(
    "Daft at our recall", "run_daft.py", "its `normalize`, 208 permutations, 26 x 8", "--recall", repeats=1
)
RENSA = _peer("rensa", "run_rensa.py", "RMinHashDeduplicator, 128 permutations, its default bands")
DATASKETCH = _peer("datasketch 2", "run_datasketch.py", "affine32, MinHashLSH, 128 permutations, 9 x 13")
DATATROVE = _peer("datatrove", "run_datatrove.py", "three stages, 2 tasks, 14 x 8, spaCy's English rules")


class Runs:
    """Runs each tool once per corpus and remembers what came out."""

    def __init__(self, scratch: Path, limit_seconds: float = 300.0, most_repeats: int = 3) -> None:
        """Keep what is written under `scratch`; a run has `limit_seconds`."""
        self.scratch, self.limit_seconds, self.most_repeats = scratch, limit_seconds, most_repeats
        self._results: dict[tuple[str, Path], Result] = {}

    def of(self, tool: Tool, folder: Path) -> Result:
        """Return the result of a tool on a folder of Parquet files."""
        key = (tool.name, folder)
        if key not in self._results:
            out = self.scratch / "out" / folder.name / "-".join(tool.name.replace(",", "").split())
            files = [str(file) for file in sorted(folder.glob("*.parquet"))]
            repeats = min(tool.repeats, self.most_repeats)
            command = [*tool.command, str(out), *files]
            reason = absent(tool)
            run = Run(0, 0, 0, 0, reason) if reason else measure(command, out, repeats, self.limit_seconds)
            print(f"near_dup: {tool.name} on {folder.name}: {run.failure or f'{run.seconds:.1f} s'}", flush=True)
            self._results[key] = Result(tool, run, folder, out)
        return self._results[key]


def absent(tool: Tool) -> str | None:
    """Return why a tool cannot run at all."""
    if tool.command[0] == str(BENCH_PYTHON) and not BENCH_PYTHON.is_file():
        return "no .bench-venv: python -m benchmarks.near_dup.tools makes it"
    return None


def peer_requirements() -> list[str]:
    """Return the requirements of the extra `bench`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements: list[str] = project["optional-dependencies"]["bench"]
    return requirements


def peer_versions() -> dict[str, str]:
    """Return the versions of the peers as installed; none where their environment is absent."""
    if not BENCH_PYTHON.is_file():
        return {}
    names = [requirement.split("==")[0] for requirement in peer_requirements()]
    code = "import sys, importlib.metadata as m; print(*(m.version(name) for name in sys.argv[1:]))"
    printed = subprocess.run([BENCH_PYTHON, "-c", code, *names], check=False, capture_output=True, text=True).stdout
    return dict(zip(names, printed.split(), strict=False))


if __name__ == "__main__":
    venv.create(BENCH_VENV, clear=True, with_pip=True)
    # Without our constraints: Daft needs an older pyarrow than ours.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    subprocess.run([BENCH_PYTHON, "-m", "pip", "install", "--quiet", *peer_requirements()], check=True, env=environment)
