"""The documents' own ids: every document has one, and none stands twice."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from engine.base.errors import InputError, problem
from engine.base.hashing import DIGEST_BYTES
from engine.formats.doc_ids import Digests, as_text, own_doc_ids
from engine.run.oneshot.inputs import Input, Piece

SOURCE, OLD_SOURCE = "dedup", "dedup --against"
SHOWN_IDS = 3


def own_ids(inputs: Sequence[Input], id_column: str) -> Digests:
    """Return the doc_ids made of the documents' own ids, uint8[num_documents, 16]; zeros for old ones without.

    Old documents may have the ids of new ones: an earlier state of the same documents is what they often are.

    Raises InputError where ids of new documents are null or stand twice, naming three.
    """
    found = [np.zeros((0, DIGEST_BYTES), dtype=np.uint8)]
    for one in inputs:
        for piece in one.pieces:
            if one.has(id_column):
                found.append(own_doc_ids(OLD_SOURCE if one.is_old else SOURCE, id_texts(piece, id_column)))
            else:
                found.append(np.zeros((piece.num_rows, DIGEST_BYTES), dtype=np.uint8))
    doc_ids = np.concatenate(found)
    new = [one for one in inputs if not one.is_old]
    for one in new:
        _require_ids(doc_ids[one.first : one.first + one.num_rows], one, id_column)
    _require_distinct(doc_ids[: sum(one.num_rows for one in new)], new, id_column)
    return doc_ids


def _require_ids(doc_ids: Digests, one: Input, id_column: str) -> None:
    lacking = np.flatnonzero(~doc_ids.any(axis=1))
    if len(lacking):
        rows = ", ".join(map(str, lacking[:SHOWN_IDS]))
        more = f" and {len(lacking) - SHOWN_IDS:,} more" if len(lacking) > SHOWN_IDS else ""
        found = f"no id in column '{id_column}' in row {rows}{more} (from 0)"
        raise InputError(problem(one.name, found, "an id for every document", "mend them, or leave --id-column out"))


def id_texts(piece: Piece, id_column: str) -> pl.Series:
    """Return the own ids of a row group as strings."""
    return as_text(piece.read([id_column]).column(0))


def _require_distinct(doc_ids: Digests, inputs: Sequence[Input], id_column: str) -> None:
    keys = np.ascontiguousarray(doc_ids).view(np.uint64)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    if not same.any():
        return
    first_places = order[:-1][same]
    _, distinct = np.unique(keys[first_places, 0], return_index=True)
    shown = []
    for document in first_places[np.sort(distinct)][:SHOWN_IDS]:
        piece = next(p for one in inputs for p in one.pieces if p.first <= document < p.first + p.num_rows)
        shown.append(f"'{id_texts(piece, id_column)[int(document - piece.first)]}'")
    more = f" and {len(distinct) - SHOWN_IDS:,} more" if len(distinct) > SHOWN_IDS else ""
    found = f"ids stand twice: {', '.join(shown)}{more}"
    fix = "mend them, or leave --id-column out: documents are then named by file and row"
    raise InputError(problem(f"--id-column {id_column}", found, "every id once", fix))
