"""Read-only SQL over a workspace: the views of sql/catalog, the named queries, a fence around the user's own text."""

from engine.catalog.query import sql, sql_list
from engine.catalog.show import show_sql

__all__ = ["show_sql", "sql", "sql_list"]
