"""MinHash signatures of shingle sets, bit-equal to `datasketch` >= 2 with scheme `affine32`.

A signature holds, per permutation, the least value a permutation of the 32-bit integers takes on the set; the
fraction of equal places of two signatures estimates the Jaccard similarity, with standard deviation sqrt(J *
(1 - J) / P). Source: Broder 1997; the scheme and its random draws are those of `datasketch.MinHash`:

    x    = low 32 bits of the 64-bit shingle hash          (the `hashfunc` to give datasketch: h & 0xFFFFFFFF)
    m    = MurmurHash3's 32-bit finaliser of x
    s[k] = min over the set of a[k] * m + b[k] mod 2**32, a[k] odd

    datasketch.MinHash(num_perm=P, seed=S, scheme="affine32", hashfunc=lambda h: h &
    0xFFFFFFFF).update(shingle_hash)

A set without shingles has the signature 2**32 - 1 in every place; `bands` never proposes it.
"""

from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from engine.text.kernels import Hashes, Places, inlined, kernel
from engine.text.shingling import hash_ngrams
from engine.text.words import ShingleSets, Words

Signature = NDArray[np.uint32]
EMPTY = np.uint32(0xFFFFFFFF)
_SHINGLES_PER_PASS = 8
_LANES = 32
"""Permutations come in multiples of this: what the compiled loop takes at a time, the rest it would take one by one."""
_BLOCK_SHINGLES = 1024


def signatures(sets: ShingleSets, num_permutations: int = 256, seed: int = 1) -> NDArray[np.uint32]:
    """Return the signature of each set: uint32[num_documents, num_permutations], 4 bytes a permutation."""
    factors, addends = _used_permutations(num_permutations, num_permutations, seed)
    signed = np.full((len(sets.offsets) - 1, num_permutations), EMPTY, dtype=np.uint32)
    _sign(sets.offsets, sets.hashes, factors, addends, signed)
    return signed


def sign_words(
    words: Words, ngram_words: int, used: int | None = None, num_permutations: int = 256, seed: int = 1
) -> NDArray[np.uint32]:
    """Return the first `used` values of the signatures of the shingle sets: uint32[num_documents, used].

    The same as `signatures(shingle_sets(words, ngram_words), num_permutations, seed)[:, :used]`, without making the
    sets: a shingle that comes twice changes no minimum, and sorting costs more than taking it again.
    """
    if ngram_words < 1:
        raise ValueError(f"ngram_words: got {ngram_words}. Needed: at least 1 (words).")
    used = num_permutations if used is None else used
    factors, addends = _used_permutations(num_permutations, used, seed)
    signed = np.full((len(words.offsets) - 1, used), EMPTY, dtype=np.uint32)
    _sign_words(words.offsets, words.hashes, ngram_words, factors, addends, signed)
    return signed


def store_signatures(signed: NDArray[np.uint32]) -> pl.Series:
    """Return signatures uint32[num_documents, num_permutations] as binary values, null for those without shingles."""
    width = signed.shape[1] * 4
    values = pa.Array.from_buffers(pa.binary(width), len(signed), [None, pa.py_buffer(np.ascontiguousarray(signed))])
    series = pl.Series("signature", pl.from_arrow(values), dtype=pl.Binary)
    return series.to_frame().select(pl.when(pl.Series((signed != EMPTY).any(axis=1))).then("signature")).to_series()


def load_signatures(stored: pl.Series, chosen: NDArray[np.bool_], num_permutations: int) -> NDArray[np.uint32]:
    """Return what `store_signatures` was given for the documents `chosen`, bool; EMPTY everywhere for all others."""
    signed = np.full((len(stored), num_permutations), EMPTY, dtype=np.uint32)
    chosen = chosen & stored.is_not_null().to_numpy()
    values = stored.filter(pl.Series(chosen)).to_arrow().cast(pa.binary(num_permutations * 4))
    if len(values):
        data = np.frombuffer(values.buffers()[1], dtype=np.uint32, count=len(values) * num_permutations)
        signed[chosen] = data.reshape(-1, num_permutations)
    return signed


