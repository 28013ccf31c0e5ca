"""The syntax tree of a query (json_serialize_sql): one walk over it, for all who look for something in it."""

from collections.abc import Iterator
from typing import Any

NO_PLACE = 1 << 60
"""The parser says a larger `query_location` of nodes that stand nowhere in the text."""


def syntax_nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of a syntax tree, a node before what is inside it."""
    left = [tree]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left += reversed(value.values())
        elif isinstance(value, list):
            left += reversed(value)


def tables_read(tree: Any) -> set[str]:
    """Return the names of the views and tables that a query reads from, in lower case."""
    return {str(node["table_name"]).lower() for node in syntax_nodes(tree) if node.get("type") == "BASE_TABLE"}


def table_functions(tree: Any) -> list[str]:
    """Return the names of the table functions that a query calls, in lower case."""
    calls = (node["function"] for node in syntax_nodes(tree) if node.get("type") == "TABLE_FUNCTION")
    return [str(call.get("function_name", "")).lower() for call in calls]
