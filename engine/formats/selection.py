"""A selection: one decision per document, with its reason, and the ledger.

selections/<digest>/
    <source>/<shard key>.parquet      decision, reason (row-aligned with the documents)
    ledger.parquet
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

SCHEMA = {"decision": pl.String, "reason": pl.String}
KEPT, DROPPED, HELD_OUT = "kept", "dropped", "held_out"


@dataclass(frozen=True)
class Selection:
    """A finished selection."""

    folder: Path
    digest: str

    def decisions(self, shard: Shard) -> pl.DataFrame:
        """Return `decision` (kept, dropped, held_out) and `reason` (rule, or held-out set) of every document."""
        return read_part(self.folder, shard)

    def ledger(self) -> pl.DataFrame:
        """Return the selection's ledger (engine.formats.ledger)."""
        return read_parquet(self.folder / "ledger.parquet")

    def rules(self) -> dict[str, Any]:
        """Return what selection.json says: rules in their order, inputs by digest."""
        return read_json(self.folder / "selection.json")
