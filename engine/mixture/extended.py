"""A version with the new documents of one more source beside those of another (engine.mixture.derive)."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.base.errors import AuditError, problem
from engine.formats.doc_ids import id_text
from engine.formats.manifest import DOCUMENTS_SCHEMA, Manifest
from engine.formats.mixture import Mixture
from engine.formats.parquet import read_parquet
from engine.mixture import accounts, curriculum
from engine.mixture.config import Config, PhaseConfig
from engine.mixture.derive import Derived, counted
from engine.mixture.phases import Cell
from engine.mixture.weights import spent

SIZES = ("num_tokens", "supervised_tokens")


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
    return counted(manifest, _in_order(mixture, kept, new, difficulty), ledger)


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
