"""Which views and columns a query names, so that the catalog opens no file that cannot matter to the answer.

A view over thousands of shards costs seconds to make, and every part that is joined by position is read through even
where no column of it is used. What cannot be told from the syntax tree (a star, a row taken as a value, columns named
anew by their position, DESCRIBE, a natural join, the tables of DuckDB's own catalog) counts as everything. A column
counts as named where any word of the tree is spelt like it, whatever the word stands for: text.upper() is a function in
the schema `text` to the parser, and one word too many only opens a file too many.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from engine.catalog.syntax import NO_PLACE, syntax_nodes, table_functions, tables_read

_WHOLE_ROWS = frozenset({"STAR", "SHOW_REF", "PIVOT", "POSITIONAL_REFERENCE"})
_OF_THE_CATALOG = ("duckdb_", "pragma_", "pg_", "sqlite_")
_OWN_SCHEMAS = frozenset({"memory", "main", "stored"})
_MAKE_THEIR_COLUMNS = frozenset({"TABLE_FUNCTION", "EXPRESSION_LIST"})


@dataclass(frozen=True)
class Named:
    """Names in lower case; None stands for every name there is."""

    tables: frozenset[str] | None = None
    columns: frozenset[str] | None = None

    def has_table(self, name: str) -> bool:
        """Return whether the query may read this view."""
        return self.tables is None or name.lower() in self.tables

    def has_column(self, *names: str) -> bool:
        """Return whether the query may use one of these columns."""
        return self.columns is None or any(name.lower() in self.columns for name in names)

    def also(self, tables: Iterable[str]) -> "Named":
        """Return the same with more tables."""
        return self if self.tables is None else Named(self.tables | {name.lower() for name in tables}, self.columns)


EVERYTHING = Named()


def named_in(tree: Any) -> Named:
    """Return what a query names; `tree` is what json_serialize_sql made of it."""
    nodes = list(syntax_nodes(tree))
    of_order = _stars_of_order_by_all(nodes)
    types = {node["type"] for node in nodes if isinstance(node.get("type"), str) and id(node) not in of_order}
    is_about_views = (
        "SHOW_REF" in types
        or any(name.startswith(_OF_THE_CATALOG) for name in table_functions(tree))
        or any(_is_of_the_catalog(node) for node in nodes if node.get("type") == "BASE_TABLE")
    )
    if is_about_views:
        return EVERYTHING
    tables = tables_read(tree)
    aliases = {str(node["alias"]).lower() for node in nodes if node.get("alias") and "sample" in node}
    is_whole = (
        not types.isdisjoint(_WHOLE_ROWS)
        or any(node.get("ref_type") == "NATURAL" or _renames_by_position(node) for node in nodes)
        or not _rows_as_values(nodes).isdisjoint(tables | aliases)
    )
    return Named(frozenset(tables), None if is_whole else frozenset(_words(nodes)))


def _is_of_the_catalog(table: dict[str, Any]) -> bool:
    """Return whether a table tells which views there are, as information_schema.columns does."""
    *schemas, name = (part.lower() for part in _path(table))
    return name.startswith(_OF_THE_CATALOG) or not _OWN_SCHEMAS.issuperset(schemas)


def _path(node: dict[str, Any]) -> list[str]:
    """Return what is said of a table or function, its name last: catalog and schema, or what looks like them."""
    return [str(part) for part in node["qualified_name"]["path"]]


def _stars_of_order_by_all(nodes: list[dict[str, Any]]) -> set[int]:
    """Return the ids of the stars that stand for the ALL of ORDER BY ALL: of what is selected, without a place."""
    modifiers = [one for node in nodes for one in node.get("modifiers") or () if one.get("type") == "ORDER_MODIFIER"]
    stars = (order["expression"] for one in modifiers for order in one.get("orders", ()))
    return {
        id(star)
        for star in stars
        if star.get("type") == "STAR" and not star.get("expr") and star.get("query_location", 0) >= NO_PLACE
    }


def _renames_by_position(node: dict[str, Any]) -> bool:
    """Return whether the node is a table with names for its columns: FROM documents AS d(a, b)."""
    return bool(node.get("column_name_alias")) and node.get("type") not in _MAKE_THEIR_COLUMNS


def _rows_as_values(nodes: list[dict[str, Any]]) -> set[str]:
    """Return the last names of all columns: one that is called like a table stands for its whole row.

    What stands in front of a function can be one as well: documents.to_json().
    """
    columns = [node["column_names"][-1] for node in nodes if node.get("type") == "COLUMN_REF"]
    in_front = [_path(node)[:-1][-1:] for node in nodes if node.get("function_name")]
    return {str(name).lower() for name in (*columns, *chain.from_iterable(in_front))}


def _words(nodes: list[dict[str, Any]]) -> set[str]:
    """Return every text in a syntax tree, in lower case."""
    values = (value if isinstance(value, list) else [value] for node in nodes for value in node.values())
    return {one.lower() for one in chain.from_iterable(values) if isinstance(one, str)}
