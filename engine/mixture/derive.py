"""Versions made from a version: without some of its documents, or with new ones of one more source.

Nothing is planned anew: what stays keeps its uses, role, phase and place in the order. Budgets stand as they were
planned, so what left shows as short of budget. The sums, the rows of the sources and the ledger are counted again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import polars as pl

from engine.base.errors import AuditError, problem
from engine.formats.doc_ids import id_text
from engine.formats.ledger import SCHEMA as LEDGER_SCHEMA
from engine.formats.manifest import (
    DOCUMENTS_SCHEMA,
    Derivation,
    HeldOutSet,
    Manifest,
    Mixture,
    MixtureSource,
    SearchedBenchmark,
)
from engine.formats.parquet import read_parquet
from engine.formats.takedowns import TAKEDOWN
from engine.formats.token_store import TokenStore
from engine.mixture import accounts, curriculum
from engine.mixture.build import documents_digest, order_digest, texts_digest
from engine.mixture.config import Config, PhaseConfig
from engine.mixture.phases import Cell
from engine.mixture.weights import spent
from engine.mixture.write import content_digest, with_first_uses

SIZES = ("num_tokens", "supervised_tokens")
_Searched = TypeVar("_Searched", HeldOutSet, SearchedBenchmark)
_OUTCOMES = {"in": 0, "kept": 1, "over_budget": 2, "dropped": 3}


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
                if row.phase in used and row.documents > _rows_of(gone, row).height
            ],
            "phases": [phase for position, phase in enumerate(old.phases) if position in used],
            "licenses": _licenses_less(old.licenses, gone, licenses),
            "held_out": [_searched_less(one, gone) for one in old.held_out],
            "benchmarks": [_searched_less(one, gone) for one in old.benchmarks],
        }
    )
    ledger = _ledger_without(read_parquet(mixture.folder / "ledger.parquet"), before, candidates)
    return _counted(manifest, left, ledger)


@dataclass(frozen=True)
class NewSource:
    """The source that comes to a version."""

    name: str
    input_digest: str
    objective: str
    """engine.formats.manifest.OBJECTIVES."""
    licenses: pl.DataFrame
    """doc_id, license (null where none is stated) of its documents."""


def last_phase(manifest: Manifest) -> PhaseConfig:
    """Return the keys of the last phase of a version, all filled in; a takedown may have left fewer than planned."""
    phases = {phase.name: phase for phase in Config.model_validate(manifest.config).phase_list()}
    return phases[manifest.phases[-1].name]


def extended(mixture: Mixture, store: pl.DataFrame, source: NewSource, difficulty: pl.DataFrame | None) -> Derived:
    """Return a version with new documents, each once, in the last phase, whose order is made anew.

    Args:
        mixture: The version.
        store: Documents of the new token store: those of the version, and those of the new source that were kept.
        source: What the new documents are.
        difficulty: doc_id, difficulty of all documents, where the order of the last phase goes by a column.

    What the manifest says of token store, selection, searches and audit is still that of `mixture`. New documents
    without a supervised token are left over, as everywhere. Raises AuditError where a document of the version has other
    tokens in the new store, RecipeError where a stage of a staged curriculum would be empty.
    """
    old = mixture.manifest
    last = len(old.phases) - 1
    kept = _in_store(mixture, store)
    rows = store.with_row_index("store_row").filter(pl.col("source") == source.name)
    rows = rows.join(source.licenses, on="doc_id", how="left", maintain_order="left")
    cell = _every_once(rows, last, source.name)
    row = accounts.source_rows([cell], rows, {source.name: source.input_digest}, {source.name: source.objective})[0]
    whole = old.phases[last].budget_tokens + row.budget_tokens
    manifest = old.model_copy(
        update={
            "sources": sorted([*old.sources, row], key=lambda one: (one.phase, one.is_replay, one.source)),
            "phases": [*old.phases[:last], old.phases[last].model_copy(update={"budget_tokens": whole})],
            "licenses": dict(sorted((Counter(old.licenses) + Counter(row.licenses)).items())),
        }
    )
    new = rows[cell.rows].with_columns(is_replay=pl.lit(False), phase=pl.lit(last), repeats=pl.lit(1))
    came_in = accounts.ledger(f"mixture:{old.name}", rows, [cell])
    ledger = pl.concat([read_parquet(mixture.folder / "ledger.parquet"), came_in])
    return _counted(manifest, _in_order(mixture, kept, new, difficulty), ledger)


def _every_once(rows: pl.DataFrame, phase: int, source: str) -> Cell:
    supervised = rows["supervised_tokens"].to_numpy()
    used = np.flatnonzero(supervised).astype(np.uint32)
    repeats = np.ones(used.size, dtype=np.uint16)
    return Cell(phase, source, False, spent(supervised[used], repeats), used, repeats)


def _in_order(mixture: Mixture, kept: pl.DataFrame, new: pl.DataFrame, difficulty: pl.DataFrame | None) -> pl.DataFrame:
    """Return old and new documents (DOCUMENTS_SCHEMA without `document`), the last phase in the order of its keys."""
    last = len(mixture.manifest.phases) - 1
    schema = pl.Schema({name: kind for name, kind in DOCUMENTS_SCHEMA.items() if name != "document"})
    both = pl.concat([one.select(schema.names()).cast(schema) for one in (kept, new)])
    before, in_last = both.filter(pl.col("phase") < last), both.filter(pl.col("phase") == last)
    known = in_last
    if difficulty is not None:
        known = in_last.join(difficulty, on="doc_id", how="left", maintain_order="left")
    phase = last_phase(mixture.manifest)
    place = f"{mixture.reference}: phase {phase.name}"
    order = curriculum.order(known, phase.curriculum_of(), mixture.manifest.seed, place)
    return pl.concat([before, in_last[order]])


def _counted(manifest: Manifest, documents: pl.DataFrame, ledger: pl.DataFrame) -> Derived:
    """Number the documents, and count sources, phases, totals and effective numbers of sources again."""
    schema = pl.Schema(DOCUMENTS_SCHEMA)
    documents = documents.drop("document", strict=False).with_row_index("document")
    documents = documents.select(schema.names()).cast(schema)
    rows = [row.model_copy(update=_row_of(_rows_of(documents, row))) for row in manifest.sources]
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


def _rows_of(documents: pl.DataFrame, row: MixtureSource) -> pl.DataFrame:
    """Return the documents that a row of the manifest counts."""
    return documents.filter(
        (pl.col("source") == row.source) & (pl.col("is_replay") == row.is_replay) & (pl.col("phase") == row.phase)
    )


def _row_of(documents: pl.DataFrame) -> dict[str, int]:
    """Return what a row of the manifest says of the documents it counts."""
    tokens, supervised, repeats = (documents[name].to_numpy() for name in (*SIZES, "repeats"))
    return {
        "documents": documents.height,
        "unique_tokens": int(tokens.sum(dtype=np.int64)),
        "tokens": spent(tokens, repeats),
        "supervised_tokens": spent(supervised, repeats),
        "max_repeats": int(repeats.max()),
    }


def _less(
    row: MixtureSource, gone: pl.DataFrame, candidates: pl.DataFrame, licenses: Mapping[bytes, str]
) -> dict[str, Any]:
    """Return what could be used of a source without the candidates that leave, and its licences without theirs."""
    own = candidates.filter(pl.col("source") == row.source)
    return {
        "available_documents": row.available_documents - own.height,
        "available_tokens": row.available_tokens - int(own["num_tokens"].cast(pl.Int64).sum()),
        "licenses": _licenses_less(row.licenses, _rows_of(gone, row), licenses),
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


def _in_store(mixture: Mixture, store: pl.DataFrame) -> pl.DataFrame:
    """Return the documents of a version with their rows in another token store."""
    documents = mixture.documents()
    rows = store.with_row_index("store_row").select("doc_id", "store_row", *SIZES)
    found = documents.drop("store_row").join(rows, on="doc_id", how="left", maintain_order="left", suffix="_now")
    same = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_now") for name in SIZES)
    other = found.filter(~same.fill_null(False))
    if other.height:
        first = ", ".join(id_text(doc_id) for doc_id in other["doc_id"].head(3))
        text = f"{other.height:,} of its documents come to other tokens now: {first}"
        fix = "run the recipe again; the documents, or what is cut out of them, changed"
        raise AuditError(problem(mixture.reference, text, "the tokens it was made with", fix))
    return found
