"""A dedup loads nothing that it has no use for: what others have installed must not cost each run a second."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from .corpora import span

TEXTS = [
    span(0, 60, "word"),
    span(0, 60, "word") + " and more",
    span(0, 60, "word"),
    " \n",
    "...",
    span(0, 60, "other"),
]
CODE = "import sys; from engine.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
USELESS = {"pandas", "duckdb", "torch"}
"""pyarrow imports pandas, where it is installed, to make an array or a scalar of anything that is not Arrow already."""


@pytest.mark.parametrize("options", [[], ["--id-column", "id"], ["--decisions-only"]], ids=" ".join)
def test_no_pandas_and_no_database_is_loaded(tmp_path: Path, options: list[str]) -> None:
    ids = [str(number) for number in range(len(TEXTS))]
    pl.DataFrame({"id": ids, "text": TEXTS}).write_parquet(tmp_path / "in.parquet")
    command = ["dedup", str(tmp_path / "in.parquet"), "--out", str(tmp_path / "out"), "--json", *options]
    result = subprocess.run([sys.executable, "-c", CODE, *command], capture_output=True, text=True, check=True)
    assert (tmp_path / "out" / "removed.parquet").is_file()
    loaded = set(result.stderr.split())
    assert "pyarrow.parquet" in loaded
    assert not USELESS & loaded
