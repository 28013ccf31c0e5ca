"""The inputs as a recipe would name them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.run.oneshot.inputs import Input, reader_of


def recipe_sources(name: str, files: Sequence[Input], columns: dict[str, str]) -> list[dict[str, Any]]:
    """Return the sources of a recipe that reads `files`, one per kind of file; columns: core column -> theirs."""
    by_reader: dict[str, list[str]] = {}
    for one in files:
        by_reader.setdefault(reader_of(Path(one.name)) or "parquet", []).append(one.name)
    return [
        {
            "stage": reader,
            "name": name if len(by_reader) == 1 else f"{name}_{reader}",
            "path": paths[0] if len(paths) == 1 else paths,
            "columns": columns,
        }
        for reader, paths in by_reader.items()
    ]
