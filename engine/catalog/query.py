"""`provender sql`: open the views over a workspace, run one query behind the fence, return plain values."""

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from engine.base.atomic import TEMPORARY_PREFIX
from engine.base.errors import InputError, RecipeError, ResourceError, closest, problem, unknown
from engine.base.sql_files import read_sql, sql_names
from engine.catalog.audit_views import create_audit_views
from engine.catalog.fence import PLACE, close_gates, open_connection, require_reading_only
from engine.catalog.history_views import create_history_views
from engine.catalog.recipe_views import STAGE_VIEW, create_recipe_views, in_place_files
from engine.catalog.relation import STORED, identifier
from engine.catalog.values import plain_rows
from engine.formats.state import RecipeState, read_state
from engine.formats.workspace import Workspace

VIEWS = "catalog"
QUERIES = ("statistics", "audits")
OWN_COLUMNS = "Every column the source itself has, beside doc_id."


def sql(
    query: str | None,
    workspace: Path | str,
    recipe: str | None = None,
    limit: int | None = None,
    list_queries: bool = False,
) -> dict[str, Any]:
    """Run one read-only query over the views of a workspace.

    Args:
        query: One SELECT in DuckDB's SQL, or `@name` of a named query.
        workspace: Folder of all artifacts.
        recipe: Name of the recipe whose artifacts the views show; default: the one that finished last.
        limit: Rows to return at most; default: all.
        list_queries: Return the views and named queries instead (`sql_list`).

    Returns:
        columns, types (DuckDB's), rows (lists of JSON values: ids and dates as text, bytes as hex, not-a-number and
        infinities as text), and is_cut: whether `limit` left rows out.

    Raises:
        InputError: The query, the workspace or a file of it is not what it has to be.
    """
    if list_queries:
        return sql_list(workspace, recipe)
    if query is None or not query.strip():
        raise RecipeError(problem(PLACE, "there is none", "one SELECT, or @name", "look at `provender sql --list`"))
    if limit is not None and limit < 0:
        raise RecipeError(problem("--limit", f"{limit}", "0 rows or more"))
    text = _statement(query.strip())
    with open_catalog(workspace, recipe) as connection:
        require_reading_only(connection, text)
        cut = "" if limit is None else f" LIMIT {limit + 1}"
        try:
            relation = connection.execute(f"SELECT * FROM query(?){cut}", [text])
            columns = [(name, str(dtype)) for name, dtype, *_ in relation.description or ()]
            rows = relation.fetchall()
        except duckdb.OutOfMemoryException as error:
            raise ResourceError(problem(PLACE, _first_lines(error), fix="ask for fewer columns or rows")) from error
        except duckdb.Error as error:
            raise InputError(_explained(connection, error)) from error
    is_cut = limit is not None and len(rows) > limit
    return {
        "columns": [name for name, _ in columns],
        "types": [dtype for _, dtype in columns],
        "rows": plain_rows(rows[:limit] if is_cut else rows, [dtype for _, dtype in columns]),
        "is_cut": is_cut,
    }


def sql_list(workspace: Path | str | None = None, recipe: str | None = None) -> dict[str, Any]:
    """Return the views with their columns and the named queries; with a workspace, also what its recipe brings."""
    heads = [read_sql(VIEWS, name) for name in sql_names(VIEWS)]
    views = [{"name": head.name, "what": head.what, "columns": list(head.yields)} for head in heads]
    if workspace is not None and Path(workspace).is_dir():
        with open_catalog(workspace, recipe) as connection:
            columns = _columns(connection)
        what = {head.name: head.what for head in heads}
        views = [
            {"name": name, "what": what.get(name, OWN_COLUMNS), "columns": columns[name]} for name in sorted(columns)
        ]
    heads = [read_sql(group, name) for group in QUERIES for name in sql_names(group)]
    queries = [
        {"name": f"@{head.name}", "group": head.group, "what": head.what, "columns": list(head.yields)}
        for head in heads
    ]
    return {"views": views, "queries": queries}


