"""The compiled loops that make n-grams and their sets from word hashes; `engine.text.words` says what they are."""

import numpy as np

from engine.text.kernels import SEED, Hashes, Places, absorb, finish, kernel

_BLOCK_NGRAMS = 1024
MAX_BUCKET_BITS = 18
_MAX_INSERTION = 24
_ONE = np.uint64(1)


@kernel
def ngrams(word_offsets: Places, word_hashes: Hashes, ngram_words: int, offsets: Places, hashes: Hashes) -> None:
    """Write the n-gram hashes of document d, in the order of its text, from hashes[offsets[d]] on."""
    for document in range(len(offsets) - 1):
        words = word_hashes[word_offsets[document] : word_offsets[document + 1]]
        hash_ngrams(words, ngram_words, hashes[offsets[document] : offsets[document + 1]])


@kernel
def hash_ngrams(word_hashes: Hashes, ngram_words: int, out: Hashes) -> None:
    """Fill `out` with the hashes of the n-grams that begin at words 0, 1, ...

    One word of many n-grams at a time: this compiles to vector instructions, and a block stays in the first
    cache.
    """
    for begin in range(0, len(out), _BLOCK_NGRAMS):
        block = out[begin : begin + _BLOCK_NGRAMS]
        block[:] = SEED
        for place in range(ngram_words):
            words = word_hashes[begin + place : begin + place + len(block)]
            for ngram in range(len(block)):
                block[ngram] = absorb(block[ngram], words[ngram])
        for ngram in range(len(block)):
            block[ngram] = finish(block[ngram])


@kernel
def shingles(
    word_offsets: Places, word_hashes: Hashes, ngram_words: int,
    offsets: Places, hashes: Hashes, scratch: Hashes,
) -> None:  # fmt: skip
    """Write the sorted set of n-gram hashes of document d from hashes[offsets[d]] on, and `offsets`."""
    heads = np.empty((1 << MAX_BUCKET_BITS) + 1, dtype=np.int64)
    for document in range(len(offsets) - 1):
        words = word_hashes[word_offsets[document] : word_offsets[document + 1]]
        length = min(ngram_words, len(words))
        hashed = scratch[: len(words) - length + 1 if length > 0 else 0]
        hash_ngrams(words, length, hashed)
        first = offsets[document]
        offsets[document + 1] = first + _sorted_set(hashed, hashes[first:], heads)


@kernel
def _sorted_set(values: Hashes, out: Hashes, heads: Places) -> int:
    """Write the distinct `values` in ascending order to `out`, return how many.

    Hashes are uniform, so one counting pass over their top bits leaves buckets of about one: linear time.
    """
    bits = 1
    while bits < MAX_BUCKET_BITS and 1 << bits < len(values):
        bits += 1
    shift = np.uint64(64 - bits)
    heads[: (1 << bits) + 1] = 0
    for value in values:
        heads[(value >> shift) + _ONE] += 1
    for bucket in range(1 << bits):
        heads[bucket + 1] += heads[bucket]
    for value in values:
        bucket = value >> shift
        out[heads[bucket]] = value
        heads[bucket] += 1
    _sort_buckets(out[: len(values)], heads[: 1 << bits])
    num_distinct = 0
    for place in range(len(values)):
        # The value is written in any case and stays where another one follows: no branch to mispredict.
        value = out[place]
        out[num_distinct] = value
        num_distinct += place + 1 == len(values) or out[place + 1] != value
    return num_distinct


@kernel
def _sort_buckets(values: Hashes, bucket_ends: Places) -> None:
    """Sort values that are already in ascending buckets."""
    begin = 0
    for end in bucket_ends:
        if end - begin > _MAX_INSERTION:
            # Repeated n-grams, or a huge document: insertion would take quadratic time.
            values[begin:end].sort()
        begin = end
    for at in range(1, len(values)):
        value, hole = values[at], at
        while hole > 0 and values[hole - 1] > value:
            values[hole] = values[hole - 1]
            hole -= 1
        values[hole] = value
