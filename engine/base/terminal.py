"""Text of other people on a terminal: no control characters, one line, wrapped to the width.

Stands in `base` because verbs of every package show documents, which hold whatever the web held: an escape sequence in
a text must not reach the terminal.
"""

import shutil
import textwrap

DEFAULT_WIDTH = 100


def terminal_width() -> int:
    """Return the columns of this terminal, 100 where there is none."""
    return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns


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
