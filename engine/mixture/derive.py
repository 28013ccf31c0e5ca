"""Versions made from a version: without some of its documents (engine.mixture.without), or with new ones (extended).

Nothing is planned anew: what stays keeps its uses, role, phase and place in the order. Budgets stand as they were
planned, so what left shows as short of budget. The sums, the rows of the sources and the ledger are counted again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from engine.formats.manifest import DOCUMENTS_SCHEMA, Manifest, MixtureSource
from engine.formats.token_store import TokenStore
from engine.mixture import accounts
from engine.mixture.build import documents_digest, order_digest, texts_digest
from engine.mixture.weights import spent
from engine.mixture.write import content_digest, with_first_uses


@dataclass(frozen=True)
class Derived:
    """The content of a version that was made from another; `manifest` has not its own schedule and digests yet."""

    manifest: Manifest
    documents: pl.DataFrame
    """DOCUMENTS_SCHEMA."""
    ledger: pl.DataFrame

    @cached_property
    def order_digest(self) -> str:
        """What a schedule is made from."""
        return order_digest(self.documents)

    def signed(self, store: TokenStore) -> Manifest:
        """Return the manifest with its own digests; `store` has the documents."""
        manifest = self.manifest.model_copy(update={"texts": texts_digest(self.documents, store)})
        return manifest.model_copy(update={"digest": content_digest(manifest, documents_digest(self.documents))})


def counted(manifest: Manifest, documents: pl.DataFrame, ledger: pl.DataFrame) -> Derived:
    """Number the documents, and count sources, phases, totals and effective numbers of sources again."""
    schema = pl.Schema(DOCUMENTS_SCHEMA)
    documents = documents.drop("document", strict=False).with_row_index("document")
    documents = documents.select(schema.names()).cast(schema)
    rows = [row.model_copy(update=_row_of(rows_of(documents, row))) for row in manifest.sources]
    sources = with_first_uses(rows, documents)
    totals = ("documents", "tokens", "supervised_tokens")
    phases = [
        phase.model_copy(update={name: _sum(sources, name, position) for name in totals})
        for position, phase in enumerate(manifest.phases)
    ]
    names = list(dict.fromkeys(row.source for row in sources))
    roles = {name: [row for row in sources if row.source == name] for name in names}
    distinct = documents.unique("doc_id")
    kept = distinct.group_by("source").len()["len"]
    counts = {
        "sources": sources,
        "phases": phases,
        "curriculum": ", then ".join(phase.curriculum for phase in phases),
        "documents": distinct.height,
        **{name: sum(getattr(row, name) for row in sources) for name in ("tokens", "supervised_tokens")},
        "n_eff_before": accounts.effective_sources(rows[0].available_tokens for rows in roles.values()),
        "n_eff_after": accounts.effective_sources(sum(row.tokens for row in rows) for rows in roles.values()),
        "n_eff_documents_before": accounts.effective_sources(rows[0].available_documents for rows in roles.values()),
        "n_eff_documents_after": accounts.effective_sources(kept),
    }
    return Derived(manifest.model_copy(update=counts), documents, ledger)


def _sum(sources: Sequence[MixtureSource], name: str, phase: int) -> int:
    return sum(getattr(row, name) for row in sources if row.phase == phase)


def rows_of(documents: pl.DataFrame, row: MixtureSource) -> pl.DataFrame:
    """Return the documents that a row of the manifest counts."""
    return documents.filter(
        (pl.col("source") == row.source) & (pl.col("is_replay") == row.is_replay) & (pl.col("phase") == row.phase)
    )


def _row_of(documents: pl.DataFrame) -> dict[str, int]:
    """Return what a row of the manifest says of the documents it counts."""
    tokens, supervised, repeats = (
        documents[name].to_numpy() for name in ("num_tokens", "supervised_tokens", "repeats")
    )
    return {
        "documents": documents.height,
        "unique_tokens": int(tokens.sum(dtype=np.int64)),
        "tokens": spent(tokens, repeats),
        "supervised_tokens": spent(supervised, repeats),
        "max_repeats": int(repeats.max()),
    }
