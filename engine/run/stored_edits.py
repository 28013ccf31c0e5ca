"""What stages want changed in the texts of a shard, read from the columns they left: with a recipe or without one."""

from collections.abc import Mapping, Sequence

import polars as pl

from engine.formats.annotation import Annotation, read_columns
from engine.formats.documents import Shard
from engine.text.edits import Edits


def stored_edits(shard: Shard, edit_columns: Mapping[str, str], annotations: Sequence[Annotation]) -> dict[int, Edits]:
    """Return row -> what is changed in its text, of the rows with any.

    edit_columns: column of spans -> "cut" or "replace". Raises InputError where a column is gone.
    """
    found: dict[int, Edits] = {}
    for column, kind in edit_columns.items():
        spans = read_columns(shard, [column], annotations).with_row_index("row")
        for row, of_row in spans.filter(pl.col(column).list.len() > 0).iter_rows():
            edits = found.setdefault(row, Edits())
            if kind == "cut":
                edits.cuts += [(span["start"], span["end"]) for span in of_row]
            else:
                edits.replacements += [(one["start"], one["end"], one["replacement"]) for one in of_row]
    return found
