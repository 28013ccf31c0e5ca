"""A version without some documents of another (engine.mixture.derive)."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import polars as pl

from engine.formats.ledger import SCHEMA as LEDGER_SCHEMA
from engine.formats.manifest import Derivation, HeldOutSet, MixtureSource, SearchedBenchmark
from engine.formats.mixture import Mixture
from engine.formats.parquet import read_parquet
from engine.formats.takedowns import TAKEDOWN
from engine.mixture.derive import Derived, counted, rows_of

_Searched = TypeVar("_Searched", HeldOutSet, SearchedBenchmark)
_OUTCOMES = {"in": 0, "kept": 1, "over_budget": 2, "dropped": 3}


def without(
    mixture: Mixture, store: pl.DataFrame, removed: Sequence[bytes], licenses: Mapping[bytes, str], reason: str | None
) -> Derived | None:
    """Return a version without some documents, None where nothing would be left.

    Args:
        mixture: The version.
        store: Documents of its token store (engine.formats.token_store.DOCUMENTS_SCHEMA).
        removed: doc_ids that leave, whether they are in use or were left over by the budget.
        licenses: doc_id -> licence of those of them that state one.
        reason: What the user gave as the reason.

    A source that loses its last document leaves the mixture, a phase that does so too; phases behind it move up.
    """
    old = mixture.manifest
    before = mixture.documents()
    is_gone = pl.col("doc_id").is_in(pl.Series(removed, dtype=pl.Binary).implode())
    gone, left = before.filter(is_gone), before.filter(~is_gone)
    if left.is_empty():
        return None
    used = sorted(left["phase"].unique())
    left = left.with_columns(pl.col("phase").replace_strict(used, range(len(used)), return_dtype=pl.UInt8))
    candidates = store.filter(is_gone)
    manifest = old.model_copy(
        update={
            "derived_from": Derivation(
                how="takedown",
                reference=mixture.reference,
                digest=old.digest,
                removed=sorted(doc_id.hex() for doc_id in gone["doc_id"].unique()),
                reason=reason,
            ),
            "sources": [
                row.model_copy(update={"phase": used.index(row.phase)} | _less(row, gone, candidates, licenses))
                for row in old.sources
                if row.phase in used and row.documents > rows_of(gone, row).height
            ],
            "phases": [phase for position, phase in enumerate(old.phases) if position in used],
            "licenses": _licenses_less(old.licenses, gone, licenses),
            "held_out": [_searched_less(one, gone) for one in old.held_out],
            "benchmarks": [_searched_less(one, gone) for one in old.benchmarks],
        }
    )
    ledger = _ledger_without(read_parquet(mixture.folder / "ledger.parquet"), before, candidates)
    return counted(manifest, left, ledger)


def _less(
    row: MixtureSource, gone: pl.DataFrame, candidates: pl.DataFrame, licenses: Mapping[bytes, str]
) -> dict[str, Any]:
    """Return what could be used of a source without the candidates that leave, and its licences without theirs."""
    own = candidates.filter(pl.col("source") == row.source)
    return {
        "available_documents": row.available_documents - own.height,
        "available_tokens": row.available_tokens - int(own["num_tokens"].cast(pl.Int64).sum()),
        "licenses": _licenses_less(row.licenses, rows_of(gone, row), licenses),
    }


def _licenses_less(before: Mapping[str, int], gone: pl.DataFrame, licenses: Mapping[bytes, str]) -> dict[str, int]:
    """Return licence -> documents without those that left, each once."""
    left = dict(before)
    for doc_id in gone["doc_id"].unique():
        name = licenses.get(doc_id, "unknown")
        left[name] = left.get(name, 0) - 1
    return {name: documents for name, documents in left.items() if documents > 0}


def _searched_less(one: _Searched, gone: pl.DataFrame) -> _Searched:
    """Return what was searched without the documents that left.

    A document may have had no text to search; all that left are counted as searched, so never too many are claimed.
    """
    ids = {doc_id.hex() for doc_id in gone["doc_id"]}
    searched = max(0, one.searched_documents - len(ids))
    found = [doc_id for doc_id in one.found if doc_id not in ids]
    return one.model_copy(update={"searched_documents": searched, "found": found})


def _ledger_without(ledger: pl.DataFrame, used: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    """Return a mixture's ledger where candidates left: taken off what was kept or over budget, and dropped."""
    is_used = pl.col("doc_id").is_in(used["doc_id"].implode())
    units = ["documents", "bytes", "tokens"]
    gone = (
        candidates.with_columns(outcome=pl.when(is_used).then(pl.lit("kept")).otherwise(pl.lit("over_budget")))
        .group_by("source", "outcome")
        .agg(
            pl.len().cast(pl.Int64).alias("documents"),
            pl.col("num_bytes").cast(pl.Int64).sum().alias("bytes"),
            pl.col("num_tokens").cast(pl.Int64).sum().alias("tokens"),
        )
        .filter(pl.col("source").is_in(ledger["source"].implode()))
    )
    less = ledger.join(gone, on=["source", "outcome"], how="left", maintain_order="left", suffix="_gone")
    less = less.with_columns(pl.col(unit) - pl.col(f"{unit}_gone").fill_null(0) for unit in units)
    dropped = (
        gone.group_by("source")
        .agg(pl.col(units).sum())
        .with_columns(step=pl.lit(ledger["step"][0]), outcome=pl.lit("dropped"), reason=pl.lit(TAKEDOWN))
    )
    names = ledger.columns
    schema = pl.Schema(LEDGER_SCHEMA)
    whole = pl.concat([less.select(names).cast(schema), dropped.select(names).cast(schema)])
    keys = ["step", "source", "outcome", "reason"]
    summed = whole.group_by(keys).agg(pl.col(units).sum()).filter(pl.col("documents") > 0)
    return summed.select(names).cast(schema).sort("source", pl.col("outcome").replace_strict(_OUTCOMES), "reason")
