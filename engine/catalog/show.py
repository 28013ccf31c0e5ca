"""Results for a terminal: a table where it fits, else one block per row; nothing is cut off at the right edge."""

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.base.terminal import one_line, terminal_width
from engine.catalog.output import rows_as_text

SHOWN_ROWS = 200
SHOWN_CHARS = 300
_WRAPPED_CHARS = 24
"""A column of text may be wrapped down to this width before the rows are shown as blocks."""
_HEADING_CHARS = 12
_RULE = Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL\(.*\)|DOUBLE|FLOAT")


def show_sql(result: dict[str, Any], width: int | None = None) -> str | None:
    """Return what `sql` returned as text for a terminal of `width` columns (default: this one's).

    None where the rows are on stdout already.
    """
    width = width or terminal_width()
    if "results" in result:
        shown = [text for one in result["results"] if (text := show_sql(one, width)) is not None]
        return "\n\n".join(shown) if shown else None
    if "text" in result:
        return str(result["text"])
    if "views" in result or "queries" in result:
        return _listed(result, width)
    if "num_rows" in result:
        count = f"{result['num_rows']:,} row{'' if result['num_rows'] == 1 else 's'}"
        return None if result["out"] is None else f"{count} written to {result['out']} ({result['format']})"
    columns, types, rows = result["columns"], result["types"], result["rows"]
    if columns == ["plan"]:
        return "\n".join(str(row[0]) for row in rows)
    if result.get("format", "table") != "table":
        return rows_as_text(result["format"], columns, rows)
    cells = [[_cell(value) for value in row] for row in rows[:SHOWN_ROWS]]
    is_number = [_NUMBER.fullmatch(dtype) is not None for dtype in types]
    # Long column names are broken at underscores before the table is given up.
    headings = next(
        (names for names in (columns, [_broken(name) for name in columns]) if _fits(names, is_number, cells, width)),
        None,
    )
    body = _blocks(columns, cells, width) if headings is None else _table(headings, is_number, cells, width)
    return f"{body}\n{_footer(len(rows), result.get('is_cut', False))}".lstrip("\n")


def _cell(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return one_line(str(value), SHOWN_CHARS)


def _broken(name: str) -> str:
    lines = [""]
    for part in re.findall(r"[^_]*_+|[^_]+", name):
        if lines[-1] and len(lines[-1]) + len(part) > _HEADING_CHARS:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _fits(columns: Sequence[str], is_number: Sequence[bool], rows: Sequence[Sequence[str]], width: int) -> bool:
    needed = 0
    for position, name in enumerate(columns):
        longest = max((Text(row[position]).cell_len for row in rows), default=0)
        narrowest = longest if is_number[position] else min(longest, _WRAPPED_CHARS)
        needed += max(narrowest, *(Text(line).cell_len for line in name.split("\n"))) + 2
    return needed <= width


def _table(columns: Sequence[str], is_number: Sequence[bool], rows: Sequence[Sequence[str]], width: int) -> str:
    table = Table(box=_RULE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name, number in zip(columns, is_number, strict=True):
        fixed = number or all(Text(row[len(table.columns)]).cell_len <= _WRAPPED_CHARS for row in rows)
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold", no_wrap=fixed)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return _printed(table, width)


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    parts = []
    for number, row in enumerate(rows, start=1):
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
        table.add_column(overflow="fold", max_width=max(8, width * 2 // 5))
        table.add_column(overflow="fold")
        for name, cell in zip(columns, row, strict=True):
            table.add_row(Text(name), Text(cell))
        parts.append(f"-- row {number}\n{_printed(table, width)}")
    return "\n".join(parts)


def _listed(result: dict[str, Any], width: int) -> str:
    lines = ["views:"] if "views" in result else []
    for view in result.get("views", ()):
        lines += [f"  {view['name']}: {view['what']}", f"    {', '.join(view['columns'])}"]
    lines += [""] if len(result) > 1 else []
    lines += ["named queries:"] if "queries" in result else []
    for query in result.get("queries", ()):
        lines.append(f"  {query['name']} ({query['group']}): {query['what']}")
        for one in query["parameters"]:
            default = "" if one["is_required"] else f" (default: {one['default'] or 'all'})"
            lines.append(f"    {one['name']}=...: {one['type']}; {one['meaning']}{default}")
    return "\n".join(_wrapped(line, width) for line in lines)


def _wrapped(line: str, width: int) -> str:
    from textwrap import fill

    indent = len(line) - len(line.lstrip())
    return fill(line, width, subsequent_indent=" " * (indent + 2), break_long_words=False) if line else line


def _footer(num_rows: int, is_cut: bool) -> str:
    count = f"{num_rows:,} row{'' if num_rows == 1 else 's'}"
    if is_cut:
        count = f"the first {count}; there are more"
    return f"({count})" if num_rows <= SHOWN_ROWS else f"({count}; the first {SHOWN_ROWS} are shown, --json prints all)"


def _printed(table: Table, width: int) -> str:
    stream = StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False, markup=False, emoji=False).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n"))
