"""Words of documents, and hashes of words and word n-grams: the one splitter that every stage uses.

Words are the maximal runs of letters, numbers and marks (Unicode 14.0.0 categories L*, N*, M*; all else
separates, also `_`) of the text after full case folding (`str.casefold`: sharp s becomes ss). Nothing is
normalised: a precomposed and a decomposed accent differ. In scripts written without spaces (Han, Hiragana,
Katakana, Thai, Lao, Khmer, Myanmar; the ranges are `unicode_tables.SOLO_RANGES`) every letter or number is a
word of its own, also beside Latin letters. A mark belongs to the word it follows, whatever its script: a Thai
vowel sign or tone, a combining kana voicing mark or a variation selector goes with the character before it. A
mark after a separator opens a run. Bytes that are not UTF-8 separate.

Hashes are the same on every machine, in every version. All arithmetic is modulo 2**64:

    absorb(h, v) = g ^ (g >> 32)  with  g = (h ^ v) * 0xFF51AFD7ED558CCD
    finish(h)    = MurmurHash3's 64-bit finaliser: h ^= h >> 33; h *= 0xFF51AFD7ED558CCD; h ^= h >> 33;
                   h *= 0xC4CEB9FE1A85EC53; h ^= h >> 33
    word hash    = finish(absorb(... absorb(absorb(0, b1), b2) ..., bn)), b1..bn the UTF-8 bytes of the folded
                   word, eight at a time as little-endian integers, the last filled up with zero bytes
    word n-gram hash  = the same over the hashes of its n words, in their order

No word holds a zero byte, so different words have different b1..bn. `absorb` is a bijection in either argument, so the
hashes of two different words or n-grams meet with a probability of about 2**-64. They are not meant to resist an
adversary.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.text.shingling import ngrams, shingles
from engine.text.splitting import count_characters, split
from engine.text.unicode_tables import UnicodeTables, unicode_tables


@dataclass(frozen=True, eq=False)
class Words:
    """The words of documents: those of document d stand at offsets[d] : offsets[d + 1].

    offsets: int64[num_documents + 1]; hashes: uint64[all words]; starts, ends: int64[all words], byte offsets
    of each word in the UTF-8 text of its own document; chars: uint32[all words], characters (code points) of each word
    as it is folded, so that equal words have equal lengths (None unless asked for).
    """

    offsets: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64] | None = None
    ends: NDArray[np.int64] | None = None
    chars: NDArray[np.uint32] | None = None

    @property
    def num_words(self) -> NDArray[np.int64]:
        """Number of words of each document: int64[num_documents]."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class ShingleSets:
    """Sets of shingle hashes: that of document d is hashes[offsets[d] : offsets[d + 1]], ascending, no
    repeats.

    offsets: int64[num_documents + 1]; hashes: uint64[all shingles].
    """

    offsets: NDArray[np.int64]
    hashes: NDArray[np.uint64]


def split_words(
    texts: pa.Array | pa.ChunkedArray,
    with_positions: bool = False,
    chosen: NDArray[np.bool_] | None = None,
    room: NDArray[np.uint64] | None = None,
    with_chars: bool = False,
) -> Words:
    """Return the words of each text; a null text has none.

    chosen: bool[num_documents]; a text that is not chosen has no words and is not read. room: uint64, where hashes go
    if they fit (one for two bytes), so that no fresh memory is touched; they last until it is used again. Reads the
    Arrow buffers in place. Raises TypeError unless `texts` is of type string or large_string.
    """
    return split_by_tables(texts, unicode_tables(), with_positions, chosen, room, with_chars)


def num_characters(texts: pa.Array) -> NDArray[np.int64]:
    """Return the code points of each text, 0 of a null: int64[num_documents]."""
    data, begins, ends = _buffers(texts)
    counts = np.empty(len(texts), dtype=np.int64)
    count_characters(data, begins, ends, counts)
    return counts


