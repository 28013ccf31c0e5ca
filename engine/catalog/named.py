"""Which views and columns a query names, so that the catalog opens no file that cannot matter to the answer.

A view over thousands of shards costs seconds to make, and every part that is joined by position is read through even
where no column of it is used. What cannot be told from the syntax tree (a star, a row taken as a value, columns named
anew by their position, DESCRIBE, a natural join, the tables of DuckDB's own catalog) counts as everything.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_WHOLE_ROWS = frozenset({"STAR", "SHOW_REF", "PIVOT", "POSITIONAL_REFERENCE"})
_OF_THE_CATALOG = ("duckdb_", "pragma_", "pg_", "sqlite_")
_NO_PLACE = 1 << 60
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

    def tables_starting(self, prefix: str) -> Iterator[str]:
        """Yield the tables named that begin with `prefix`; none where every name counts."""
        return (name for name in sorted(self.tables or ()) if name.startswith(prefix))

    def also(self, tables: Iterable[str]) -> "Named":
        """Return the same with more tables."""
        return self if self.tables is None else Named(self.tables | {name.lower() for name in tables}, self.columns)


EVERYTHING = Named()


def named_in(tree: Any) -> Named:
    """Return what a query names; `tree` is what json_serialize_sql made of it."""
    nodes = list(syntax_nodes(tree))
    of_order = _stars_of_order_by_all(nodes)
    types = {node["type"] for node in nodes if isinstance(node.get("type"), str) and id(node) not in of_order}
    if "SHOW_REF" in types or any(_reads_the_catalog(node) for node in nodes):
        return EVERYTHING
    tables = {str(node["table_name"]).lower() for node in nodes if node.get("type") == "BASE_TABLE"}
    aliases = {str(node["alias"]).lower() for node in nodes if node.get("alias") and "sample" in node}
    columns = {str(name).lower() for node in nodes for name in (*node.get("column_names", ()), *_using(node))}
    is_whole = (
        not types.isdisjoint(_WHOLE_ROWS)
        or any(node.get("ref_type") == "NATURAL" or _renames_by_position(node) for node in nodes)
        or not _rows_as_values(nodes).isdisjoint(tables | aliases)
    )
    return Named(frozenset(tables), None if is_whole else frozenset(columns))


def _reads_the_catalog(node: dict[str, Any]) -> bool:
    """Return whether a function or table tells which views there are: duckdb_views(), information_schema.columns."""
    if node.get("type") == "TABLE_FUNCTION":
        return str(node["function"].get("function_name", "")).lower().startswith(_OF_THE_CATALOG)
    if node.get("type") != "BASE_TABLE":
        return False
    *schemas, name = (str(part).lower() for part in _path(node))
    return name.startswith(_OF_THE_CATALOG) or not _OWN_SCHEMAS.issuperset(schemas)


def _path(node: dict[str, Any]) -> list[Any]:
    """Return catalog, schema and name of a table, those that are said."""
    parts = [node.get("catalog_name"), node.get("schema_name"), node["table_name"]]
    qualified = node.get("qualified_name")
    return (qualified.get("path") if isinstance(qualified, dict) else None) or [part for part in parts if part]


def _stars_of_order_by_all(nodes: list[dict[str, Any]]) -> set[int]:
    """Return the ids of the stars that stand for the ALL of ORDER BY ALL: of what is selected, without a place."""
    modifiers = [one for node in nodes for one in node.get("modifiers") or () if one.get("type") == "ORDER_MODIFIER"]
    stars = (order["expression"] for one in modifiers for order in one.get("orders", ()))
    return {
        id(star)
        for star in stars
        if star.get("type") == "STAR" and not star.get("expr") and star.get("query_location", 0) >= _NO_PLACE
    }


def _renames_by_position(node: dict[str, Any]) -> bool:
    """Return whether the node is a table with names for its columns: FROM documents AS d(a, b)."""
    return bool(node.get("column_name_alias")) and node.get("type") not in _MAKE_THEIR_COLUMNS


def _rows_as_values(nodes: list[dict[str, Any]]) -> set[str]:
    """Return the last names of all columns: one that is called like a table stands for its whole row."""
    return {str(node["column_names"][-1]).lower() for node in nodes if node.get("type") == "COLUMN_REF"}


def _using(node: dict[str, Any]) -> list[str]:
    found = node.get("using_columns")
    return found if isinstance(found, list) else []


def syntax_nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of a syntax tree (json_serialize_sql), a node before what is inside it."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from syntax_nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from syntax_nodes(value)
