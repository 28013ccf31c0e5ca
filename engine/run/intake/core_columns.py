"""The core columns of a table as it came from a reader: what the source states, digests, sizes."""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from engine.base.stage import SourceConfig
from engine.formats.columns import CORE, STATED
from engine.formats.core_of_text import digests, text_columns
from engine.formats.doc_ids import Digests, as_text
from engine.sources._columns import READ_PROBLEM, TEXT


@dataclass(frozen=True)
class CoreColumns:
    """The core columns of some documents, and what their ids are made of."""

    frame: pl.DataFrame
    """All core columns but doc_id."""
    text_keys: Digests
    """Digest of the text, blank or not; zeros where there is none."""
    own_ids: pl.Series | None
    """The documents' own ids as strings; None where the source has none."""


def column_mapping(config: SourceConfig) -> dict[str, str]:
    """Return core column -> column of the source, the reader's defaults included."""
    defaults: dict[str, str] = getattr(config, "default_columns", {"text": "text"})
    return defaults | config.columns


def core_columns(table: pa.Table, config: SourceConfig) -> CoreColumns:
    """Return the core columns of a table; a mapped column that it lacks is null.

    A column of the source that is called like a core column (license, url, date, language, domain) fills it, unless
    the recipe maps another column or states a constant. `text_digest` is null where the text is null or blank.
    """
    mapping = column_mapping(config)
    num_rows = table.num_rows
    text = _column(table, mapping["text"]).cast(TEXT)
    keys = digests(text)
    columns: dict[str, pl.Series] = {"source": pl.Series([config.name]).new_from_index(0, num_rows)}
    for name in STATED:
        columns[name] = _stated(table, name, mapping, getattr(config, name))
    columns |= {values.name: values for values in text_columns(text, keys=keys)}
    columns[READ_PROBLEM] = as_text(_column(table, READ_PROBLEM))
    frame = pl.DataFrame(columns).select([name for name in CORE if name != "doc_id"])
    own_ids = as_text(_column(table, mapping["id"])) if "id" in mapping else None
    return CoreColumns(frame, keys, own_ids)


def _stated(table: pa.Table, name: str, mapping: dict[str, str], constant: str | None) -> pl.Series:
    if name in mapping:
        return as_text(_column(table, mapping[name]))
    if constant is not None:
        return pl.Series([constant]).new_from_index(0, table.num_rows)
    return as_text(_column(table, name if name != mapping["text"] else ""))


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    return table.column(name) if name in table.column_names else pa.chunked_array([pa.nulls(table.num_rows)])
