"""What a query asks for, before any file is opened: its text, its syntax tree, what it names, the values it takes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from engine.base.errors import InputError, unknown
from engine.base.sql_files import SqlFile, read_sql, sql_names
from engine.catalog.fence import PLACE, reads_files, require_plain_paths, require_reading_only
from engine.catalog.named import Named, named_in
from engine.catalog.parameters import guessed_values, typed_values, with_variables

QUERIES = ("statistics", "audits")
"""Folders of sql/ with named queries."""
_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A query as it will run: its text with variables for parameters, what it names, the values."""

    text: str
    tree: dict[str, Any]
    named: Named
    values: Mapping[str, tuple[Any, str]]
    explain: str
    """EXPLAIN or EXPLAIN ANALYZE in front of our own SELECT, or nothing."""
    before: str = ""
    """What stood in front of `text` in the query: its places are counted with that."""


def asked_for(query: str, given: Mapping[str, str]) -> Question:
    """Return what a query asks for, `@name` or the user's own; `given`: the values of its parameters, as text.

    Raises InputError and RecipeError where the text or a value is not what it has to be.
    """
    head = _named_query(query.strip())
    text = query.strip() if head is None else head.statement
    start = None if head is not None else _EXPLAIN.match(text)
    explain = "" if start is None else "EXPLAIN ANALYZE " if start[1] else "EXPLAIN "
    before, text = ("", text) if start is None else (text[: start.end()], text[start.end() :])
    parser = duckdb.connect(":memory:")
    try:
        tree = require_reading_only(parser, text, before)
        values = guessed_values(tree, given) if head is None else typed_values(head, given)
        if reads_files(tree):
            require_plain_paths(given.values())
        return Question(with_variables(text, tree), tree, named_in(tree), values, explain, before)
    finally:
        parser.close()


def _named_query(query: str) -> SqlFile | None:
    if not query.startswith("@"):
        return None
    known = {name: group for group in QUERIES for name in sql_names(group)}
    name = query[1:].rstrip("; ")
    if name not in known:
        raise InputError(unknown(PLACE, "named query", name, known))
    return read_sql(known[name], name)
