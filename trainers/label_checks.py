"""What can be wrong with labels while the loss curve looks healthy: looked for in every document before a run starts.

- a document without a label, which only costs time, or says that a mask was lost
- an answer that ends without a stop token as its last label: a model would never learn to stop
- two BOS in front, which no model sees anywhere else

Documents are read as they stand in the token store, in blocks of BLOCK_TOKENS, without a loop over documents.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.errors import AuditError, problem
from engine.formats.doc_ids import id_text
from engine.formats.token_store import TokenStore
from engine.formats.tokenizer import Tokenizer, special_pieces

if TYPE_CHECKING:
    from engine.formats.training_rows import TrainingRows

BLOCK_TOKENS = 1 << 24
MOST_NAMED = 3
"""Documents an error names of each kind."""
OF_TEXTS = "text"
"""The objective (engine.formats.manifest.OBJECTIVES) under which every token is a label."""
NO_LABEL = "has no label: none of its tokens would be learnt"
NEVER_STOPS = "has an answer whose stop token is no label: a model would not learn to stop"
NO_EOS = "does not end with EOS as a label: a model would not learn where texts end"
TWO_BOS = "begins with two BOS"
_NEEDED = {
    NO_LABEL: "at least one",
    NEVER_STOPS: "a stop token as the last label of every answer",
    NO_EOS: "EOS as the last label",
    TWO_BOS: "one BOS at most",
}


def require_sound_labels(rows: "TrainingRows", tokenizer: Tokenizer) -> list[int]:
    """Look at every document of the mixture; return the ids that end the answers of its chats, ascending.

    Raises one AuditError that names, of each kind of fault, the first documents by doc_id with their sources.
    """
    documents, store = _documents(rows), rows.store
    special = np.fromiter(special_pieces(tokenizer), np.int64)
    control = np.fromiter(tokenizer.meta.control_tokens.values(), np.int64)
    stops = np.array(store.meta.stop_ids, np.int64) if store.meta.stop_ids else special
    found: dict[str, list[int]] = {kind: [] for kind in _NEEDED}
    seen: set[int] = set()
    for block in _blocks(documents, store):
        ends = block.answer_ends()
        seen |= set(np.unique(block.ids[ends]).tolist())
        endless = block.owner(ends[~np.isin(block.ids[ends], stops)])
        faults = {
            NO_LABEL: block.unlabelled(),
            NEVER_STOPS: np.unique(endless),
            NO_EOS: block.without_eos(store.meta.eos_id),
            TWO_BOS: block.with_two_bos(special, control),
        }
        for kind, positions in faults.items():
            found[kind] += (positions + block.first).tolist()
    _refuse(rows, documents, found)
    return sorted(seen)


@dataclass(frozen=True)
class _Block:
    """Documents that lie near each other in the store; T tokens, D documents of the mixture, positions into T."""

    first: int
    """Position of the first document in the table of all."""
    ids: NDArray[np.int64]
    is_label: NDArray[np.bool_]
    starts: NDArray[np.int64]
    """int64[D]: first token of each."""
    ends: NDArray[np.int64]
    """int64[D]: behind the last token of each."""
    is_chat: NDArray[np.bool_]
    """bool[D]: only answers are supervised."""

    def owner(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the document each token is in, -1 for those of documents that are not in the mixture."""
        found = np.searchsorted(self.starts, places, side="right") - 1
        return np.where(places < self.ends[found], found, -1)

    def answer_ends(self) -> NDArray[np.int64]:
        """Return the last token of every run of labels in a chat."""
        goes_on = np.append(self.is_label[1:], False)
        goes_on[self.ends - 1] = False
        places = np.flatnonzero(self.is_label & ~goes_on)
        owner = self.owner(places)
        return places[(owner >= 0) & self.is_chat[owner]]

    def unlabelled(self) -> NDArray[np.int64]:
        counted = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.is_label)])
        return np.flatnonzero(counted[self.ends] == counted[self.starts])

    def without_eos(self, eos_id: int) -> NDArray[np.int64]:
        last = self.ends - 1
        return np.flatnonzero(~self.is_chat & ~((self.ids[last] == eos_id) & self.is_label[last]))

    def with_two_bos(self, special: NDArray[np.int64], control: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the documents that begin, control tokens apart, with the same special token twice."""
        first = self._behind_control(self.starts, control)
        second = self._behind_control(np.minimum(first + 1, self.ends - 1), control)
        opening = self.ids[first]
        return np.flatnonzero((first < second) & (opening == self.ids[second]) & np.isin(opening, special))

    def _behind_control(self, places: NDArray[np.int64], control: NDArray[np.int64]) -> NDArray[np.int64]:
        while True:
            steps = np.isin(self.ids[places], control) & (places < self.ends - 1)
            if not steps.any():
                return places
            places = places + steps


def _documents(rows: "TrainingRows") -> pl.DataFrame:
    """Return doc_id, source, is_chat, offset and num_tokens of each document of the mixture, in store order."""
    objective = {source.source: source.objective for source in rows.mixture.manifest.sources}
    chats = [name for name, what in objective.items() if what != OF_TEXTS]
    used = rows.mixture.documents().select("store_row", "doc_id", "source").unique("store_row").sort("store_row")
    stored = rows.store.documents().select("offset", "num_tokens")[used.get_column("store_row")]
    return pl.concat([used, stored], how="horizontal").with_columns(pl.col("source").is_in(chats).alias("is_chat"))


def _blocks(documents: pl.DataFrame, store: TokenStore) -> Iterator[_Block]:
    offsets = documents.get_column("offset").to_numpy()
    ends = offsets + documents.get_column("num_tokens").to_numpy()
    is_chat = documents.get_column("is_chat").to_numpy()
    first = 0
    while first < len(offsets):
        start = int(offsets[first])
        last = max(first + 1, int(np.searchsorted(ends, start + BLOCK_TOKENS, side="right")))
        stop = int(ends[last - 1])
        yield _Block(
            first=first,
            ids=store.ids[start:stop].astype(np.int64),
            is_label=store.supervised(start, stop - start),
            starts=offsets[first:last] - start,
            ends=ends[first:last] - start,
            is_chat=is_chat[first:last],
        )
        first = last


def _refuse(rows: "TrainingRows", documents: pl.DataFrame, found: dict[str, list[int]]) -> None:
    fix = "delete the token store and run the data recipe again, which makes it anew"
    texts = []
    for kind, positions in found.items():
        named = documents[positions].sort("doc_id").head(MOST_NAMED)
        more = f" ({len(positions):,} documents)" if len(positions) > named.height else ""
        for doc_id, source in named.select("doc_id", "source").iter_rows():
            place = f"{rows.mixture.reference}, document {id_text(doc_id)} of source {source}"
            texts.append(problem(place, f"it {kind}{more}", _NEEDED[kind], f"{fix}: {rows.store.folder}"))
            more = ""
    if texts:
        raise AuditError("\n".join(texts))
