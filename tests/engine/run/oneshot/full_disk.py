"""A verb under a full disk, for the tests of the one-shot verbs."""

import os
import random
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def many_texts() -> list[str]:
    """2,000 texts that do not compress, some 1.8 MB."""
    draw = random.Random(1)
    return [" ".join(str(draw.randrange(10**8)) for _ in range(100)) for _ in range(2000)]


def assert_one_error_and_nothing_left(folder: Path, arguments: Sequence[object], limit: int) -> None:
    """Run a verb where every write beyond `limit` bytes of a file fails (RLIMIT_FSIZE), as on a full disk."""
    before = sorted(folder.rglob("*"))
    scratch = folder / "scratch"
    scratch.mkdir()
    result = subprocess.run(
        [sys.executable, "-m", "engine.cli", *map(str, arguments), "--out", str(folder / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(scratch)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if "large" in line or "space" in line or "disk" in line]
    assert len(errors) == 1, result.stderr
    assert sorted(folder.rglob("*")) == sorted([*before, scratch])
