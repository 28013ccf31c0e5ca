"""Text of other people on a terminal: no control characters, one line, wrapped to the width.

Stands in `base` because verbs of every package show documents, which hold whatever the web held: an escape sequence in
a text must not reach the terminal.
"""

import os
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import IO

DEFAULT_WIDTH = 100
STYLES = {"bold": "1", "soft": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35"}


def terminal_width() -> int:
    """Return the columns of this terminal, 100 where there is none."""
    return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns


def has_colours(stream: IO[str]) -> bool:
    """Return whether colours may be written there: to a terminal, where NO_COLOR (no-color.org) is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, is_coloured: bool) -> str:
    """Return text in one of STYLES, as it is where there are no colours."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if is_coloured else text


def one_line(text: str, limit: int | None = None, length: int | None = None) -> str:
    """Return text without line breaks and control characters, cut after `limit` characters with the number left out.

    `length`: characters of the whole text, where `text` is only its beginning.
    """
    shown = text if limit is None else text[:limit]
    rest = max(len(text), length or 0) - len(shown)
    line = "".join(c if c.isprintable() else " " for c in shown)
    return f"{line} ... (+{rest:,} characters)" if rest else line


def wrapped(text: str, width: int, indent: int = 0) -> str:
    """Return text in lines of at most `width` columns behind `indent` spaces; words longer than a line are broken."""
    space = " " * indent
    # An id is read and copied as a whole: it is not broken at its hyphens.
    return textwrap.fill(
        text, max(width, indent + 8), initial_indent=space, subsequent_indent=space, break_on_hyphens=False
    )


def wrapped_lines(text: str, width: int, indent: int = 0) -> list[str]:
    """Return a text with its line breaks, each line wrapped behind its own indentation; several empty lines as one."""
    lines: list[str] = []
    for line in text.expandtabs(4).splitlines():
        plain = one_line(line).rstrip()
        own = min(len(plain) - len(plain.lstrip()), width // 3)
        if plain:
            lines += wrapped(plain.strip(), width, indent + own).splitlines()
        elif lines and lines[-1]:
            lines.append("")
    return lines[:-1] if lines and not lines[-1] else lines


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a plain table that wraps its cells to the terminal's width; numbers to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(head):
        numeric = bool(rows) and all(row[position].replace(",", "").isdigit() for row in rows)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(one_line(cell)) for cell in row))
    console = Console(file=StringIO(), width=Console().width, highlight=False)
    console.print(drawn)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())
