"""What a token store says of one document: the control tokens in front of it, and what in its text looks like one."""

from pathlib import Path
from typing import Any

import polars as pl

from engine.formats.parquet import read_parquet_where
from engine.formats.token_store import AGAIN, CONTROL_TOKENS_FILE, LOOK_ALIKES_FILE


def tokens_of(folder: Path | None, doc_id: bytes) -> dict[str, Any]:
    """Return `control_tokens`, in their order, and `look_alikes` (token, occurrences); empty where there are none.

    folder: the token store, or None where the recipe stopped before it.
    """
    tokens = _rows(folder, CONTROL_TOKENS_FILE, doc_id, "position")
    alike = _rows(folder, LOOK_ALIKES_FILE, doc_id, "token")
    return {
        "control_tokens": [row["token"] for row in tokens],
        "look_alikes": [{"token": row["token"], "occurrences": row["occurrences"]} for row in alike],
    }


def _rows(folder: Path | None, file: str, doc_id: bytes, order: str) -> list[dict[str, Any]]:
    if folder is None:
        return []
    return read_parquet_where(folder / file, pl.col("doc_id") == doc_id, AGAIN).sort(order).to_dicts()
