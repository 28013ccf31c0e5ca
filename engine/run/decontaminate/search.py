"""The one pass over all texts: what each document holds of an index; then, over the whole corpus, what of it counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.annotate.contamination.coverage import BURIED_CHARS, PLANTED_ITEMS
from engine.annotate.contamination.index import Index
from engine.annotate.contamination.judge import judge
from engine.annotate.contamination.search import MATCHES, search
from engine.base.hashing import DIGEST_BYTES, digests_of
from engine.base.progress import progress
from engine.formats.core_of_text import is_blank
from engine.run.oneshot.inputs import Input
from engine.run.oneshot.texts import require_utf8, text_runs
from engine.text.batches import each_batch, text_bounds

DOCUMENT = {"document": pl.Int64}
BEST_FIRST = {"document": False, "score": True, "benchmark": False, "item": False, "kind": False}
"""Order of hits -> whether descending."""


@dataclass(frozen=True, eq=False)
class Searched:
    """What is known of all documents after the pass.

    matches: search.MATCHES with `document` (int64) for row, in any order; counts: int64[index.num_ngrams], documents
    that have an n-gram, of `num_with_text` that have any text; num_bytes: of all texts, UTF-8; hosts: texts without a
    match, to plant copies in.
    """

    num_documents: int
    num_with_text: int
    num_bytes: int
    matches: pl.DataFrame
    counts: NDArray[np.int64]
    hosts: list[str]


def search_all(files: Sequence[Input], text_column: str, index: Index, threads: int) -> Searched:
    """Search all texts once, from `threads` threads; raises InputError for a text that is no UTF-8."""
    num_documents = sum(one.num_rows for one in files)
    counts, hosts = np.zeros(index.num_ngrams, dtype=np.int64), _Hosts()
    schema = DOCUMENT | {name: kind for name, kind in MATCHES.items() if name != "row"}
    matches = [pl.DataFrame(schema=schema)]
    sums = {"with_text": 0, "bytes": 0}
    lock = Lock()

    def place_of(document: int) -> str:
        return next(one for one in files if document < one.first + one.num_rows).place_of(document)

    def take(first: int, texts: pa.Array) -> None:
        require_utf8(texts, first, place_of)
        found = search(texts, index)
        has_text = ~is_blank(pl.Series(pl.from_arrow(texts))).to_numpy()
        own = found.matches.with_columns(document=pl.col("row").cast(pl.Int64) + first).select(list(schema))
        has_no_match = has_text.copy()
        has_no_match[found.matches["row"].to_numpy()] = False
        hosts.offer(texts, has_no_match)
        with lock:
            matches.append(own)
            # Not a bincount: there are far fewer n-grams in a batch than in the index.
            np.add.at(counts, found.ngrams["ngram"].to_numpy(), 1)
            sums["with_text"] += int(has_text.sum())
            sums["bytes"] += int(np.diff(text_bounds(texts)[[0, -1]])[0])
        bar.advance(len(texts))

    with progress("searching", num_documents, "documents") as bar:
        each_batch(text_runs(files, text_column), take, threads)
    return Searched(num_documents, sums["with_text"], sums["bytes"], pl.concat(matches), counts, hosts.texts())


def hits_of(searched: Searched, index: Index) -> pl.DataFrame:
    """Return the matches that are contamination, by document and best first.

    document, benchmark, item (its name), kind, score, evidence, spans (bytes of the text).
    """
    hits = judge(searched.matches, index, searched.counts, searched.num_with_text)
    items = index.items.select("benchmark", pl.col("item").alias("name"))[hits["item"]]
    named = hits.drop("item").hstack(items).rename({"name": "item"})
    return named.select("document", "benchmark", "item", "kind", "score", "evidence", "spans").sort(
        list(BEST_FIRST), descending=list(BEST_FIRST.values())
    )


class _Hosts:
    """The texts with the smallest digests, whoever comes with them first: the same for any threads and files."""

    def __init__(self) -> None:
        self._texts: dict[bytes, str] = {}
        self._largest = np.uint64(2**64 - 1)
        self._lock = Lock()

    def offer(self, texts: pa.Array, may: NDArray[np.bool_]) -> None:
        """Look at the texts that may be hosts: bool[len(texts)]."""
        data = texts.buffers()[2]
        digests = digests_of(memoryview(data) if data is not None else b"", text_bounds(texts).tolist())
        beginnings = np.frombuffer(digests, dtype=">u8")[:: DIGEST_BYTES // 8]
        for row in np.flatnonzero(may & (beginnings <= self._largest)).tolist():
            digest = digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]
            self._keep(digest, texts[row].as_py()[:BURIED_CHARS])

    def _keep(self, digest: bytes, text: str) -> None:
        with self._lock:
            self._texts[digest] = text
            if len(self._texts) > PLANTED_ITEMS:
                del self._texts[max(self._texts)]
                self._largest = np.uint64(int.from_bytes(max(self._texts)[:8]))

    def texts(self) -> list[str]:
        """Return them by digest."""
        return [self._texts[digest] for digest in sorted(self._texts)]
