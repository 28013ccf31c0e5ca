"""A split: the held-out sets, with their texts, so that a probe needs nothing else.

splits/<digest>/
    heldout.parquet       doc_id, set, source, group_id, num_bytes, num_tokens, text; sorted by set, doc_id
    groups.parquet        doc_id, group_id (smallest doc_id of the component), set: every document of a held-out group
    receipt.json
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.formats.parquet import read_parquet

HELDOUT_SCHEMA = {
    "doc_id": pl.Binary,
    "set": pl.String,
    "source": pl.String,
    "group_id": pl.Binary,
    "num_bytes": pl.Int64,
    "num_tokens": pl.Int64,  # as the recipe's first stage tokens counts them; null where there is none
    "text": pl.String,
}


@dataclass(frozen=True)
class Split:
    """A finished split."""

    folder: Path
    digest: str

    def heldout(self) -> pl.DataFrame:
        """Return the held-out documents (HELDOUT_SCHEMA)."""
        return read_parquet(self.folder / "heldout.parquet")

    def sizes(self) -> pl.DataFrame:
        """Return set, documents, bytes and tokens of every held-out set; tokens are null where nobody counted them."""
        tokens = pl.when(pl.col("num_tokens").is_not_null().all()).then(pl.col("num_tokens").sum())
        counts = [pl.len().cast(pl.Int64).alias("documents"), pl.col("num_bytes").sum().alias("bytes")]
        return self.heldout().group_by("set").agg(*counts, tokens.alias("tokens")).sort("set")

    def groups(self) -> pl.DataFrame:
        """Return every document of a held-out group: doc_id, group_id, set."""
        return read_parquet(self.folder / "groups.parquet")
