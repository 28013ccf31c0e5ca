"""Values of `$name` in a query: typed by the head of a named query, else by how they look; bound, never pasted.

The user's text runs inside `query(?)`, which takes no bound values. So a value becomes a variable of the connection,
and `$name` in the text becomes getvariable('name'): what is in the text is the name, an identifier.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import duckdb

from engine.base.errors import RecipeError, problem, unknown
from engine.base.sql_files import SqlFile
from engine.catalog.relation import identifier
from engine.catalog.syntax import syntax_nodes

TYPES = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "id": "UUID"}
"""Type in the head of a named query -> DuckDB's."""
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?[0-9]+\.[0-9]+(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def split_values(values: Sequence[str]) -> dict[str, str]:
    """Return name -> value of `name=value` words; raises RecipeError for one of another form, or given twice."""
    found: dict[str, str] = {}
    for value in values:
        name, sign, rest = value.partition("=")
        if not sign or _NAME.fullmatch(name) is None:
            raise RecipeError(problem("parameter", f"'{value}'", "name=value", "put the query itself in quotes"))
        if name in found:
            raise RecipeError(problem(f"parameter {name}", "given twice", "one value"))
        found[name] = rest
    return found


def typed_values(head: SqlFile, given: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Return parameter -> value and DuckDB's type, defaults filled in; raises RecipeError that names what is wrong."""
    place = f"@{head.name}"
    for name in given:
        if name not in head.params:
            raise RecipeError(unknown(place, "parameter", name, head.params))
    values: dict[str, tuple[Any, str]] = {}
    for name, parameter in head.parameters.items():
        if name not in given and parameter.is_required:
            fix = f"provender sql {place} {name}=VALUE"
            raise RecipeError(problem(place, f"no value for {name} ({parameter.meaning})", parameter.type, fix))
        text = given.get(name, parameter.default)
        values[name] = (_converted(f"{place}, {name}", text, parameter.type), TYPES[parameter.type])
    return values


def guessed_values(tree: Any, given: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Return parameter -> value and type for a query of the user's own: a whole number, a number, or text."""
    used = {str(node["identifier"]) for node in _parameters(tree)}
    if given and not used:
        raise RecipeError(problem("query", "it has no $name", f"${next(iter(given))} in the text"))
    for name in given:
        if name not in used:
            raise RecipeError(unknown("query", "parameter", name, used))
    for name in sorted(used - set(given)):
        if _NAME.fullmatch(name) is None:
            raise RecipeError(problem("query", f"parameter '${name}'", "a name: $source, given as source=web"))
        raise RecipeError(problem("query", f"no value for ${name}", fix=f"add {name}=VALUE behind the query"))
    return {name: _guessed(value) for name, value in given.items()}


def with_variables(query: str, tree: Any) -> str:
    """Return the query with getvariable('name') in the place of each $name."""
    text = query.encode()
    for node in sorted(_parameters(tree), key=lambda one: -int(one["query_location"])):
        start, name = int(node["query_location"]), str(node["identifier"])
        if _NAME.fullmatch(name) is None or text[start : start + 1 + len(name)] != f"${name}".encode():
            raise RecipeError(problem("query", f"parameter '${name}'", "a name: $source, given as source=web"))
        text = text[:start] + f"getvariable('{name}')".encode() + text[start + 1 + len(name) :]
    return text.decode()


def bind(connection: duckdb.DuckDBPyConnection, values: Mapping[str, tuple[Any, str]]) -> None:
    """Make the values variables of the connection."""
    for name, (value, dtype) in values.items():
        connection.execute(f"SET VARIABLE {identifier(name)} = ?::{dtype}", [value])


def _parameters(tree: Any) -> Iterator[dict[str, Any]]:
    return (node for node in syntax_nodes(tree) if node.get("class") == "PARAMETER")


def _converted(place: str, text: str | None, kind: str) -> Any:
    if text is None:
        return None
    try:
        if kind == "id":
            return str(UUID(text))
        return int(text) if kind == "integer" else float(text) if kind == "number" else text
    except ValueError as error:
        needed = {"integer": "a whole number", "number": "a number", "id": "a document's id"}[kind]
        raise RecipeError(problem(place, f"'{text}'", needed)) from error


def _guessed(text: str) -> tuple[Any, str]:
    # A whole number that fits no 64 bits is an id or a digest, and stays what it is.
    if _WHOLE_NUMBER.fullmatch(text):
        return (int(text), "BIGINT") if -(1 << 63) <= int(text) < 1 << 63 else (text, "VARCHAR")
    return (float(text), "DOUBLE") if _DECIMAL.fullmatch(text) else (text, "VARCHAR")
