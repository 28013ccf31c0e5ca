"""The core columns of a table as it came from a reader: what the source states, digests, sizes."""

import json
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from engine.base.stage import SourceConfig
from engine.formats.columns import CORE, STATED
from engine.formats.core_of_text import Digests, digests, text_columns
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
    columns |= text_columns(text, keys)
    columns[READ_PROBLEM] = as_text(_column(table, READ_PROBLEM))
    frame = pl.DataFrame(columns).select([name for name in CORE if name != "doc_id"])
    own_ids = as_text(_column(table, mapping["id"])) if "id" in mapping else None
    return CoreColumns(frame, keys, own_ids)


def as_text(column: pa.ChunkedArray) -> pl.Series:
    """Return any column as strings: numbers in decimal (1.0 as 1), times in ISO 8601, nested values as JSON."""
    kind = column.type
    if pa.types.is_null(kind):
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(column))
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pl.Series(pl.from_arrow(column.cast(TEXT)))
    if pa.types.is_integer(kind):
        return pl.Series(pl.from_arrow(column)).cast(pl.String)
    if pa.types.is_timestamp(kind):
        zone = "%:z" if kind.tz is not None else ""
        return pl.Series(pl.from_arrow(column)).dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    return pl.Series([None if value is None else _scalar_text(value) for value in column.to_pylist()], dtype=pl.String)


def _scalar_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_scalar_text)
    return str(value)


def _stated(table: pa.Table, name: str, mapping: dict[str, str], constant: str | None) -> pl.Series:
    if name in mapping:
        return as_text(_column(table, mapping[name]))
    if constant is not None:
        return pl.Series([constant]).new_from_index(0, table.num_rows)
    return as_text(_column(table, name if name != mapping["text"] else ""))


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    return table.column(name) if name in table.column_names else pa.chunked_array([pa.nulls(table.num_rows)])
