"""The one pass over all texts: digests, lengths, equal texts, and the bands of every distinct text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.annotate.near_dup import Config
from engine.annotate.near_dup.bands import TABLE_SHARE, BandTable, band_hashes, choose_bands
from engine.annotate.near_dup.brute_force import BruteForce
from engine.annotate.near_dup.minhash import sign_words
from engine.annotate.near_dup.planted import MOST_WORDS, Originals, is_original
from engine.base.hashing import DIGEST_BYTES, digests_of
from engine.base.progress import progress
from engine.formats.core_of_text import is_blank
from engine.run.dedup.equal_texts import NO_TEXT, EqualTexts
from engine.run.oneshot.texts import require_utf8
from engine.text.batches import TextRun, each_batch, text_bounds, word_room
from engine.text.words import num_characters, split_words


@dataclass(frozen=True, eq=False)
class Signed:
    """What is known of all documents after the pass.

    equal: documents of equal texts, those without text being NO_TEXT; table: bands, filled for the documents that came
    first with their text; num_bytes, num_chars: int64[num_documents], of UTF-8 and of code points.
    """

    equal: EqualTexts
    table: BandTable
    num_bytes: NDArray[np.int64]
    num_chars: NDArray[np.int64]
    originals: Originals


def sign(
    runs: Sequence[TextRun],
    num_documents: int,
    config: Config,
    brute_force: BruteForce,
    folder: Path,
    memory_bytes: int,
    jobs: int,
    place_of: Callable[[int], str],
) -> Signed:
    """Read all texts once, from `jobs` threads; raises InputError for a text that is no UTF-8.

    brute_force is shown all texts; folder, memory_bytes: where a table of bands goes that is too large for memory;
    place_of: what a document is called in an error.
    """
    bands, rows = choose_bands(config.verified_floor, config.recall, config.num_permutations)
    table = BandTable(num_documents, bands, folder, memory_bytes // TABLE_SHARE)
    equal = EqualTexts(num_documents)
    num_bytes, num_chars = np.zeros(num_documents, dtype=np.int64), np.zeros(num_documents, dtype=np.int64)
    originals: dict[int, NDArray[np.uint64]] = {}
    lock = Lock()

    def take(first: int, texts: pa.Array) -> None:
        end = first + len(texts)
        require_utf8(texts, first, place_of)
        if texts.null_count:
            texts = pc.fill_null(texts, "")
        bounds = text_bounds(texts)
        num_bytes[first:end] = np.diff(bounds)
        num_chars[first:end] = num_characters(texts)
        data = texts.buffers()[2]
        digests = np.frombuffer(digests_of(memoryview(data) if data is not None else b"", bounds.tolist()), np.uint64)
        is_new = equal.add(first, digests.reshape(-1, DIGEST_BYTES // 8))
        words = split_words(texts, chosen=is_new, room=word_room())
        signed = sign_words(words, config.ngram_words, bands * rows, config.num_permutations, config.seed)
        table.put(first, band_hashes(signed, bands, rows))
        brute_force.compare(first, words, equal.digests[first:end], is_new)
        without_words = np.flatnonzero(is_new & (words.num_words == 0))
        if len(without_words):
            # Nothing but white space is no text, and no duplicate of anything.
            blank = is_blank(pl.Series(pl.from_arrow(texts.take(pl.Series(without_words).to_arrow()))))
            equal.first_of[first + without_words[blank.to_numpy()]] = NO_TEXT
        chosen = is_new & is_original(equal.digests[first:end], num_documents) & (words.num_words <= MOST_WORDS)
        for place in np.flatnonzero(chosen):
            with lock:
                originals[first + int(place)] = words.hashes[words.offsets[place] : words.offsets[place + 1]].copy()
        bar.advance(len(texts))

    with progress("signing", num_documents, "documents") as bar:
        each_batch(runs, take, jobs)
    equal.release_table()
    _without_blank(equal)
    chosen = sorted(originals)
    return Signed(equal, table, num_bytes, num_chars, Originals(chosen, [originals[number] for number in chosen]))


def _without_blank(equal: EqualTexts) -> None:
    """Carry NO_TEXT from the document that came first with a text to all others."""
    has_text = equal.first_of != NO_TEXT
    equal.first_of[has_text] = np.where(
        equal.first_of[equal.first_of[has_text]] == NO_TEXT, NO_TEXT, equal.first_of[has_text]
    )