@cache
def _permutations(num_permutations: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    # RandomState is frozen by numpy's compatibility policy (NEP 19), so these draws never change.
    generator = np.random.RandomState(seed)
    factors = generator.randint(0, 1 << 31, num_permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    addends = generator.randint(0, 1 << 32, num_permutations, dtype=np.uint32)
    return factors, addends


def _used_permutations(num_permutations: int, used: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the first `used` permutations, the last one repeated up to a multiple of `_LANES`."""
    if num_permutations < 1:
        raise ValueError(f"num_permutations: got {num_permutations}. Needed: at least 1.")
    if not 1 <= used <= num_permutations:
        raise ValueError(f"used: got {used}. Needed: 1 to {num_permutations}, the permutations there are.")
    places = np.minimum(np.arange(-(-used // _LANES) * _LANES), used - 1)
    factors, addends = _permutations(num_permutations, seed)
    return factors[places], addends[places]


@inlined
def _mixed(shingle: np.uint64) -> np.uint32:
    """Return m of a shingle hash. Every product is wrapped, for numba widens uint32 * uint32 to 64 bits."""
    value = np.uint32(shingle)
    value ^= value >> np.uint32(16)
    value = np.uint32(value * np.uint32(0x85EBCA6B))
    value ^= value >> np.uint32(13)
    value = np.uint32(value * np.uint32(0xC2B2AE35))
    return np.uint32(value ^ (value >> np.uint32(16)))


@inlined
def _permuted(factor: np.uint32, value: np.uint32, addend: np.uint32) -> np.uint32:
    return np.uint32(np.uint32(factor * value) + addend)


@kernel
def _sign(offsets: Places, hashes: Hashes, factors: Signature, addends: Signature, signed: Signature) -> None:
    mixed, least = np.empty(_BLOCK_SHINGLES, dtype=np.uint32), np.empty(len(factors), dtype=np.uint32)
    for document in range(len(offsets) - 1):
        shingles = hashes[offsets[document] : offsets[document + 1]]
        least[:] = EMPTY
        for begin in range(0, len(shingles), _BLOCK_SHINGLES):
            _sign_block(shingles[begin : begin + _BLOCK_SHINGLES], mixed, factors, addends, least)
        signed[document] = least[: signed.shape[1]]


@kernel
def _sign_words(
    offsets: Places, word_hashes: Hashes, ngram_words: int, factors: Signature, addends: Signature, signed: Signature
) -> None:
    block = np.empty(_BLOCK_SHINGLES, dtype=np.uint64)
    mixed, least = np.empty(_BLOCK_SHINGLES, dtype=np.uint32), np.empty(len(factors), dtype=np.uint32)
    for document in range(len(offsets) - 1):
        words = word_hashes[offsets[document] : offsets[document + 1]]
        least[:] = EMPTY
        length = min(ngram_words, len(words))
        num_ngrams = len(words) - length + 1 if length else 0
        for begin in range(0, num_ngrams, _BLOCK_SHINGLES):
            shingles = block[: min(_BLOCK_SHINGLES, num_ngrams - begin)]
            hash_ngrams(words[begin:], length, shingles)
            _sign_block(shingles, mixed, factors, addends, least)
        signed[document] = least[: signed.shape[1]]


@kernel
def _sign_block(shingles: Hashes, mixed: Signature, factors: Signature, addends: Signature, least: Signature) -> None:
    """Take up to `_BLOCK_SHINGLES` shingles into the least values so far."""
    for place in range(len(shingles)):
        mixed[place] = _mixed(shingles[place])
    end = -(-len(shingles) // _SHINGLES_PER_PASS) * _SHINGLES_PER_PASS
    # Past the end the last one is taken again, which changes no minimum.
    mixed[len(shingles) : end] = mixed[len(shingles) - 1]
    for begin in range(0, end, _SHINGLES_PER_PASS):
        _take_eight(mixed[begin : begin + _SHINGLES_PER_PASS], factors, addends, least)


@kernel
def _take_eight(m: Signature, factors: Signature, addends: Signature, least: Signature) -> None:
    """Take eight shingles in, because each pass reads and writes all least values."""
    m0, m1, m2, m3, m4, m5, m6, m7 = m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7]
    for place in range(len(least)):
        factor, addend, value = factors[place], addends[place], least[place]
        value = min(value, _permuted(factor, m0, addend))
        value = min(value, _permuted(factor, m1, addend))
        value = min(value, _permuted(factor, m2, addend))
        value = min(value, _permuted(factor, m3, addend))
        value = min(value, _permuted(factor, m4, addend))
        value = min(value, _permuted(factor, m5, addend))
        value = min(value, _permuted(factor, m6, addend))
        least[place] = min(value, _permuted(factor, m7, addend))