def split_by_tables(
    texts: pa.Array | pa.ChunkedArray,
    tables: UnicodeTables,
    with_positions: bool,
    chosen: NDArray[np.bool_] | None = None,
    room: NDArray[np.uint64] | None = None,
    with_chars: bool = False,
) -> Words:
    """Return the words that other tables make of the texts; else as `split_words`."""
    if chosen is not None and chosen.shape != (len(texts),):
        raise ValueError(f"chosen: got {chosen.shape[0]} values. Needed: one for each of {len(texts)} texts.")
    parts = []
    document = 0
    for chunk in texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]:
        data, begins, text_ends = _buffers(chunk)
        if chosen is not None:
            text_ends = np.where(chosen[document : document + len(chunk)], text_ends, begins)
        parts.append((document, data, begins, text_ends))
        document += len(chunk)
    # Two words need a byte between them, or three bytes for a word that needs none.
    most_words = sum(int(((text_ends - begins + 1) // 2).sum()) for _, _, begins, text_ends in parts)
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    has_room = room is not None and len(room) >= most_words
    hashes = room if room is not None and has_room else np.empty(most_words, dtype=np.uint64)
    starts, ends = (np.empty(most_words, dtype=np.int64) if with_positions else None for _ in range(2))
    chars = np.empty(most_words, dtype=np.uint32) if with_chars else None
    for document, data, begins, text_ends in parts:
        split(
            data, begins, text_ends, tables.entries, tables.foldings.ravel(), offsets[document:], hashes,
            starts, ends, chars,
        )  # fmt: skip
    if has_room:
        return Words(offsets, hashes[: offsets[-1]], *_shrunk(offsets[-1], starts, ends, chars))
    return Words(offsets, *_shrunk(offsets[-1], hashes, starts, ends, chars))


def shingle_sets(words: Words, ngram_words: int) -> ShingleSets:
    """Return each document's set of word n-gram hashes, n = `ngram_words` >= 1.

    A document with fewer words than n has one shingle over all of them; without words its set is empty.
    """
    _check_ngram_words(ngram_words)
    num_words = words.num_words
    most = np.where(num_words == 0, 0, np.maximum(num_words - ngram_words + 1, 1))
    offsets = np.zeros(len(words.offsets), dtype=np.int64)
    hashes = np.empty(int(most.sum()), dtype=np.uint64)
    scratch = np.empty(int(most.max(initial=0)), dtype=np.uint64)
    shingles(words.offsets, words.hashes, ngram_words, offsets, hashes, scratch)
    return ShingleSets(offsets, *_shrunk(offsets[-1], hashes))


def ngram_hashes(words: Words, ngram_words: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return (offsets int64[num_documents + 1], hashes uint64) of all word n-grams in the order of the text.

    The n-gram at offsets[d] + k begins at word k of document d. A document with fewer words than n has none.
    """
    _check_ngram_words(ngram_words)
    offsets = np.zeros(len(words.offsets), dtype=np.int64)
    np.cumsum(np.maximum(words.num_words - ngram_words + 1, 0), out=offsets[1:])
    hashes = np.empty(int(offsets[-1]), dtype=np.uint64)
    ngrams(words.offsets, words.hashes, ngram_words, offsets, hashes)
    return offsets, hashes


def _check_ngram_words(ngram_words: int) -> None:
    if ngram_words < 1:
        raise ValueError(f"ngram_words: got {ngram_words}. Needed: at least 1 (words).")


def _buffers(texts: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Return (bytes, begin of each text, end of each text) of one Arrow array; nulls are empty."""
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        raise TypeError(f"texts: got {texts.type}. Needed: string or large_string. Fix: cast to one.")
    if len(texts) == 0:
        return np.frombuffer(b"", np.uint8), np.empty(0, np.int64), np.empty(0, np.int64)
    _, offset_buffer, data_buffer = texts.buffers()
    all_edges = np.frombuffer(offset_buffer, dtype=np.int32 if pa.types.is_string(texts.type) else np.int64)
    edges = all_edges[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    data = np.frombuffer(b"" if data_buffer is None else data_buffer, dtype=np.uint8)
    # All alike, or numba compiles the kernels once more for arrays that can be written.
    data.flags.writeable = False
    begins, ends = edges[:-1], edges[1:]
    if texts.null_count:
        # A null may own bytes: Arrow leaves what lies under it undefined.
        ends = np.where(texts.is_valid().to_numpy(zero_copy_only=False), ends, begins)
    return data, begins, ends


def _shrunk(length: int, *arrays: NDArray[Any] | None) -> tuple[Any, ...]:
    """Cut arrays that nobody else holds yet to `length`, in place: untouched pages go back without a copy."""
    for array in arrays:
        if array is not None:
            array.resize(int(length), refcheck=False)
    return arrays
