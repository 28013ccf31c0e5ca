"""Ids and digests that no cut into files or shards changes.

Own ids must be distinct. Documents without own ids are told apart by their text and, where texts are equal, by their
rank in the order of the digests of their whole rows; rows that are equal in everything are interchangeable.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.errors import InputError, problem
from engine.base.hashing import DIGEST_BYTES, digest_bytes
from engine.formats.columns import CORE
from engine.formats.core_of_text import digest_series, digests
from engine.formats.doc_ids import Digests, text_doc_ids
from engine.formats.documents import MESSAGES_COLUMN
from engine.formats.parquet import read_parquet, write_parquet
from engine.run.intake.shards import Draft
from engine.sources._columns import READ_PROBLEM

SHOWN_IDS = 3


def document_ids(source: str, drafts: Sequence[Draft]) -> list[Digests]:
    """Return the doc_ids of every shard, uint8[rows, 16].

    Raises InputError where own ids repeat, naming three.
    """
    keys = np.concatenate([draft.keys for draft in drafts])
    has_own = np.concatenate([draft.has_own_id for draft in drafts])
    if has_own.any():
        _require_distinct(source, drafts, keys, has_own)
    if not has_own.all():
        without = np.flatnonzero(~has_own)
        text_keys = keys[without]
        keys[without] = text_doc_ids(source, text_keys, _ranks(drafts, without, text_keys))
    return np.split(keys, np.cumsum([draft.num_rows for draft in drafts])[:-1])


def seal(
    folder: Path, drafts: Sequence[Draft], doc_ids: Sequence[Digests], advance: Callable[[], None]
) -> tuple[list[str], str]:
    """Write the core columns of every shard with their doc_ids; return the shards' keys and the source's digest."""
    keys, records = [], []
    for draft, ids in zip(drafts, doc_ids, strict=True):
        core = read_parquet(folder / draft.ids_path.name)
        frame = core.with_columns(digest_series(ids).alias("doc_id")).select(list(CORE))
        write_parquet(draft.ids_path, frame)
        record = np.hstack([ids, _row_digests(core), *_message_digests(draft)])
        keys.append(digest_bytes(record.tobytes()).hex())
        records.append(record)
        advance()
    everything = np.concatenate(records)
    return keys, digest_bytes(everything[_order(everything[:, :DIGEST_BYTES])].tobytes()).hex()


def _row_digests(core: pl.DataFrame) -> Digests:
    """Digests of all core columns but doc_id, each value with its length before it."""
    texts = [
        pl.col(name).bin.encode("hex") if dtype == pl.Binary else pl.col(name).cast(pl.String)
        for name, dtype in core.schema.items()
    ]
    sized = [pl.concat_str(text.str.len_bytes().cast(pl.String), pl.lit(":"), text).fill_null("-") for text in texts]
    return digests(pa.chunked_array([core.select(pl.concat_str(sized)).to_series().to_arrow().cast(pa.large_string())]))


def _message_digests(draft: Draft) -> list[Digests]:
    """Digests of the messages, where documents are chats: the same text may be cut into messages in several ways."""
    if not draft.has_messages:
        return []
    rows = draft.read([MESSAGES_COLUMN]).column(0).to_pylist()
    return [digests(pa.chunked_array([[None if row is None else json.dumps(row) for row in rows]], pa.large_string()))]


def _require_distinct(source: str, drafts: Sequence[Draft], ids: Digests, has_own: np.ndarray) -> None:
    positions = np.flatnonzero(has_own)
    repeated = positions[_is_repeated(ids[positions])]
    if len(repeated) == 0:
        return
    first: dict[bytes, int] = {}
    for position in repeated.tolist():
        first.setdefault(ids[position].tobytes(), position)
    starts = np.cumsum([0, *(draft.num_rows for draft in drafts)])
    shown = []
    for position in list(first.values())[:SHOWN_IDS]:
        shard = int(np.searchsorted(starts, position, side="right")) - 1
        shown.append(f"'{drafts[shard].own_id(position - int(starts[shard]))}'")
    count = f"{len(first):,} ids belong to more than one document" if len(first) > 1 else "one id belongs to several"
    found = f"{count}: {', '.join(shown)}{f' and {len(first) - SHOWN_IDS:,} more' if len(first) > SHOWN_IDS else ''}"
    fix = "mend the ids, or take id out of columns: ids are then made of the texts"
    raise InputError(problem(f"source {source}, column '{drafts[0].id_column}'", found, "every id once", fix))


def _ranks(drafts: Sequence[Draft], rows: np.ndarray, keys: Digests) -> np.ndarray:
    """Rank of each row among those with the same text; `rows` are positions in the source, `keys` their texts."""
    ranks = np.zeros(len(rows), np.int64)
    repeated = np.flatnonzero(_is_repeated(keys))
    if len(repeated) == 0:
        return ranks
    starts = np.cumsum([0, *(draft.num_rows for draft in drafts)])
    parts = []
    for draft, start, end in zip(drafts, starts[:-1], starts[1:], strict=True):
        here = rows[repeated]
        here = here[(here >= start) & (here < end)] - start
        if len(here):
            parts.append(_whole_row_digests(draft, here))
    row_digests = np.concatenate(parts)
    order = _order(np.hstack([keys[repeated], row_digests]))
    sorted_keys = keys[repeated][order]
    begins = np.concatenate([[True], (sorted_keys[1:] != sorted_keys[:-1]).any(axis=1)])
    places = np.arange(len(order))
    ranks[repeated[order]] = places - np.maximum.accumulate(np.where(begins, places, 0))
    return ranks


def _whole_row_digests(draft: Draft, rows: np.ndarray) -> Digests:
    """Digests of all that the source says about these rows beside their text."""
    names = [name for name in pq.read_schema(draft.text_path).names if name not in (draft.text_column, READ_PROBLEM)]
    problems = read_parquet(draft.ids_path, [READ_PROBLEM])[READ_PROBLEM].gather(rows.tolist()).to_list()
    return row_digests(draft.read(names).take(pa.array(rows)), problems)


def row_digests(table: pa.Table, problems: Sequence[str | None] | None = None) -> Digests:
    """Return the digest of each row of a table, and of the problem it had: uint8[rows, 16]."""
    for position, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            # Columns nobody reads may hold bytes that are no text.
            table = table.set_column(position, field.name, table.column(position).cast(pa.large_binary()))
    troubles = [None] * table.num_rows if problems is None else problems
    # A source may have no column beside its text.
    present: list[dict[str, Any]] = table.to_pylist() if table.num_columns else [{}] * len(troubles)
    joined = b"".join(digest_bytes(_canonical(row, trouble)) for row, trouble in zip(present, troubles, strict=True))
    return np.frombuffer(joined, np.uint8).reshape(len(troubles), DIGEST_BYTES)


def _canonical(row: dict[str, Any], trouble: str | None) -> bytes:
    # A column that is not there and one that is null are the same: files of one source may differ in their columns.
    present = {name: value for name, value in row.items() if value is not None}
    return json.dumps([present, trouble], sort_keys=True, default=_plain).encode("ascii")


def _plain(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _is_repeated(keys: Digests) -> np.ndarray:
    order = _order(keys)
    same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    found = np.zeros(len(keys), dtype=bool)
    found[order[1:]] |= same
    found[order[:-1]] |= same
    return found


def _order(records: np.ndarray) -> np.ndarray:
    """Order of rows of bytes (a multiple of 8 wide), compared from left to right; equal rows keep their order."""
    words = np.ascontiguousarray(records).view(">u8").astype(np.uint64)
    return np.lexsort(tuple(words[:, n] for n in reversed(range(words.shape[1]))))
