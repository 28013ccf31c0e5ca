"""Where TRL lies: alone in a folder of its own, made from the extra `bench-train` and used with our torch.

`python -m benchmarks.train_step.peer` makes it. TRL needs no other library than the extra `train` has already, so both
sides run on the same versions of torch, transformers and peft.
"""

import importlib.metadata
import subprocess
import sys
import tomllib

from benchmarks.near_dup.tools import ROOT

TRL = ROOT / "build" / "trl"


def peer_versions() -> dict[str, str]:
    """Return the version of TRL, as installed; none where it is absent."""
    found = importlib.metadata.distributions(name="trl", path=[str(TRL)])
    return {one.name: one.version for one in found}


def absent() -> str | None:
    """Return why TRL cannot run."""
    return None if peer_versions() else "no build/trl: python -m benchmarks.train_step.peer makes it"


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = project["optional-dependencies"]["bench-train"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(TRL)]
    subprocess.run([*command, *requirements], check=True)
