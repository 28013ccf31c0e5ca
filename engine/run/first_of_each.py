"""The first documents of every stratum: by a key that only the document decides, so any cut into shards gives the same.

A part gives its own first ones, and the first ones of all parts together are those of the whole.
"""

from collections.abc import Sequence

import polars as pl

STRATUM = ["source", "decision", "reason"]
"""Columns of what documents to look at are chosen by."""


def first_of_each(
    documents: pl.DataFrame, most: int, stratum: Sequence[str] = tuple(STRATUM), key: str = "key"
) -> pl.DataFrame:
    """Return the `most` documents of each stratum with the smallest key, then doc_id, ordered by stratum and these.

    documents: the columns of `stratum`, `key` and doc_id.
    """
    ordered = documents.sort([*stratum, key, "doc_id"])
    return ordered.group_by(list(stratum), maintain_order=True).head(most)
