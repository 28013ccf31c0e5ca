"""The token store: every rendered document once, whatever mixture or schedule uses it.

tokens/<digest>/
    documents.parquet   doc_id, source, offset (tokens from the start), num_tokens, supervised_tokens, num_bytes,
                        text_digest (of what was rendered: text or messages with their edits); in the order of doc_id
    control_tokens.parquet  doc_id, position, token: the control tokens of the documents that have any, after BOS
    look_alikes.parquet     doc_id, token, occurrences: text that spells a control or chat token, and is plain text
    ids.bin             token ids, uint16 or uint32 little-endian, documents one after the other
    supervised.bin      one bit per token, little bit order: may this token be a label?
    store.json          StoreMeta: dtype, tokenizer digest, EOS, BOS, what ends answers, render options, counts
    receipt.json

A document ends with EOS. Its first token and all control tokens are never labels. Every answer of a chat that is a
label ends with a label out of `stop_ids`.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from engine.base.errors import InputError, problem
from engine.base.stage import StrictModel
from engine.formats.json_model import read_model
from engine.formats.parquet import read_parquet
from engine.formats.receipt import read_receipt

DOCUMENTS_SCHEMA = {
    "doc_id": pl.Binary,
    "source": pl.String,
    "offset": pl.Int64,
    "num_tokens": pl.Int32,
    "supervised_tokens": pl.Int32,
    "num_bytes": pl.Int64,
    "text_digest": pl.Binary,
}
CONTROL_TOKENS_SCHEMA = {"doc_id": pl.Binary, "position": pl.Int32, "token": pl.String}
LOOK_ALIKES_SCHEMA = {"doc_id": pl.Binary, "token": pl.String, "occurrences": pl.Int64}
AGAIN = "delete the folder and run the data recipe again, which makes the same store"
CONTROL_TOKENS_FILE, LOOK_ALIKES_FILE = "control_tokens.parquet", "look_alikes.parquet"


class StoreMeta(StrictModel):
    """What store.json says."""

    digest: str = Field(description="digest of documents, tokenizer and render options")
    tokenizer: str = Field(description="digest of the tokenizer")
    eos_id: int
    bos_id: int | None = Field(default=None, description="the tokenizer's BOS; null where it has none")
    bos_documents: int = Field(default=0, description="documents that begin with it")
    stop_ids: list[int] = Field(
        default_factory=list,
        description="ids that end the answers of chats and are labels, ascending; [] without chats",
    )
    chat_template: str | None = Field(
        default=None,
        description="Jinja text that renders the chats, for the tokenizer of the trained model; null: no chats",
    )
    dtype: str = Field(description="uint16 or uint32")
    num_documents: int
    num_tokens: int
    render: dict[str, Any] = Field(default_factory=dict, description="BOS and control tokens: how text became ids")


@dataclass(frozen=True)
class TokenStore:
    """A finished token store; ids and supervised bits are memory-mapped."""

    folder: Path
    meta: StoreMeta

    def documents(self, columns: list[str] | None = None) -> pl.DataFrame:
        """Return the documents (DOCUMENTS_SCHEMA, or some of its columns), in the order of doc_id."""
        return read_parquet(self.folder / "documents.parquet", columns, AGAIN)

    @cached_property
    def ids(self) -> np.ndarray:
        """All token ids, one dimension, memory-mapped."""
        return (
            np.memmap(self.folder / "ids.bin", dtype=self.meta.dtype, mode="r")
            if self.meta.num_tokens
            else np.zeros(0, self.meta.dtype)
        )

    @cached_property
    def _bits(self) -> np.ndarray:
        return np.memmap(self.folder / "supervised.bin", dtype=np.uint8, mode="r")

    def supervised(self, start: int, length: int) -> np.ndarray:
        """Return bool[length]: which of the tokens from `start` (in the whole store) may be labels."""
        first, last = start // 8, (start + length + 7) // 8
        bits = np.unpackbits(self._bits[first:last], bitorder="little")
        return bits[start - first * 8 :][:length].astype(bool)

    def spans(self, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of spans, one span after the other: int64[sum(lengths)] ids, and bool: which are labels.

        starts: first tokens in the whole store; lengths: at least 1. The first token of a span is no label: nothing in
        the span comes before it.
        """
        firsts = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(starts - firsts, lengths)
        is_label = ((self._bits[places >> 3] >> (places & 7).astype(np.uint8)) & 1).astype(bool)
        is_label[firsts] = False
        return self.ids[places].astype(np.int64), is_label


def open_token_store(folder: Path) -> TokenStore:
    """Open a finished token store; raises InputError where a file is missing or has another size than it was written.

    What else became of its bytes `provender mixture verify` finds.
    """
    receipt = read_receipt(folder)
    if receipt is None:
        raise InputError(problem(folder, "no finished token store", fix="run the data recipe again"))
    meta = read_model(folder / "store.json", StoreMeta, AGAIN)
    sizes = {"ids.bin": meta.num_tokens * np.dtype(meta.dtype).itemsize, "supervised.bin": (meta.num_tokens + 7) // 8}
    sizes |= receipt.details.get("bytes", {})
    for name, size in sizes.items():
        actual = (folder / name).stat().st_size if (folder / name).is_file() else None
        if actual != size:
            found = "it is gone" if actual is None else f"it was cut short or changed: {actual:,} bytes"
            raise InputError(problem(folder / name, found, f"{size:,} bytes", AGAIN))
    return TokenStore(folder, meta)
