"""What every refusal of `provender dedup` has in common."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.cli import main

PROGRESS = re.compile(r"\.\.\.$|, [\d.,]+ s( left)?$")


def table(path: Path, **columns: Any) -> str:
    """Write these columns as Parquet and return the path as an argument."""
    pq.write_table(pa.table(columns), path)
    return str(path)


def refused(arguments: list[str], parts: Iterable[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run `provender dedup` and check that it ends with exit 1 and one line that has these parts.

    Nothing in `folder` changes. Parts are compared without case, as types are called Int64 or int64.
    """
    before = {path: path.stat().st_size for path in folder.rglob("*")}
    capsys.readouterr()
    code = main(["dedup", *arguments, "--out", str(folder / "out"), "--json"])
    shown = capsys.readouterr()
    assert code == 1, shown.err
    assert shown.out == ""
    (error,) = (line for line in shown.err.strip().splitlines() if not PROGRESS.search(line))
    for part in parts:
        assert part.lower() in error.lower()
    assert {path: path.stat().st_size for path in folder.rglob("*")} == before
