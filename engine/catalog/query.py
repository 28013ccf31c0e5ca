"""`provender sql`: open the views over a workspace, run one query behind the fence, return plain values."""

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from engine.base.atomic import TEMPORARY_PREFIX
from engine.base.errors import InputError, RecipeError, ResourceError, problem
from engine.base.sql_files import read_sql, sql_names
from engine.catalog.audit_views import AUDIT_VIEWS, create_audit_views
from engine.catalog.fence import PLACE, close_gates, open_connection
from engine.catalog.history_views import create_history_views
from engine.catalog.interrupt import interruptible
from engine.catalog.mistakes import explained, first_lines
from engine.catalog.named import EVERYTHING, Named
from engine.catalog.output import FORMATS, STREAMED, chosen_format, plan_lines, write_file, write_stdout
from engine.catalog.parameters import bind, split_values
from engine.catalog.question import QUERIES, Question, asked_for
from engine.catalog.recipe_views import STAGE_VIEW, create_recipe_views, in_place_files
from engine.catalog.relation import STORED, identifier
from engine.catalog.values import executed, plain_rows
from engine.formats.mixture import open_mixture
from engine.formats.state import RecipeState, read_state
from engine.formats.workspace import Workspace

VIEWS = "catalog"
OWN_COLUMNS = "Every column the source itself has, beside doc_id."
STDIN = "-"


def sql(
    query: str | None,
    workspace: Path | str,
    recipe: str | None = None,
    limit: int | None = None,
    list_queries: bool = False,
    values: Sequence[str] = (),
    format: str | None = None,  # noqa: A002 - the word of the command line
    out: Path | str | None = None,
    mixture: str | None = None,
    json: bool = False,
) -> dict[str, Any]:
    """Run one read-only query over the views of a workspace.

    Args:
        query: One SELECT in DuckDB's SQL, or `@name` of a named query; `-` reads queries from stdin, or asks for them.
        workspace: Folder of all artifacts.
        recipe: Name of the recipe whose artifacts the views show; default: the one that finished last.
        limit: Rows to return at most; default: all.
        list_queries: Return the views and named queries instead (`sql_list`).
        values: `name=value` of every parameter `$name`.
        format: table, markdown, csv, json, jsonl or parquet; csv and jsonl without `out` are written to stdout.
        out: File to write, which then is whole or not there; its ending says the format where `format` does not.
        mixture: Reference of a mixture version; the views show the artifacts it was made from.
        json: Whether the caller prints what is returned, so that nothing else may go to stdout.

    Returns:
        columns, types (DuckDB's), rows (lists of JSON values: ids and dates as text, bytes as hex, not-a-number and
        infinities as text), and is_cut: whether `limit` left rows out. Where rows were written instead: num_rows, out.

    Raises:
        InputError: The query, the workspace or a file of it is not what it has to be.
    """
    if list_queries:
        return sql_list(workspace, recipe)
    if query is None or not query.strip():
        raise RecipeError(problem(PLACE, "there is none", "one SELECT, or @name", "look at `provender sql --list`"))
    if limit is not None and limit < 0:
        raise RecipeError(problem("--limit", f"{limit}", "0 rows or more"))
    shape, path = chosen_format(format, out, json)
    if query == STDIN:
        from engine.catalog.prompt import answer_stdin

        return answer_stdin(workspace, recipe, mixture, limit, shape, out)
    state = None if mixture is None else open_mixture(Workspace.open(workspace), mixture).require_state()
    question = asked_for(query, split_values(values))
    with open_catalog(workspace, recipe, state, question.named) as connection:
        try:
            return interruptible(connection, lambda: _answer(connection, question, limit, shape, path))
        except duckdb.OutOfMemoryException as error:
            raise ResourceError(problem(PLACE, first_lines(error), fix="ask for fewer columns or rows")) from error
        except duckdb.Error as error:
            raise InputError(_explained(error, question, workspace, recipe, state)) from error


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
        | {"parameters": [{"name": name, **vars(one)} for name, one in head.parameters.items()]}
        for head in heads
    ]
    return {"views": views, "queries": queries}


@contextmanager
def open_catalog(
    workspace: Path | str,
    recipe: str | None = None,
    state: RecipeState | None = None,
    named: Named = EVERYTHING,
    is_audit: bool = False,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a locked DuckDB with all views over a workspace; views of what does not exist yet are empty.

    `state`: what the views show, where it is not that of a recipe that finished.
    `named`: what will be asked; views it does not name are not made, columns it does not name may be null or missing.
    `is_audit`: damage of versions that are not in `state` is nothing to the views.

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
            interruptible(connection, lambda: _create_views(connection, place, state, named, is_audit))
        except duckdb.Error as error:
            found = f"a file of it cannot be read ({first_lines(error)})"
            raise InputError(problem(place.root, found, fix="run the recipe again")) from error
        close_gates(connection, place.places(), in_place_files(place, state))
        yield connection
    finally:
        connection.close()
        shutil.rmtree(temporary, ignore_errors=True)


def _answer(
    connection: duckdb.DuckDBPyConnection, question: Question, limit: int | None, shape: str | None, path: Path | None
) -> dict[str, Any]:
    bind(connection, question.values)
    rest = "" if limit is None else f" LIMIT {limit + 1 if path is None and shape not in STREAMED else limit}"
    asked = f"{question.explain}SELECT * FROM query(?){rest}"
    if question.explain:
        plan = connection.execute(asked, [question.text]).fetchall()
        return {"columns": ["plan"], "types": ["VARCHAR"], "rows": plan_lines(plan), "is_cut": False}
    if path is not None:
        return write_file(connection, asked, question.text, shape or FORMATS[0], path)
    if shape in STREAMED:
        return write_stdout(connection, asked, question.text, shape)
    result, columns, types = executed(connection, asked, question.text)
    rows = result.fetchall()
    is_cut = limit is not None and len(rows) > limit
    return {
        "columns": columns,
        "types": types,
        "rows": plain_rows(rows[:limit] if is_cut else rows, types),
        "is_cut": is_cut,
    } | ({"format": shape} if shape is not None else {})


def _explained(
    error: duckdb.Error, question: Question, workspace: Path | str, recipe: str | None, state: RecipeState | None
) -> str:
    """Return what is wrong with a query, with the names of the whole catalog where that can be opened."""
    try:
        with open_catalog(workspace, recipe, state) as whole:
            columns = _columns(whole)
    except InputError:
        # A file the query does not name is damaged: the mistake is told in DuckDB's words.
        return problem(PLACE, first_lines(error))
    return explained(error, columns, question.before + question.text, question.tree, len(question.before.encode()))


def _create_views(
    connection: duckdb.DuckDBPyConnection, place: Workspace, state: RecipeState | None, named: Named, is_audit: bool
) -> None:
    views = [read_sql(VIEWS, name) for name in sql_names(VIEWS) if named.has_table(name)]
    # A view may read the stored view of the same name, or of others.
    stored = {table.removeprefix(f"{STORED}.") for view in views for table in view.reads}
    needed = named.also(stored)
    create_recipe_views(connection, place, state, _stage_columns(), needed)
    create_history_views(connection, place, state, needed, is_audit)
    if any(named.has_table(name) for name in AUDIT_VIEWS):
        create_audit_views(connection, place, state, is_audit)
    for view in views:
        connection.execute(f"CREATE VIEW {identifier(view.name)} AS {view.statement}")


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
