"""The fence around the user's SQL: it can read the workspace and the sources read in place, and change nothing.

Four layers, because each alone has a hole in DuckDB 2.0:
1. external access is off but for the workspace and the files of in-place sources, and the configuration is locked.
   Alone: a COPY inside the workspace overwrites what it likes;
2. the text runs inside `SELECT * FROM query(?)`, which takes a single SELECT and refuses a COPY, INSERT, UPDATE or
   DELETE in a CTE (a check for "SELECT only" does not: a COPY in a CTE is a SELECT to the parser). Alone: the table
   function json_execute_serialized_sql runs such a statement from its serialised form;
3. only table functions that read are allowed, found in the syntax tree of the same parser;
4. paths are written out and do not go up. DuckDB resolves `link/../file` by its text, the system follows links first;
   so behind a link that leads out, such a path opens what stands beside the link's target.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from engine.base.errors import InputError, problem
from engine.catalog.relation import pattern
from engine.catalog.syntax import syntax_nodes, table_functions

PLACE = "query"
# Not `glob`, which lists folders outside: it looks behind links, and checks none of the files that it finds.
READING_FUNCTIONS = frozenset(
    {
        "duckdb_columns",
        "duckdb_functions",
        "duckdb_keywords",
        "duckdb_schemas",
        "duckdb_settings",
        "duckdb_tables",
        "duckdb_types",
        "duckdb_views",
        "generate_series",
        "json_each",
        "json_tree",
        "parquet_bloom_probe",
        "parquet_file_metadata",
        "parquet_full_metadata",
        "parquet_kv_metadata",
        "parquet_metadata",
        "parquet_scan",
        "parquet_schema",
        "pragma_table_info",
        "pragma_version",
        "range",
        "read_blob",
        "read_csv",
        "read_csv_auto",
        "read_json",
        "read_json_auto",
        "read_json_objects",
        "read_json_objects_auto",
        "read_ndjson",
        "read_ndjson_auto",
        "read_ndjson_objects",
        "read_parquet",
        "read_text",
        "repeat",
        "repeat_row",
        "sniff_csv",
        "unnest",
    }
)

_OF_FILES = ("read_", "parquet_", "sniff_")
_OF_CONSTANTS = frozenset({"constant", "parameter", "column_ref", "comparison", "list_value", "struct_pack"})
"""What the arguments of a function of files consist of."""


def open_connection(temporary: Path) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB that spills to `temporary` and neither loads extensions nor sees Python variables."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(temporary),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
    }
    return duckdb.connect(":memory:", config=config)


def close_gates(connection: duckdb.DuckDBPyConnection, folders: Iterable[Path], files: Iterable[Path]) -> None:
    """Allow these folders and these files outside of them, nothing else, and lock the configuration for good."""
    directories, paths = _both_forms(folders), _both_forms(files)
    connection.execute("SET allowed_directories = ?", [directories])
    connection.execute("SET allowed_paths = ?", [paths])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def require_reading_only(connection: duckdb.DuckDBPyConnection, query: str, before: str = "") -> dict[str, Any]:
    """Return the syntax tree of a query (json_serialize_sql); places are counted with the text in front of it.

    Raises InputError where the text is not one SELECT, or calls a table function that is not known to only read.
    """
    found = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    try:
        tree = json.loads(found[0]) if found is not None else {}
    except RecursionError as error:
        raise InputError(problem(PLACE, "nested too deeply to be checked", fix="write it with fewer levels")) from error
    if tree.get("error", True):
        message = str(tree.get("error_message", "cannot be parsed"))
        if str(tree.get("position", "")).isdigit():
            message += f" ({place_of(before + query, len(before.encode()) + int(tree['position']))})"
        wrong = "it is not a SELECT that could be checked" if message.startswith("Only SELECT") else message
        needed = "a single SELECT (also WITH, FROM, VALUES, DESCRIBE, SUMMARIZE, SHOW TABLES)"
        # Without its values the parser makes two statements of a PIVOT.
        is_pivot = wrong != message and re.search(r"\bpivot\b", query, re.IGNORECASE)
        raise InputError(problem(PLACE, wrong, needed, "name PIVOT's values: ON column IN (...)" if is_pivot else None))
    if len(tree["statements"]) != 1:
        raise InputError(problem(PLACE, f"{len(tree['statements'])} statements", "a single SELECT"))
    for name in table_functions(tree):
        if name not in READING_FUNCTIONS:
            needed = "a function that only reads, such as read_parquet, unnest or range"
            raise InputError(problem(PLACE, f"no table function '{name}' here", needed))
    require_plain_paths(path for node in syntax_nodes(tree) for path in _paths(node))
    return dict(tree)


def reads_files(tree: Any) -> bool:
    """Return whether a query calls a function that takes a path."""
    return any(name.startswith(_OF_FILES) for name in table_functions(tree))


def require_plain_paths(paths: Iterable[str]) -> None:
    """Raise InputError for a path that goes up."""
    for path in paths:
        if ".." in re.split(r"[/\\]", path):
            raise InputError(problem(PLACE, f"the path '{path}' goes up", "one without '..' in it"))


def _paths(node: dict[str, Any]) -> Iterator[str]:
    """Yield what a node of a syntax tree names as a file: the name of a table, every text that a function takes."""
    if node.get("type") == "BASE_TABLE":
        yield ".".join(node["qualified_name"]["path"])
    if node.get("type") != "TABLE_FUNCTION" or not str(node["function"]["function_name"]).lower().startswith(_OF_FILES):
        return
    for inner in syntax_nodes(node["function"]["arguments"]):
        name = str(inner.get("function_name", inner.get("class", "CONSTANT"))).lower()
        if name not in _OF_CONSTANTS:
            raise InputError(problem(PLACE, f"a path that is computed ({name})", "one that is written out, or $name"))
        # To a table function a name is text: "a"."b" is a.b.
        yield ".".join(inner.get("column_names", ()))
        yield from (value for value in inner.values() if isinstance(value, str))


def place_of(query: str, offset: int) -> str:
    """Return where in the text a byte stands, as people count: line 2, column 7."""
    before = query.encode()[:offset].decode(errors="ignore")
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def _both_forms(paths: Iterable[Path]) -> list[str]:
    # DuckDB compares the text of a path: once as the pattern it was asked for, once as the file it then opens.
    return sorted({form for path in paths for form in (str(path.resolve()), pattern(path))})
