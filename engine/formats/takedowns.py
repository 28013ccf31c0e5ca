"""What was taken down in a workspace, for good: later runs of any recipe drop these documents.

takedowns.jsonl    one Takedown a line, in the order in which they were asked for; lines are only ever added

Nothing of a text is stored, but the digest of it, so that an exact copy is known again after the document itself has
gone from its source. Dates, names and reasons stand outside all digests. There is no verb that takes a line back: the
versions made for it name what left too, so that an audit stops a run that lets a document of theirs in again.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from pydantic import Field

from engine.base.atomic import atomic_file
from engine.base.errors import InputError, problem
from engine.base.stage import StrictModel
from engine.formats.doc_ids import id_text
from engine.formats.mixture import Mixture
from engine.formats.workspace import Workspace
from engine.formats.workspace_lock import only_writer

FILE = "takedowns.jsonl"
LOCK = ".takedowns.lock"
TAKEDOWN = "takedown"
"""Reason of the documents that are dropped for it."""
ASKED, EXACT, NEAR = "asked", "exact_duplicate", "near_duplicate"
"""Why a document leaves: it was named, its text is equal, or it is similar."""


SCHEMA = {
    "position": pl.Int64,  # of the takedown among all of the workspace
    "when": pl.String,
    "by": pl.String,
    "reason": pl.String,
    "doc_id": pl.String,
    "source": pl.String,
    "why": pl.String,
    "of": pl.String,
    "similarity": pl.Float64,
}


class TakenDown(StrictModel):
    """One document that left."""

    doc_id: str = Field(pattern=r"^[0-9a-f]{32}$", description="hex")
    source: str
    why: str = Field(description="asked, exact_duplicate or near_duplicate")
    of: str = Field(pattern=r"^[0-9a-f]{32}$", description="the document that was named, in hex")
    similarity: float = Field(description="to that one, 1 for equal texts")
    text_digest: str | None = Field(default=None, description="of the named documents, hex; null without text")


class Takedown(StrictModel):
    """One request: documents that were named, and all that left with them."""

    when: str = Field(description="ISO 8601, UTC")
    by: str | None = Field(default=None, description="who asked for it")
    reason: str | None = None
    threshold: float | None = Field(default=None, description="similarity that joins; null: that of the stage")
    documents: list[TakenDown] = Field(min_length=1)

    def asked(self) -> list[TakenDown]:
        """Return the documents that were named."""
        return [document for document in self.documents if document.why == ASKED]


def now() -> str:
    """Return the time in the form of `when`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def takedowns_path(workspace: Workspace) -> Path:
    """Return the file of a workspace, whether it is there or not."""
    return workspace.root / FILE


def read_takedowns(workspace: Workspace) -> list[Takedown]:
    """Return everything that was taken down, oldest first; raises InputError that names a line that is damaged."""
    path = takedowns_path(workspace)
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(Takedown.model_validate_json(line))
        except ValueError as error:  # pydantic's errors are ValueErrors too
            reason = str(error).splitlines()[0]
            fix = "restore the file: without it documents that were taken down would come back"
            raise InputError(problem(f"{path}:{number}", f"no takedown ({reason})", fix=fix)) from error
    return found


def require_none_taken_down(workspace: Workspace, mixture: Mixture) -> None:
    """Raise InputError where a version holds documents that were taken down, from whichever mixture."""
    gone = sorted({bytes.fromhex(one.doc_id) for takedown in read_takedowns(workspace) for one in takedown.documents})
    if not gone:
        return
    is_gone = pl.col("doc_id").is_in(pl.Series(gone, dtype=pl.Binary).implode())
    held = mixture.documents_where(is_gone)["doc_id"].unique().sort()
    if held.len():
        name, first = mixture.manifest.name, ", ".join(id_text(doc_id) for doc_id in held[:3])
        found = f"{held.len():,} of its documents were taken down: {first}"
        fix = f"take {name}@latest; where that is this one: provender mixture takedown {id_text(held[0])}"
        raise InputError(problem(mixture.reference, found, "a version without them", fix))


def takedowns_frame(takedowns: Iterable[Takedown]) -> pl.DataFrame:
    """Return one row (SCHEMA) per document that left, in the order in which they were asked for."""
    rows = [
        {"position": position, **takedown.model_dump(include={"when", "by", "reason"})}
        | document.model_dump(exclude={"text_digest"})
        for position, takedown in enumerate(takedowns)
        for document in takedown.documents
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def append_takedowns(workspace: Workspace, takedowns: Iterable[Takedown]) -> None:
    """Add takedowns to those of a workspace; all of them are on the disk when it returns, or none."""
    path = takedowns_path(workspace)
    with only_writer(workspace.root, LOCK):
        before = path.read_bytes() if path.is_file() else b""
        lines = "".join(f"{one.model_dump_json()}\n" for one in takedowns)
        with atomic_file(path) as temporary:
            temporary.write_bytes(before + lines.encode())
