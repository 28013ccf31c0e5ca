"""What there is to look at: read-only SQL over a workspace, and the stages a recipe can name.

SQL: the views of sql/catalog, the named queries, a fence around the user's own text.
"""

from engine.catalog.query import sql, sql_list
from engine.catalog.show import show_sql

__all__ = ["show_sql", "sql", "sql_list"]
