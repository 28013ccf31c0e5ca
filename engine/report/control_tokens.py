"""Control tokens in front of the stored documents, and text that looks like one and is kept as text."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.formats.parquet import read_parquet
from engine.formats.token_store import CONTROL_TOKENS_FILE, LOOK_ALIKES_FILE
from engine.report.evidence import Evidence
from engine.report.table import Table, table
from engine.report.wording import count, share

_MOST_TOKENS = 40


@dataclass(frozen=True)
class ControlTokens:
    """What a token store says of control tokens; both frames have the most documents first."""

    tokens: pl.DataFrame
    """token, documents."""
    look_alikes: pl.DataFrame
    """token, documents, occurrences."""
    num_documents: int
    """Documents of the token store."""


def control_tokens(evidence: Evidence) -> ControlTokens | None:
    """Return what is counted, or None where no document has a control token or text that looks like one."""
    if evidence.store is None:
        return None
    folder = evidence.store.folder
    documents = pl.col("doc_id").n_unique().cast(pl.Int64).alias("documents")
    tokens = _counted(folder / CONTROL_TOKENS_FILE, documents)
    alike = _counted(folder / LOOK_ALIKES_FILE, documents, pl.col("occurrences").sum())
    if tokens.is_empty() and alike.is_empty():
        return None
    return ControlTokens(tokens, alike, evidence.store.meta.num_documents)


def control_token_tables(numbers: ControlTokens) -> list[Table]:
    """Return the table of control tokens and the one of look-alikes, each where it has rows."""
    tokens = [
        [token, count(documents), share(documents, numbers.num_documents)]
        for token, documents in numbers.tokens.head(_MOST_TOKENS).iter_rows()
    ]
    alike = [
        [token, count(documents), count(occurrences)]
        for token, documents, occurrences in numbers.look_alikes.head(_MOST_TOKENS).iter_rows()
    ]
    headings = ["token", "documents", "of the stored documents"]
    made = [
        (headings, tokens, numbers.tokens, "In front of the stored documents", "control_tokens"),
        (
            ["token", "documents", "occurrences"], alike, numbers.look_alikes,
            "Looks like a control or chat token, kept as text", "look_alikes",
        ),
    ]  # fmt: skip
    return [table(names, rows, 1, _caption(said, whole, view)) for names, rows, whole, said, view in made if rows]


def _counted(path: Path, *counts: pl.Expr) -> pl.DataFrame:
    found = read_parquet(path).group_by("token").agg(*counts)
    return found.sort(["documents", "token"], descending=[True, False])


def _caption(said: str, whole: pl.DataFrame, view: str) -> str:
    cut = f"; {_MOST_TOKENS} of {whole.height:,}, the view {view} has all"
    return said + (cut if whole.height > _MOST_TOKENS else "")
