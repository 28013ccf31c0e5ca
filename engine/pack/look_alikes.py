"""Text that looks like a control or chat token: counted, never obeyed.

The encoder makes plain text of it (engine.formats.tokenizer); here is counted how often a text spells one, so that
a corpus with leftovers of chats, or with somebody's attempt to forge a tag, is noticed.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.errors import InputError, problem
from engine.formats.doc_ids import id_text
from engine.formats.markers import CHAT_MARKERS
from engine.formats.token_store import LOOK_ALIKES_SCHEMA
from engine.formats.tokenizer import Tokenizer, special_pieces


class LookAlikes:
    """The spellings of a tokenizer's special tokens, of the slots its tags took, and of widespread chat markers."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Collect the spellings."""
        meta = tokenizer.meta
        pieces = {*special_pieces(tokenizer).values(), *CHAT_MARKERS, *meta.control_tokens}
        pieces |= {slot for slot in meta.slots.values() if slot is not None}
        # The longest first: of two that begin at one place the longer counts.
        self.spellings = sorted(pieces, key=lambda piece: (-len(piece), piece))

    def count(self, documents: pl.DataFrame) -> pl.DataFrame:
        """Return doc_id, token, occurrences (LOOK_ALIKES_SCHEMA) of the documents (doc_id, text) that hold any.

        Occurrences do not overlap; of two that begin at one place the longer counts. In no particular order.
        """
        held = documents.filter(documents["text"].str.contains_any(self.spellings))
        found = held.select("doc_id", token=held["text"].str.extract_many(self.spellings, leftmost=True))
        counted = found.explode("token").group_by("doc_id", "token").agg(pl.len().alias("occurrences"))
        return counted.cast(pl.Schema(LOOK_ALIKES_SCHEMA))


class SpecialIds:
    """The ids no text may be encoded to."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Make the table that is looked up."""
        self._pieces = special_pieces(tokenizer)
        self._place = tokenizer.folder
        self._is_special = np.zeros(tokenizer.meta.vocab_size, dtype=np.bool_)
        self._is_special[list(self._pieces)] = True

    def require_none(self, encoded: Iterable[NDArray[np.int32]], documents: pl.DataFrame) -> None:
        """Raise InputError where a text became a special token, which it then could forge.

        documents: doc_id, source; the document of each text.
        """
        for row, ids in enumerate(encoded):
            if self._is_special[ids].any():
                piece = self._pieces[int(ids[self._is_special[ids]][0])]
                doc_id, source = id_text(documents["doc_id"][row]), documents["source"][row]
                found = f"document {doc_id} of source {source} is encoded to the special token '{piece}'"
                needed = "a tokenizer that splits special tokens in texts like any other characters, so none is forged"
                raise InputError(
                    problem(self._place, found, needed, "use another tokenizer, or leave out the document")
                )
