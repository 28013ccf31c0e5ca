"""Runs the audits of sql/audits over what was just built; a row that an audit returns is a fault and stops the run.

Versions that a takedown or an extension made are judged as those of a run are, by what they were made from. A version
that was just written has a mark until the audits hold (engine.formats.mixture.UNAUDITED), so that one whose run was
killed before is found by nobody, and is judged when it is built again.

The rows of an audit that does not hold are kept, so that they can be looked at when the run is over:

audits/failed/<audit>.parquet    all its rows; gone again with the next run whose audits hold
"""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from engine.base.atomic import remove_folder
from engine.base.errors import AuditError, problem
from engine.base.progress import progress
from engine.base.sql_files import SqlFile, read_sql, sql_names
from engine.catalog.query import open_catalog
from engine.catalog.relation import pattern, text_literal
from engine.catalog.values import plain_rows
from engine.formats.mixture import UNAUDITED, Mixture
from engine.formats.parquet import write_parquet
from engine.formats.state import RecipeState
from engine.formats.workspace import Workspace

GROUP = "audits"
SHOWN_ROWS = 3
MOST_KEPT = 100_000
"""Rows kept of an audit that does not hold."""


def audit_versions(workspace: Workspace, state: RecipeState, built: Sequence[Mixture]) -> list[str]:
    """Return the names of the audits, all of which hold of these versions; those that awaited them do so no more.

    Args:
        workspace: Folder of all artifacts.
        state: What the versions were made from. Of its mixtures only those in `built` are judged: others were made from
            other decisions, and were judged then.
        built: One version of each mixture, built or found again.

    Raises AuditError that names each audit that does not hold, with its first rows. Versions that awaited their audits
    are then removed; one that held before stays, as runs may have trained on it.
    """
    judged = state.model_copy(update={"mixtures": {mixture.manifest.name: mixture.reference for mixture in built}})
    folder = failed_folder(workspace)
    names = sql_names(GROUP)
    with progress("audits"), open_catalog(workspace.root, state=judged, is_audit=True) as connection:
        failed = [text for name in names if (text := _judge(connection, read_sql(GROUP, name), folder)) is not None]
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
        for mixture in built:
            (mixture.folder / UNAUDITED).unlink(missing_ok=True)
        return names
    unaudited = [mixture for mixture in built if mixture.is_unaudited]
    for mixture in unaudited:
        remove_folder(mixture.folder)
    removed = ", ".join(mixture.reference for mixture in unaudited)
    told = f"\nremoved again, as it does not hold: {removed}" if removed else ""
    raise AuditError("\n".join(failed) + told)


def failed_folder(workspace: Workspace) -> Path:
    """Return the folder of the rows of audits that did not hold."""
    return workspace.root / "audits" / "failed"


def _judge(connection: duckdb.DuckDBPyConnection, audit: SqlFile, folder: Path) -> str | None:
    """Return what to say of an audit that does not hold, None where it holds; its rows are kept."""
    relation = connection.execute(f"SELECT * FROM ({audit.statement}) LIMIT {MOST_KEPT + 1}")
    columns = [(name, str(dtype)) for name, dtype, *_ in relation.description or ()]
    values = plain_rows(relation.fetchall(), [dtype for _, dtype in columns])
    if not values:
        return None
    rows = pl.DataFrame(values, schema=[name for name, _ in columns], orient="row", infer_schema_length=None)
    path = folder / f"{audit.name}.parquet"
    write_parquet(path, rows.head(MOST_KEPT))
    first = [f"  {_row(row)}" for row in rows.head(SHOWN_ROWS).iter_rows(named=True)]
    more = f"more than {MOST_KEPT:,}" if rows.height > MOST_KEPT else f"{rows.height:,}"
    found = f"{more} {'row' if rows.height == 1 else 'rows'}"
    what = audit.what[0].lower() + audit.what[1:]
    fix = f"look at all of them: {_command(path.resolve())}"
    return "\n".join([problem(f"audit {audit.name}", found, f"none ({what.rstrip('.')})", fix), *first])


def _command(path: Path) -> str:
    """Return the command that shows the rows of a Parquet file, as a shell takes it."""
    query = f"SELECT * FROM read_parquet({text_literal(pattern(path))})"
    return "provender sql " + (shlex.quote(query) if any(sign in query for sign in '"$`\\!') else f'"{query}"')


def _row(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if value is not None)
