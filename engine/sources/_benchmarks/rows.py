"""The rows of a benchmark file, whatever its format: each a mapping of field to value, in file order."""

import csv
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import from_json

from engine.base.errors import InputError, problem
from engine.sources import csv as csv_reader
from engine.sources import jsonl, parquet
from engine.sources._benchmarks.prompts import is_prompts, prompt_rows
from engine.sources._files import read_chunks, read_lines

SUFFIXES = (*jsonl.SUFFIXES, *csv_reader.SUFFIXES, *parquet.SUFFIXES)
MMLU_COLUMNS = ["question", "A", "B", "C", "D", "answer"]
Row = dict[str, Any]


class NoItemsError(InputError):
    """A file that can be read and holds no items; in a folder such files are passed over."""


def suffix_of(path: Path) -> str | None:
    """Return the suffix of a file we can read, or None."""
    return max((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), key=len, default=None)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file; a list of nothing for one without any.

    Raises InputError for a damaged file, and NoItemsError for JSON that is no list of objects.
    """
    suffix = suffix_of(path)
    if suffix is None:
        found = f"a file of an unknown kind ('{path.suffix or 'no suffix'}')"
        raise InputError(problem(path, found, f"one of {', '.join(SUFFIXES)}", "rename or convert it"))
    return _reader(suffix)(path)


def _reader(suffix: str) -> Callable[[Path], list[Row]]:
    if suffix in parquet.SUFFIXES:
        return _parquet_rows
    if suffix in csv_reader.SUFFIXES:
        return _csv_rows
    return _json_rows if suffix.startswith(".json") and not suffix.startswith(".jsonl") else _line_rows


def _line_rows(path: Path) -> list[Row]:
    lines = ((number, line) for number, line in enumerate(read_lines(path), 1) if line.strip())
    return [_object(_parsed(line, f"{path}, line {number}"), f"{path}, line {number}") for number, line in lines]


def _json_rows(path: Path) -> list[Row]:
    data = b"".join(read_chunks(path)).removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        return []
    try:
        value = from_json(data)
    except ValueError as error:
        if _is_json(data.lstrip().partition(b"\n")[0]):  # one object a line, whatever the suffix says
            return _line_rows(path)
        raise _broken(path, error) from error
    return _rows_in(value, path)


def _rows_in(value: Any, path: Path) -> list[Row]:
    """Return the rows of one JSON value: a list, a list under some key, objects by their id, or a single object."""
    if isinstance(value, list):
        return [_object(row, f"{path}, row {number}") for number, row in enumerate(value)]
    if not isinstance(value, dict):
        raise _no_list(path, "JSON without a list of objects")
    if is_prompts(value):
        return prompt_rows(value, path)
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list) and _are_objects(inner)}
    if len(lists) > 1:
        raise _no_list(path, f"several lists of objects: {', '.join(lists)}")
    if lists:
        return next(iter(lists.values()))
    if value and _are_objects(list(value.values())):
        return [{"id": key} | row for key, row in value.items()]
    columns = list(value.values())
    if columns and all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return [value] if value else []


def _csv_rows(path: Path) -> list[Row]:
    csv.field_size_limit(sys.maxsize)  # the library's limit of 128 KB a field is a setting of the process
    lines = (_text(line, f"{path}, line {number}") + "\n" for number, line in enumerate(read_lines(path), 1))
    reader = csv.reader(lines, delimiter="\t" if ".tsv" in path.suffixes else ",", strict=True)
    header: list[str] | None = None
    rows: list[Row] = []
    try:
        for cells in reader:
            if header is None:
                header = MMLU_COLUMNS if _is_mmlu(cells) else cells
                if header is cells:
                    _require_names(path, header)
                    continue
            if not cells:
                continue
            if len(cells) != len(header):
                found = f"{len(cells)} fields, the first line has {len(header)}"
                raise InputError(problem(f"{path}, line {reader.line_num}", found, fix="mend the line"))
            rows.append({name: cell or None for name, cell in zip(header, cells, strict=True)})
    except csv.Error as error:
        found = f"broken quotes ({error})"
        raise InputError(problem(f"{path}, line {reader.line_num}", found, fix="mend the line")) from error
    return rows


def _parquet_rows(path: Path) -> list[Row]:
    try:
        return pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        fix = "copy or download it again"
        raise InputError(problem(path, f"cannot be read ({reason})", "a whole Parquet file", fix)) from error
    except UnicodeDecodeError as error:
        raise InputError(problem(path, "a string that is not UTF-8", "strings in UTF-8", "mend the file")) from error


def _is_mmlu(cells: list[str]) -> bool:
    # The authors' files have no header: question, four choices, letter. A header may end with a column D itself.
    is_header = {"A", "B", "C"} <= set(cells)
    return len(cells) == len(MMLU_COLUMNS) and cells[-1] in ("A", "B", "C", "D") and not is_header


def _require_names(path: Path, header: list[str]) -> None:
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        found = f"the header has '{repeated[0]}' more than once"
        raise InputError(problem(path, found, "names in the first line, each once", "mend the first line"))


def _are_objects(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, Mapping) for value in values)


def _object(value: Any, place: str) -> Row:
    if isinstance(value, dict):
        return value
    raise InputError(
        problem(place, f"{type(value).__name__} instead of an object", "one object a row", "mend the file")
    )


def _parsed(line: bytes, place: str) -> Any:
    try:
        return from_json(line)
    except ValueError as error:
        _text(line, place)
        raise _broken(place, error) from error


def _text(line: bytes, place: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        found = f"byte {error.start + 1} of the line is not UTF-8"
        raise InputError(problem(place, found, fix="convert the file to UTF-8")) from error


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(from_json(data), dict)
    except ValueError:
        return False


def _broken(place: object, error: ValueError) -> InputError:
    return InputError(problem(place, f"broken JSON ({error})", fix="mend the file or download it again"))


def _no_list(path: Path, found: str) -> NoItemsError:
    needed = "one list of objects, or one object a line"
    return NoItemsError(problem(path, found, needed, "write the items to a file of their own, one JSON object a line"))