@contextmanager
def open_catalog(
    workspace: Path | str, recipe: str | None = None, state: RecipeState | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a locked DuckDB with all views over a workspace; views of what does not exist yet are empty.

    `state`: what the views show, where it is not that of a recipe that finished.

    Raises InputError where the workspace or recipe does not exist, or files the recipe ended with are gone.
    """
    opened = Workspace.open(workspace)
    place = Workspace(opened.root.resolve())
    state = state or read_state(place, recipe)
    temporary = place.root / f"{TEMPORARY_PREFIX}sql-{uuid.uuid4().hex[:12]}"
    connection = open_connection(temporary)
    try:
        connection.execute(f"CREATE SCHEMA {STORED}")
        try:
            create_recipe_views(connection, place, state, _stage_columns())
            create_history_views(connection, place, state)
            create_audit_views(connection, place, state)
            for name in sql_names(VIEWS):
                connection.execute(f"CREATE VIEW {identifier(name)} AS {read_sql(VIEWS, name).statement}")
        except duckdb.Error as error:
            found = f"a file of it cannot be read ({_first_lines(error)})"
            raise InputError(problem(place.root, found, fix="run the recipe again")) from error
        close_gates(connection, place.root, in_place_files(place, state))
        yield connection
    finally:
        connection.close()
        shutil.rmtree(temporary, ignore_errors=True)


def _statement(query: str) -> str:
    if not query.startswith("@"):
        return query
    known = {name: group for group in QUERIES for name in sql_names(group)}
    name = query[1:]
    if name not in known:
        raise InputError(unknown(PLACE, "named query", name, known))
    return read_sql(known[name], name).statement


def _stage_columns() -> dict[str, list[str]]:
    """Stage -> its columns that named queries read, in one view over all its instances: what their heads say."""
    found: dict[str, list[str]] = {}
    start = f"{STORED}.{STAGE_VIEW}"
    for reads in (read_sql(group, name).reads for group in QUERIES for name in sql_names(group)):
        for table, columns in reads.items():
            if table.startswith(start):
                stage = table.removeprefix(start)
                own = [column for column in columns if column.startswith(f"{stage}__")]
                found[stage] = list(dict.fromkeys([*found.get(stage, ()), *own]))
    return found


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """View -> its columns, those a user can query."""
    found = connection.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
        "WHERE schema_name = 'main' AND NOT internal GROUP BY ALL"
    ).fetchall()
    return dict(found)


def _explained(connection: duckdb.DuckDBPyConnection, error: duckdb.Error) -> str:
    message = _first_lines(error)
    columns = _columns(connection)
    table = re.search(r"Table with name (\S+) does not exist", message)
    if table is not None and table[1].startswith(STAGE_VIEW):
        stage = table[1].removeprefix(STAGE_VIEW)
        needed = "a recipe that has run it, under its own name or another"
        return problem(PLACE, f"the recipe has no stage {stage}", needed, f"add {{stage: {stage}}} and run it")
    if table is not None:
        return unknown(PLACE, "view", table[1].strip('"'), columns)
    column = re.search(r'Referenced column "([^"]+)"|does not have a column named "([^"]+)"', message)
    if column is not None:
        return _unknown_column(column[1] or column[2], columns)
    return problem(PLACE, message)


def _unknown_column(name: str, columns: dict[str, list[str]]) -> str:
    known = {column for names in columns.values() for column in names}
    guess = name if name in known else closest(name, known)
    if guess is None:
        return problem(PLACE, f"no column '{name}' in any view", fix="`provender sql --list` shows them all")
    places = " or ".join(view for view, names in columns.items() if guess in names)
    if guess == name:
        return problem(PLACE, f"no column '{name}' in the views it reads", fix=f"read it from {places}")
    return problem(PLACE, f"no column '{name}'", fix=f"use '{guess}' of {places}")


def _first_lines(error: duckdb.Error) -> str:
    # What follows points into our own wrapping of the query and would only mislead.
    message = str(error).split("\n\nLINE ")[0]
    return " ".join(message.split())
