"""What is wrong with a query, in our words: unknown names, what was probably meant, the place in the text."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import duckdb

from engine.base.errors import closest, problem, unknown
from engine.catalog.fence import PLACE, place_of
from engine.catalog.recipe_views import STAGE_VIEW
from engine.catalog.syntax import NO_PLACE, syntax_nodes, tables_read

_MOST_VIEWS = 4


def explained(error: duckdb.Error, columns: Mapping[str, Sequence[str]], query: str, tree: Any, start: int = 0) -> str:
    """Return the message for an error of DuckDB.

    columns: view -> its columns. tree: the syntax tree of the query from the byte `start` on, behind EXPLAIN.
    """
    message = first_lines(error)
    table = re.search(r"Table with name (\S+) does not exist", message)
    if table is not None and table[1].startswith(STAGE_VIEW):
        stage = table[1].removeprefix(STAGE_VIEW)
        needed = "a recipe that has run it, under its own name or another"
        return problem(PLACE, f"the recipe has no stage {stage}", needed, f"add {{stage: {stage}}} and run it")
    if table is not None:
        return unknown(_place(query, tree, start, table[1].strip('"')), "view", table[1].strip('"'), columns)
    column = re.search(r'Referenced column "([^"]+)"|does not have a column named "([^"]+)"', message)
    if column is not None:
        name = column[1] or column[2]
        return _unknown_column(_place(query, tree, start, name), name, columns, tables_read(tree))
    function = re.search(r"Function with name \"?(\w+)\"? does not exist! (?:Did you mean \"([^\"]+)\")?", message)
    if function is not None:
        fix = f"did you mean '{function[2]}'?" if function[2] else None
        place = _place(query, tree, start, function[1])
        return problem(place, f"no function '{function[1]}'", fix=fix).replace("?.", "?")
    return problem(PLACE, message)


def first_lines(error: duckdb.Error) -> str:
    """Return what DuckDB says, in one line."""
    # What follows points into our own wrapping of the query and would only mislead.
    message = str(error).split("\n\nLINE ")[0]
    return " ".join(message.split())


def _unknown_column(place: str, name: str, columns: Mapping[str, Sequence[str]], read: Collection[str]) -> str:
    """Return the message for a column that the views a query reads do not have; `read`: their names."""
    known = {column for names in columns.values() for column in names}
    # What is like it in a view that is read was meant, rather than the same name in another.
    here = closest(name, sorted({column for view in read for column in columns.get(view, ())}))
    guess = here or (name if name in known else closest(name, known))
    if guess is None:
        return problem(place, f"no column '{name}' in any view", fix="`provender sql --list` shows them all")
    holders = [view for view, names in columns.items() if guess in names]
    places = " or ".join([view for view in holders if view in read] or _some(holders))
    if guess == name:
        return problem(place, f"no column '{name}' in the views it reads", fix=f"read it from {places}")
    return problem(place, f"no column '{name}'", fix=f"use '{guess}' of {places}")


def _some(views: list[str]) -> list[str]:
    return views if len(views) <= _MOST_VIEWS else [*views[:_MOST_VIEWS], f"{len(views) - _MOST_VIEWS} others"]


def _place(query: str, tree: Any, start: int, name: str) -> str:
    offset = _offset(tree, name.lower())
    return PLACE if offset is None else f"{PLACE}, {place_of(query, start + offset)}"


def _offset(tree: Any, name: str) -> int | None:
    """Return the byte of the text where a view, column or function of this name stands first."""
    found = []
    for node in syntax_nodes(tree):
        named = [node.get("table_name"), node.get("function_name"), *node.get("column_names", ())[-1:]]
        if name in (str(one).lower() for one in named) and 0 <= node.get("query_location", -1) < NO_PLACE:
            found.append(int(node["query_location"]))
    return min(found, default=None)
