"""A selection: one decision per document, with its reason, and the ledger.

selections/<digest>/
    <source>/<shard key>.parquet      decision, reason, tags (row-aligned with the documents)
    ledger.parquet
    balance.parquet                   BALANCE_SCHEMA: what each rule of balance asked of a group, and what became of it
    examples.parquet                  EXAMPLES_SCHEMA: a few documents for every source and reason
    selection.json                    rules in order, sources and annotations by digest
    receipt.json
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.atomic import read_json
from engine.formats.annotation import read_part
from engine.formats.documents import Shard
from engine.formats.parquet import read_parquet

SCHEMA: dict[str, Any] = {
    "decision": pl.String,
    "reason": pl.String,
    "tags": pl.List(pl.String),  # reasons that would have dropped a document that stays; null where there are none
}
KEPT, DROPPED, HELD_OUT, OVER_BUDGET = "kept", "dropped", "held_out", "over_budget"
BALANCE_SCHEMA = {
    "rule": pl.String,
    "unit": pl.String,  # documents, bytes, tokens
    "group": pl.String,  # language__top = en, domain__top = medical
    "is_quota": pl.Boolean,  # else a group under the rule's cap
    "asked": pl.Int64,  # amount of the quota, or the cap, in the unit
    "available": pl.Int64,  # what came to the rule
    "kept": pl.Int64,  # for a quota, what is kept after the last rule of balance; for a cap, what its rule kept
    "missing": pl.Int64,  # asked - kept of a quota, at least 0; 0 for caps
    "available_documents": pl.Int64,
    "kept_documents": pl.Int64,  # as kept
}
EXAMPLES_SCHEMA = {
    "source": pl.String,
    "decision": pl.String,
    "reason": pl.String,
    "doc_id": pl.Binary,
    "num_chars": pl.Int64,
    "excerpt": pl.String,  # its beginning, or that of what is cut out of it; null where it has no text
}
CUT = "cut"
"""Decision of an example of a kept document that a stage cuts something out of; the reason is the stage's prefix."""


@dataclass(frozen=True)
class Selection:
    """A finished selection."""

    folder: Path
    digest: str

    def decisions(self, shard: Shard) -> pl.DataFrame:
        """Return `decision` (KEPT and the others), `reason` (rule or held-out set) and `tags` of every document."""
        return read_part(self.folder, shard)

    def ledger(self) -> pl.DataFrame:
        """Return the selection's ledger (engine.formats.ledger)."""
        return read_parquet(self.folder / "ledger.parquet")

    def balance(self) -> pl.DataFrame:
        """Return what every rule of balance asked and got (BALANCE_SCHEMA); no row where there is no such rule."""
        return _read_or_none(self.folder / "balance.parquet", BALANCE_SCHEMA)

    def examples(self) -> pl.DataFrame:
        """Return the documents saved as examples (EXAMPLES_SCHEMA), by source, decision and reason."""
        return _read_or_none(self.folder / "examples.parquet", EXAMPLES_SCHEMA)

    def rules(self) -> dict[str, Any]:
        """Return what selection.json says: rules in their order, inputs by digest."""
        return read_json(self.folder / "selection.json")


def _read_or_none(path: Path, schema: dict[str, Any]) -> pl.DataFrame:
    return read_parquet(path) if path.is_file() else pl.DataFrame(schema=schema)
