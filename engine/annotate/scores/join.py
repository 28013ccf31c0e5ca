"""Finding the document of each row of a file of scores, and what is wrong with its ids."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.scores.files import SHOWN, Piece, column_name, pieces
from engine.base.errors import InputError, RecipeError, problem, unknown
from engine.base.hashing import DIGEST_BYTES
from engine.formats.doc_ids import as_text, own_doc_ids

if TYPE_CHECKING:
    from engine.annotate.scores import Config
    from engine.formats.annotation import Corpus

Keys = NDArray[np.bytes_]
"""bytes of 16: doc_ids that can be sorted and searched"""
_KEY = np.dtype(f"S{DIGEST_BYTES}")


@dataclass(frozen=True)
class Joined:
    """The rows of a file that belong to documents."""

    documents: NDArray[np.int64]
    """Position of the document of each row in the corpus, ascending."""
    values: pl.DataFrame
    """Columns of the stage, of the same rows."""
    num_rows: int
    """Rows of the file."""
    num_missing: int
    """Documents with text, of the sources concerned, that have no row."""

    def details(self) -> dict[str, int]:
        """Counts for the receipt."""
        return {
            "rows": self.num_rows,
            "rows_without_document": self.num_rows - len(self.documents),
            "documents_with_row": len(self.documents),
            "documents_without_row": self.num_missing,
        }

    def rows_of(self, start: int, num_documents: int) -> pl.DataFrame:
        """Return the columns of the documents from `start` on, null where there is no row."""
        first, end = np.searchsorted(self.documents, [start, start + num_documents])
        places = pl.DataFrame({"place": self.documents[first:end] - start}, schema={"place": pl.Int64})
        here = pl.concat([places, self.values.slice(int(first), int(end - first))], how="horizontal")
        every = pl.DataFrame({"place": pl.int_range(num_documents, dtype=pl.Int64, eager=True)})
        return every.join(here, on="place", how="left", maintain_order="left").drop("place")


@dataclass(frozen=True)
class _Documents:
    """The documents of the corpus, in its order."""

    keys: Keys
    is_meant: NDArray[np.bool_]
    """Whether the file can have a row for each."""
    has_text: NDArray[np.bool_]


def join_scores(corpus: "Corpus", config: "Config") -> Joined:
    """Read the file once and find the documents of its rows; raises what `engine.annotate.scores.combine` says."""
    documents = _documents(corpus, config)
    order = np.argsort(documents.keys, kind="stable")
    in_order = documents.keys[order]
    found, values, strangers, num_rows = [np.zeros(0, dtype=np.int64)], [], [np.zeros(0, dtype=_KEY)], 0
    for piece in pieces(Path(config.path), config.id, config.columns):
        ids = piece_keys(piece, config.id, config.source)
        num_rows += len(ids)
        at = np.minimum(np.searchsorted(in_order, ids), len(in_order) - 1)
        is_known = in_order[at] == ids
        found.append(order[at[is_known]])
        values.append(piece.values.filter(pl.Series(is_known, dtype=pl.Boolean)))
        strangers.append(ids[~is_known])
    # What only the search needed goes before the values are put in order, which takes as much again.
    del order, in_order
    rows = np.concatenate(found)
    _require_distinct(config, [documents.keys[_repeated(rows)], _repeated_keys(np.concatenate(strangers))])
    if not len(rows):
        _refuse_strangers(config, num_rows)
    is_lacking = documents.has_text & documents.is_meant
    is_lacking[rows] = False
    if config.missing == "error":
        _require_rows(corpus, config, documents.keys, is_lacking)
    del documents
    by_document = np.argsort(rows, kind="stable")
    names = {column: f"scores__{column_name(column)}" for column in config.columns}
    frame = pl.concat(values)[by_document].rename(names)
    return Joined(rows[by_document], frame, num_rows, int(is_lacking.sum()))


def _documents(corpus: "Corpus", config: "Config") -> _Documents:
    known = [source.name for source in corpus.sources]
    if config.source is not None and config.source not in known:
        raise RecipeError(unknown(f"{config.column_prefix}: source", "source", config.source, known))
    shards = list(corpus.shards)
    ends = np.cumsum([0, *(shard.num_rows for shard in shards)])
    made = _Documents(np.zeros(ends[-1], _KEY), np.zeros(ends[-1], np.bool_), np.zeros(ends[-1], np.bool_))
    # Shard by shard: a column of bytes takes several times what is kept of it.
    for shard, start, end in zip(shards, ends, ends[1:], strict=False):
        made.keys[start:end] = _as_keys(corpus.columns(shard, ["doc_id"])["doc_id"])
        made.is_meant[start:end] = config.source in (None, shard.source)
        made.has_text[start:end] = corpus.part(shard, ["has_text"])["has_text"]
    return made


def _as_keys(ids: pl.Series) -> Keys:
    return np.frombuffer(b"".join(ids), dtype=_KEY)


def piece_keys(piece: Piece, id_column: str, source: str | None) -> Keys:
    """Return the doc_ids of the rows of a piece; raises InputError for ids that are null or none."""
    column = piece.ids
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if source is not None:
        texts = as_text(column)
        _refuse_rows(piece, id_column, texts.is_null(), "no id", "an id in every row")
        return np.frombuffer(own_doc_ids(source, texts).tobytes(), dtype=_KEY)
    ids = _doc_ids(column)
    _refuse_rows(piece, id_column, pl.Series(pl.from_arrow(column)).is_null(), "no id", "an id in every row")
    fix = "name the source whose own ids these are: source: NAME"
    _refuse_rows(piece, id_column, ids.is_null(), "no doc_id", "doc_ids: UUIDs, as text or 16 bytes", fix)
    return _as_keys(ids)


def _doc_ids(column: pa.ChunkedArray) -> pl.Series:
    """Return doc_ids as 16 bytes, null where a value is none."""
    values = pl.Series(pl.from_arrow(column))
    if values.dtype == pl.String:
        digits = values.str.strip_chars().str.to_lowercase().str.replace_all("-", "", literal=True)
        return digits.str.extract("^([0-9a-f]{32})$").str.decode("hex")
    if values.dtype == pl.Binary:
        return pl.select(pl.when(values.bin.size() == DIGEST_BYTES).then(values)).to_series()
    return pl.Series([None], dtype=pl.Binary).new_from_index(0, len(values))


def _repeated(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    ordered = np.sort(rows)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _repeated_keys(keys: Keys) -> Keys:
    # Sorting numbers is many times as fast as sorting bytes; of equal first halves the whole is compared.
    firsts = np.ascontiguousarray(keys).view(np.uint64)[::2]
    ordered = np.sort(firsts)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    distinct, counts = np.unique(keys[np.isin(firsts, twice)], return_counts=True)
    return distinct[counts > 1]


def _require_distinct(config: "Config", repeated: list[Keys]) -> None:
    keys = np.concatenate(repeated)
    if not len(keys):
        return
    wanted = set(keys[:SHOWN].tolist())
    rows: dict[bytes, list[str]] = {}
    for piece in pieces(Path(config.path), config.id, config.columns):
        texts = as_text(piece.ids)
        for row, key in enumerate(piece_keys(piece, config.id, config.source).tolist()):
            if key in wanted:
                rows.setdefault(key, [f"'{_shown(config, key, texts[row])}' in row {piece.first_row + row:,}"]).append(
                    f"{piece.first_row + row:,}"
                )
    shown = ", ".join(" and ".join([first, *rest[1:3]]) for first, *rest in rows.values())
    more = f" and {len(keys) - SHOWN:,} more" if len(keys) > SHOWN else ""
    place = f"{config.path}, column '{config.id}'"
    raise InputError(problem(place, f"ids stand twice: {shown}{more}", "every id once", "leave one row for each"))


def _shown(config: "Config", key: bytes, text: str) -> str:
    return text if config.source is not None else _uuid(key)


def _uuid(key: bytes) -> str:
    # Numpy takes zeros off the end of bytes.
    return str(UUID(bytes=bytes(key).ljust(DIGEST_BYTES, b"\0")))


def _refuse_rows(piece: Piece, column: str, is_bad: pl.Series, what: str, needed: str, fix: str | None = None) -> None:
    rows = is_bad.arg_true().to_list()
    if rows:
        shown = ", ".join(f"{piece.first_row + row:,}" for row in rows[:SHOWN])
        more = f" and {len(rows) - SHOWN:,} more near them" if len(rows) > SHOWN else ""
        raise InputError(problem(f"{piece.path}, column '{column}'", f"{what} in row {shown}{more}", needed, fix))


def _refuse_strangers(config: "Config", num_rows: int) -> None:
    place = f"{config.path}, column '{config.id}'"
    if not num_rows:
        raise InputError(problem(config.path, "no row in it", "a row for every document"))
    whose = f"own ids of source {config.source}" if config.source is not None else "doc_ids of this recipe"
    fix = "look at documents in `provender sql`" if config.source is None else "look at the id that columns: maps"
    raise InputError(problem(place, f"none of {num_rows:,} ids belongs to a document", whose, fix))


def _require_rows(corpus: "Corpus", config: "Config", keys: Keys, is_lacking: NDArray[np.bool_]) -> None:
    if not is_lacking.any():
        return
    places = np.flatnonzero(is_lacking)
    # In the order of their ids, so that the same three are named for any shards.
    first = places[np.argsort(keys[places], kind="stable")[:SHOWN]]
    shards = list(corpus.shards)
    ends = np.cumsum([shard.num_rows for shard in shards])
    sources = [shards[int(np.searchsorted(ends, place, side="right"))].source for place in first]
    shown = ", ".join(f"{_uuid(keys[place])} ({source})" for place, source in zip(first, sources, strict=True))
    more = f" and {len(places) - SHOWN:,} more" if len(places) > SHOWN else ""
    found = f"no row for {shown}{more}"
    raise InputError(
        problem(config.path, found, "a row for every document with text", "add them, or set missing: null")
    )
