"""The held-out sets of a version as files of their own, for whoever measures with another trainer."""

from pathlib import Path

import polars as pl
import pyarrow as pa

from engine.base.errors import InputError, problem
from engine.formats.doc_ids import id_texts
from engine.formats.split import Split
from engine.run.export.options import ExportOptions
from engine.run.export.write import WrittenFile, described, write_tables

FOLDER = "held_out"
SCHEMA = pa.schema({name: pa.string() for name in ("text", "doc_id", "set", "source")})


def write_held_out(split: Split | None, reference: str, folder: Path, options: ExportOptions) -> list[WrittenFile]:
    """Write held_out/<set>.<format> for every set; raises InputError where the version has none."""
    if split is None:
        raise InputError(problem(reference, "its recipe has no split", "held-out sets", "leave --held-out out"))
    (folder / FOLDER).mkdir()
    documents = split.heldout().with_columns(doc_id=id_texts(pl.col("doc_id"))).select(SCHEMA.names)
    written = []
    for (name,), part in documents.group_by("set", maintain_order=True):
        path = folder / FOLDER / f"{name}.{options.format}"
        rows = write_tables(path, iter([part.to_arrow().cast(SCHEMA)]), SCHEMA, options.format)
        written.append(described(path, folder, rows))
    return written
