"""Documents by their id: the source, shard and row they lie in, and their text.

The ids of all shards are read once for a search; texts only from the shards that were found.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.errors import InputError, problem
from engine.formats.doc_ids import id_text
from engine.formats.documents import Shard, SourceDocuments

ID_DIGITS = 32
SHOWN_MATCHES = 3


@dataclass(frozen=True)
class Place:
    """Where a document lies."""

    doc_id: bytes
    shard: Shard
    row: int
    """Row within the shard, from 0."""

    def text(self) -> str | None:
        """Return the document's text, a chat's with roles; raises InputError where its file changed or is gone."""
        return self.shard.read_shown([self.row])[0]

    def row_in_file(self) -> int | None:
        """Return the row within the text file, from 0, or None where the file cannot be read any more."""
        try:
            metadata = pq.read_metadata(self.shard.text_path)
        except (OSError, pa.ArrowException):
            return None
        before = sum(metadata.row_group(group).num_rows for group in range(self.shard.row_groups[0]))
        return int(before) + self.row


def find_document(sources: Sequence[SourceDocuments], doc_id: str) -> Place:
    """Return the one document whose id begins with these hex digits; dashes and capitals do not matter.

    Raises InputError where the digits are no beginning of an id, or fit no document or several.
    """
    digits = doc_id.strip().replace("-", "").lower()
    if not re.fullmatch(rf"[0-9a-f]{{1,{ID_DIGITS}}}", digits):
        raise InputError(problem(doc_id, "this is no document id", "a UUID, or the first hex digits of one"))
    low, high = bytes.fromhex(digits.ljust(ID_DIGITS, "0")), bytes.fromhex(digits.ljust(ID_DIGITS, "f"))
    # A source may be there twice, as it was and as it is.
    by_id = {place.doc_id: place for place in reversed(_scan(sources, pl.col("doc_id").is_between(low, high)))}
    matches = [by_id[doc_id] for doc_id in sorted(by_id)]
    if not matches:
        fix = '`provender sql "SELECT doc_id FROM documents"` lists them'
        raise InputError(problem(doc_id, "no document of the recipe has this id", fix=fix))
    if len(matches) > 1:
        first = ", ".join(id_text(place.doc_id) for place in matches[:SHOWN_MATCHES])
        among = "among them " if len(matches) > SHOWN_MATCHES else ""
        found = f"{len(matches):,} documents begin like this: {among}{first}"
        raise InputError(problem(doc_id, found, "one document", "give more digits"))
    return matches[0]


def find_documents(sources: Sequence[SourceDocuments], doc_ids: Iterable[bytes]) -> dict[bytes, Place]:
    """Return id -> place for those of the ids that are documents of these sources."""
    wanted = sorted(set(doc_ids))
    places = _scan(sources, pl.col("doc_id").is_in(wanted)) if wanted else []
    return {place.doc_id: place for place in places}


def plain(value: Any, name: str) -> Any:
    """Return a value of the column `name` as JSON can hold it: ids as UUID text, other bytes as hex, times as text."""
    if isinstance(value, bytes):
        return id_text(value) if name.endswith("_id") else value.hex()
    if isinstance(value, Mapping):
        return {key: plain(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one, name) for one in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def plain_row(path: Path, row: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """Return one row of a Parquet file of ours with plain values; 32-bit floats with the digits they have."""
    frame = pl.scan_parquet(path, glob=False).slice(row, 1)
    frame = frame.select(columns) if columns is not None else frame
    found = frame.with_columns(pl.col(pl.Float32).cast(pl.String).cast(pl.Float64)).collect()
    return {name: plain(value, name) for name, value in found.row(0, named=True).items()}


def _scan(sources: Sequence[SourceDocuments], condition: pl.Expr) -> list[Place]:
    shards = [shard for source in sources for shard in source.shards if shard.num_rows]
    if not shards:
        return []
    frame = pl.scan_parquet([shard.ids_path for shard in shards], row_index_name="position", glob=False)
    found = frame.select("position", "doc_id").filter(condition).collect()
    starts = list(accumulate((shard.num_rows for shard in shards), initial=0))
    places = []
    for position, doc_id in found.iter_rows():
        number = bisect_right(starts, position) - 1
        places.append(Place(doc_id, shards[number], position - starts[number]))
    return sorted(places, key=lambda place: place.doc_id)
