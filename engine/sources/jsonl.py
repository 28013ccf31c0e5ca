"""JSON lines (.jsonl, .json.gz, .jsonl.gz, .zst): one object a line, its fields as columns.

Nested values are kept as JSON text. With `on_bad_row: drop` a line that cannot be used stays as a document without text
and with one of these problems: `broken_json`, `not_an_object`, `invalid_utf8`, `text_not_a_string`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa

from engine.sources._columns import to_table
from engine.sources._config import FileConfig, missing_column, row_problem
from engine.sources._files import find_files, read_lines
from engine.sources._json import Row, kind_of, parse_line

VERSION = 1
IN_PLACE = False
SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst")
BATCH_BYTES = 8 << 20


class Config(FileConfig):
    """JSON lines files."""

    stage: Literal["jsonl"] = "jsonl"


def files(config: Config, base: Path) -> list[Path]:
    """Return the input files; raises InputError for a pattern without any."""
    return find_files(config, base)


def read(path: Path, config: Config) -> Iterator[pa.Table]:
    """Yield tables of about 8 MB of lines, rows in file order; blank lines are no rows.

    Raises InputError for a bad line (unless on_bad_row: drop), a damaged file, or a file without the text field.
    """
    text_column = config.mapping["text"]
    rows: list[Row] = []
    problems: list[str | None] = []
    columns: dict[str, None] = {}
    has_text, num_good, size = False, 0, 0
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        row, trouble = _parse(line, text_column, (path, number), config)
        rows.append(row)
        problems.append(trouble)
        size += len(line)
        num_good += trouble is None
        has_text = has_text or text_column in row
        if not has_text:
            columns.update(dict.fromkeys(row))
        if size >= BATCH_BYTES:
            yield to_table(path, rows, problems)
            rows, problems, size = [], [], 0
    if num_good and not has_text:
        raise missing_column(path, "text", text_column, list(columns))
    if rows:
        yield to_table(path, rows, problems)


def _parse(line: bytes, text_column: str, place: tuple[Path, int], config: Config) -> tuple[Row, str | None]:
    row, trouble = parse_line(line, place, config)
    if not isinstance(row.get(text_column), str | None):
        found = f"the field '{text_column}' holds {kind_of(row[text_column])} instead of a string"
        return {}, row_problem(f"{place[0]}, line {place[1]}", found, "text_not_a_string", config)
    return row, trouble
