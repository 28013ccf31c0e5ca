"""The items of a benchmark: one row a question, the same file for the search in training text and for the probes.

benchmarks/<name>/<digest>/items.parquet    ITEMS, in the order of the benchmark's own file

Texts stand as their authors wrote them. Where an item has choices, a probe compares the likelihood of each; where
`blank` is set, a choice goes into the question instead of after it (`filled`). The digest of an item covers what it
says and not what it is called, the digest of a benchmark its items in any order: the same questions have the same
digest, whichever format, file or row they came from.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from engine.base.errors import InputError, problem
from engine.base.hashing import digest_json
from engine.formats.parquet import read_parquet, write_parquet

ITEMS: dict[str, pl.DataType | type[pl.DataType]] = {
    "item": pl.String,  # the file's own id where each row has another one, else the row, from 0
    "question": pl.String,  # null where an item is a passage only
    "choices": pl.List(pl.String),  # empty where the answer is free text
    "gold": pl.Int32,  # position of the right choice, from 0; null where there are no choices or the answer is unknown
    "answer": pl.String,  # the right answer, with choices the text of the right one; null where unknown
    "other_answers": pl.List(
        pl.String
    ),  # further texts that count as right: other wordings, the bare number of a solution
    "passage": pl.String,  # the text the question is about; null where there is none
    "blank": pl.Int32,  # character of the question whose place a choice takes; null where choices follow the question
    "extra": pl.List(pl.String),  # what else belongs to the item: unit tests, later turns, what is asked of a premise
}
CONTENT = tuple(name for name in ITEMS if name != "item")
"""What an item says: the columns its digest covers."""


def write_items(path: Path, items: pl.DataFrame) -> None:
    """Write the items (ITEMS) of one benchmark atomically; the same items give the same bytes."""
    write_parquet(path, items.select(pl.col(name).cast(dtype) for name, dtype in ITEMS.items()))


def read_items(path: Path) -> pl.DataFrame:
    """Return the items (ITEMS) of one benchmark; raises InputError for a missing or damaged file or another table."""
    items = read_parquet(path)
    if dict(items.schema) != ITEMS:
        found = f"columns {', '.join(items.columns)}"
        raise InputError(problem(path, found, f"the items of a benchmark: {', '.join(ITEMS)}", "delete it, run again"))
    return items


def item_digest(item: Mapping[str, Any]) -> str:
    """Return the 32-character hex digest of what one item (a row of ITEMS) says, whatever it is called."""
    # Nulls and empty lists are left out, so that a column added one day leaves the digests of old items as they are.
    return digest_json({name: item[name] for name in CONTENT if item[name] is not None and item[name] != []})


def item_digests(items: pl.DataFrame) -> list[str]:
    """Return the digest of every item (ITEMS), in their order."""
    return [item_digest(row) for row in items.iter_rows(named=True)]


def benchmark_digest(items: pl.DataFrame) -> str:
    """Return the 32-character hex digest of a benchmark: of the digests of its items, in any order."""
    return digest_json(sorted(item_digests(items)))


def filled(question: str, blank: int, choice: str) -> str:
    """Return a question with the choice in place of the character at `blank`."""
    return question[:blank] + choice + question[blank + 1 :]
