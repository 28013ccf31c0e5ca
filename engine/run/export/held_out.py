"""The held-out sets of a version as files of their own, for whoever measures with another trainer."""

import re
from pathlib import Path

import polars as pl
import pyarrow as pa

from engine.base.errors import InputError, problem
from engine.formats.split import Split
from engine.run.export.write import WrittenFile, described, write_tables

FOLDER = "held_out"
SCHEMA = pa.schema({name: pa.string() for name in ("text", "doc_id", "set", "source")})


def write_held_out(split: Split | None, reference: str, folder: Path, form: str) -> list[WrittenFile]:
    """Write held_out/<set>.<form> for every set; raises InputError where the version has none."""
    if split is None:
        raise InputError(problem(reference, "its recipe has no split", "held-out sets", "leave --held-out out"))
    (folder / FOLDER).mkdir()
    documents = split.heldout().with_columns(pl.col("doc_id").bin.encode("hex")).select(SCHEMA.names)
    written = []
    for (name,), part in documents.group_by("set", maintain_order=True):
        path = folder / FOLDER / f"{re.sub(r'[^A-Za-z0-9_]', '_', str(name))}.{form}"
        rows = write_tables(path, iter([part.to_arrow().cast(SCHEMA)]), SCHEMA, form)
        written.append(described(path, folder, rows))
    return written
