"""CSV with a header line (.csv, .tsv, also .gz and .zst): all columns as strings, empty cells as null.

Quoting as in RFC 4180: a quote inside a quoted field is doubled, quoted fields may hold line breaks. With
`on_bad_row: drop` a row that cannot be used stays as a document without text and with the problem `broken_row` (wrong
number of fields, broken quotes) or `invalid_utf8`.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from engine.base.errors import InputError, problem
from engine.sources._columns import READ_PROBLEM, TEXT, to_table
from engine.sources._config import FileConfig, missing_column, row_problem
from engine.sources._files import find_files, read_lines

VERSION = 1
IN_PLACE = False
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst")
BATCH_BYTES = 8 << 20


class Config(FileConfig):
    """CSV files."""

    stage: Literal["csv"] = "csv"
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="between fields; default: tab for .tsv, else comma"
    )


def files(config: Config, base: Path) -> list[Path]:
    """Return the input files; raises InputError for a pattern without any."""
    return find_files(config, base)


def read(path: Path, config: Config) -> Iterator[pa.Table]:
    """Yield tables of about 8 MB, rows in file order; blank lines are no rows.

    Raises InputError for a bad row (unless on_bad_row: drop), a damaged file, or a header without a mapped column.
    """
    delimiter = config.delimiter or ("\t" if ".tsv" in path.suffixes else ",")
    # The limit of the library, 128 KB a field, is far below a book; it is a setting of the process.
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(_decoded(path), delimiter=delimiter, strict=True)
    header = _header(path, reader, config)
    rows: list[dict[str, str | None]] = []
    problems: list[str | None] = []
    size = 0
    for cells, trouble in _rows(path, reader, len(header), config):
        rows.append(dict(zip(header, (cell or None for cell in cells), strict=False)))
        problems.append(trouble)
        size += sum(map(len, cells))
        if size >= BATCH_BYTES:
            yield _table(path, header, rows, problems)
            rows, problems, size = [], [], 0
    if rows:
        yield _table(path, header, rows, problems)


def _decoded(path: Path) -> Iterator[str]:
    # Bytes that are not UTF-8 travel as lone surrogates, so that the row they stand in can be named.
    return (line.decode("utf-8", "surrogateescape") + "\n" for line in read_lines(path))


def _header(path: Path, reader: Any, config: Config) -> list[str]:
    try:
        header: list[str] = next(reader, [])
    except csv.Error as error:
        found = f"the header line cannot be read ({error})"
        raise InputError(problem(path, found, "column names in the first line")) from error
    if not header or len(set(header)) < len(header) or READ_PROBLEM in header or not _is_utf8(header):
        needed = f"column names in the first line, each once, in UTF-8, none called {READ_PROBLEM}"
        raise InputError(problem(path, f"the header is {header!a}", needed, "mend the first line"))
    for core, column in config.mapping.items():
        if column not in header:
            raise missing_column(path, core, column, header)
    return header


def _rows(path: Path, reader: Any, width: int, config: Config) -> Iterator[tuple[list[str], str | None]]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield [], row_problem(f"{path}, line {line}", f"broken quotes ({error})", "broken_row", config)
            continue
        if not cells:
            continue
        if len(cells) != width:
            found = f"{len(cells)} fields, the header has {width}"
            yield [], row_problem(f"{path}, line {line}", found, "broken_row", config)
        elif not _is_utf8(cells):
            yield [], row_problem(f"{path}, line {line}", "bytes that are not UTF-8", "invalid_utf8", config)
        else:
            yield cells, None


def _is_utf8(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def _table(path: Path, header: list[str], rows: list[dict[str, str | None]], problems: list[str | None]) -> pa.Table:
    table = to_table(path, rows, problems)
    columns = {
        name: table.column(name).cast(TEXT) if name in table.column_names else pa.nulls(len(rows), TEXT)
        for name in header
    }
    return pa.table(columns | {READ_PROBLEM: table.column(READ_PROBLEM)})
