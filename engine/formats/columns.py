"""The core columns of a document: name, type, unit and meaning.

What the source states goes into these columns, else they are null; what we find out goes into `<stage>__<what>`.
"""

from typing import Literal, get_args

import polars as pl

from engine.base.stage import Column

CORE = {
    "doc_id": Column(pl.Binary, "128-bit hash of (source, the document's own id), or of (source, text, rank)"),
    "source": Column(pl.String, "name of the source in the recipe"),
    "license": Column(pl.String, "licence as the source states it, SPDX where it can be"),
    "url": Column(pl.String, "where the document came from"),
    "date": Column(pl.String, "date as the source states it, ISO 8601 where it can be"),
    "language": Column(pl.String, "language as the source states it, BCP 47 where it can be"),
    "domain": Column(pl.String, "domain as the source states it"),
    "text_digest": Column(pl.Binary, "128-bit BLAKE3 of the UTF-8 text; null where there is no text"),
    "num_bytes": Column(pl.Int64, "bytes of the UTF-8 text, 0 where there is none"),
    "num_chars": Column(pl.Int64, "characters (code points) of the text, 0 where there is none"),
    "read_problem": Column(pl.String, "why the row could not be read (a drop reason), else null"),
}
ReadProblem = Literal[
    "broken_document",
    "broken_json",
    "broken_row",
    "invalid_utf8",
    "no_content",
    "no_messages",
    "no_role",
    "not_an_object",
    "text_not_a_string",
    "tool_calls",
    "unknown_role",
]
"""Why a row could not be read; a drop reason that no rule may have."""
READ_PROBLEMS: tuple[str, ...] = get_args(ReadProblem)
STATED = ("license", "url", "date", "language", "domain")
"""Core columns a source may map from its own columns or state as one constant."""
