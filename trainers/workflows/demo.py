"""The whole way on text this machine already has: curate, train a tiny base, adapt it with and without replay, report.

1. curate the text of the Python environment and build the general mixture `demo_base`
2. train a Llama of 2.5 million parameters on it: the base
3. build `demo_replay_0` and `demo_replay_10` for the code domain, and continue the base on each
4. write the report: what was dropped and why, and what the model forgot with 0 % and with 10 % replay

Killed and started again, it goes on from the last whole artifact or checkpoint and ends with the same bytes.
"""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from engine.base.progress import say
from engine.formats.workspace import DEFAULT_WORKSPACE
from engine.report import report
from engine.run.pipeline import run
from trainers.train import train

BASE, ADAPTED = "demo_base", ("demo_replay_0", "demo_replay_10")


def demo(workspace: Path | str = DEFAULT_WORKSPACE, jobs: int | None = None) -> dict[str, Any]:
    """Run the demo and return its findings, runs and the path of the report.

    A run that exceeds the forgetting budget is reported, not stopped: showing it is what the demo is for.
    """
    with as_file(files("engine.recipes") / "demo.yaml") as recipe, as_file(files("trainers.recipes")) as training:
        say("1 of 4: curate what this Python environment carries")
        run(recipe, workspace, mixtures=[BASE], jobs=jobs)
        say("2 of 4: train a tiny base model on general text")
        runs = [train(training / f"{BASE}.yaml", workspace)]
        say("3 of 4: continue it on code, with 0 % and with 10 % replay of general text")
        curated = run(recipe, workspace, jobs=jobs)
        runs += [train(training / f"{name}.yaml", workspace) for name in ADAPTED]
        say("4 of 4: write the report")
        page = report(workspace, recipe="demo", runs=[BASE, *ADAPTED])
    return {"report": page["path"], "findings": page["findings"], "mixtures": curated["mixtures"], "runs": runs}


def show_demo(result: dict[str, Any]) -> str:
    """Return the findings and where to look next, for a terminal."""
    lines = ["", *(f"- {finding}" for finding in result["findings"]), "", f"report: {result['report']}", ""]
    lines += [
        "look further:",
        "  provender sql @funnel",
        "  provender sql @forgetting",
        "  provender sample --documents 6 --reason near_duplicate",
        "  provender mixture show demo_replay_10",
    ]
    return "\n".join(lines)
