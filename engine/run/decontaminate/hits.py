"""The hits as a table of their own, and the best hit of each document."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from engine.formats.parquet import write_parquet
from engine.run.oneshot.inputs import Input
from engine.run.oneshot.names import Names

HITS = ("id", "benchmark", "item", "kind", "score", "evidence")


def write_hits(path: Path, files: Sequence[Input], hits: pl.DataFrame, id_column: str | None) -> None:
    """Write hits.parquet (HITS): by id (without own ids by file and row), best first."""
    documents = hits["document"].to_numpy()
    named = Names(files, id_column, documents).of(documents, "id").hstack(hits.drop("document", "spans"))
    by = ["file", "row", "id", "score", "benchmark", "item", "kind"]
    write_parquet(path, named.sort(by, descending=[name == "score" for name in by]).select(HITS))


def best_hits(hits: pl.DataFrame) -> pl.DataFrame:
    """Return the best hit of each document; `hits` stand best first."""
    return hits.unique("document", keep="first", maintain_order=True)
