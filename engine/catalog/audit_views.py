"""The stored tables that audits hold mixture versions against: what manifests and schedules promise, row by row."""

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import polars as pl

from engine.catalog.relation import create_rows, create_view, identifier, read_files, text_literal, typed, union
from engine.catalog.version_views import VERSION, version_columns
from engine.formats.manifest import Manifest
from engine.formats.mixture import Mixture, readable_versions
from engine.formats.receipt import read_receipt
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace

TAKEDOWN = "takedown"
_PROMISES: dict[str, dict[str, Any]] = {
    "version_searches": {"kind": pl.String, "name": pl.String, "searched_documents": pl.Int64},
    "schedule_bounds": {
        "phase": pl.Int64,
        "source": pl.String,
        "is_replay": pl.Boolean,
        "bound": pl.Int64,
        "largest_deviation": pl.Int64,
    },
}
"""View -> columns behind mixture, version and is_current."""
AUDIT_VIEWS = frozenset({*_PROMISES, "taken_down", "store_documents"})
_STORE_DOCUMENTS = {"source": pl.String, "supervised_tokens": pl.Int32}


def create_audit_views(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, state: RecipeState | None, is_audit: bool = False
) -> None:
    """Create the views of AUDIT_VIEWS; `store_documents` is of the versions the recipe ended with."""
    current = set(state.mixtures.values()) if state else set()
    versions, damage = readable_versions(workspace, current, is_audit)
    for table, schema in _PROMISES.items():
        rows = [
            version_columns(mixture, current) | row for mixture in versions for row in _rows(workspace, table, mixture)
        ]
        create_rows(connection, table, pl.DataFrame(rows, schema=VERSION | schema, orient="row"), damage)
    taken_down = _taken_down([mixture.manifest for mixture in versions])
    create_rows(connection, "taken_down", taken_down, damage, ("doc_id",))
    selects = [
        select
        for mixture in versions
        if mixture.reference in current and (select := _store_documents(workspace, mixture)) is not None
    ]
    columns = {"mixture": "VARCHAR", "version": "BIGINT"} | typed(_STORE_DOCUMENTS)
    create_view(connection, "store_documents", union(selects, columns))


def _rows(workspace: Workspace, table: str, mixture: Mixture) -> Iterator[dict[str, Any]]:
    """Yield the rows of a version for one table of _PROMISES."""
    if table == "schedule_bounds":
        receipt = read_receipt(workspace.schedule(mixture.manifest.schedule))
        for source in receipt.details.get("sources", ()) if receipt is not None else ():
            yield {name: source.get(name) for name in _PROMISES[table]}
        return
    for held in mixture.manifest.held_out:
        yield {"kind": "held-out set", "name": held.set, "searched_documents": held.searched_documents}
    for found in mixture.manifest.benchmarks:
        yield {"kind": "benchmark", "name": found.name, "searched_documents": found.searched_documents}


def _taken_down(manifests: Sequence[Manifest]) -> pl.DataFrame:
    """Return mixture, version (the one that was made without it) and doc_id of every document that was taken down."""
    rows = [
        (manifest.name, manifest.version, doc_id)
        for manifest in manifests
        if manifest.derived_from is not None and manifest.derived_from.how == TAKEDOWN
        for doc_id in manifest.derived_from.removed
    ]
    schema = {"mixture": pl.String, "version": pl.Int64, "doc_id": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _store_documents(workspace: Workspace, mixture: Mixture) -> str | None:
    path = workspace.tokens(mixture.manifest.token_store) / "documents.parquet"
    if not path.is_file():
        return None
    columns = ", ".join(identifier(name) for name in _STORE_DOCUMENTS)
    named = f"{text_literal(mixture.manifest.name)} AS mixture, {mixture.manifest.version}::BIGINT AS version"
    return f"SELECT {named}, {columns} FROM {read_files([path])}"
