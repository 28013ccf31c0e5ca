"""JSON as it stands in files of sources: one object a line, and what is wrong where it is none."""

from pathlib import Path
from typing import Any

from pydantic_core import from_json

from engine.sources._config import FileConfig, row_problem

Row = dict[str, Any]


def parse_line(line: bytes, place: tuple[Path, int], config: FileConfig) -> tuple[Row, str | None]:
    """Return (the object of a line, None), or ({}, kind of problem) where the recipe lets bad rows go.

    place: file and number of the line. Raises InputError for a line that is no JSON object (unless on_bad_row: drop).
    """
    try:
        row = from_json(line)
    except ValueError as error:
        return {}, _not_json(line, error, place, config)
    if not isinstance(row, dict):
        return {}, row_problem(_where(place), f"{kind_of(row)} instead of an object", "not_an_object", config)
    return row, None


def _not_json(line: bytes, error: ValueError, place: tuple[Path, int], config: FileConfig) -> str:
    try:
        start = line.decode().strip()
    except UnicodeDecodeError as wrong:
        return row_problem(_where(place), f"byte {wrong.start + 1} of the line is not UTF-8", "invalid_utf8", config)
    if start in ("[", "{") and place[1] == 1:
        found = "one JSON value over many lines instead of one object a line"
        return row_problem(_where(place), found, "broken_json", config)
    return row_problem(_where(place), f"broken JSON ({str(error).replace(' line 1', '')})", "broken_json", config)


def _where(place: tuple[Path, int]) -> str:
    return f"{place[0]}, line {place[1]}"


def kind_of(value: object) -> str:
    """Return what a JSON value is, with its article."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "null")
