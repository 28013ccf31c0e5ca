"""A table of the page: headings, cells already worded, which columns are numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of text for the template; wide ones scroll inside their own box."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_labels: int = 1
    """How many columns from the left are names (set left); the rest are numbers (set right)."""
    caption: str = ""
    total: bool = False
    """Whether the last row is the sum of the others."""
    marked: tuple[int, ...] = ()
    """Numbers of the rows, from 0, that stand out."""


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    num_labels: int = 1,
    caption: str = "",
    total: bool = False,
    marked: Iterable[int] = (),
) -> Table:
    """Return a table; raises ValueError (our bug) where a row has not one cell per heading."""
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"{len(row)} cells under {len(headings)} headings: {row}")
    return Table(tuple(headings), tuple(tuple(row) for row in rows), num_labels, caption, total, tuple(marked))
