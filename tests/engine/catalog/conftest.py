"""The workspace of nine documents: `small_workspace` for tests that change it, `read_workspace` for all others."""

import runpy
from pathlib import Path

_MADE = runpy.run_path(str(Path(__file__).parents[1] / "small_workspace.py"))
small_workspace, read_workspace = _MADE["small_workspace"], _MADE["read_workspace"]
