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
from numpy.typing import NDArray

from engine.text.kernels import Hashes, Places, inlined, kernel
from engine.text.words import ShingleSets

Signature = NDArray[np.uint32]
EMPTY = np.uint32(0xFFFFFFFF)
_SHINGLES_PER_PASS = 8


def signatures(sets: ShingleSets, num_permutations: int = 256, seed: int = 1) -> NDArray[np.uint32]:
    """Return the signature of each set: uint32[num_documents, num_permutations], 4 bytes a permutation."""
    if num_permutations < 1:
        raise ValueError(f"num_permutations: got {num_permutations}. Needed: at least 1.")
    factors, addends = _permutations(num_permutations, seed)
    signed = np.full((len(sets.offsets) - 1, num_permutations), EMPTY, dtype=np.uint32)
    _sign(sets.offsets, sets.hashes, factors, addends, signed)
    return signed


@cache
def _permutations(num_permutations: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    # RandomState is frozen by numpy's compatibility policy (NEP 19), so these draws never change.
    generator = np.random.RandomState(seed)
    factors = generator.randint(0, 1 << 31, num_permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    addends = generator.randint(0, 1 << 32, num_permutations, dtype=np.uint32)
    return factors, addends


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
    for document in range(len(offsets) - 1):
        shingles = hashes[offsets[document] : offsets[document + 1]]
        for begin in range(0, len(shingles), _SHINGLES_PER_PASS):
            _sign_eight(shingles, begin, factors, addends, signed[document])


@kernel
def _sign_eight(shingles: Hashes, begin: int, factors: Signature, addends: Signature, signature: Signature) -> None:
    """Take eight shingles into a signature.

    Eight a pass, because each pass reads and writes the whole signature; past the end the last one is taken
    again, which changes no minimum.
    """
    last = len(shingles) - 1
    m0, m1 = _mixed(shingles[begin]), _mixed(shingles[min(begin + 1, last)])
    m2, m3 = _mixed(shingles[min(begin + 2, last)]), _mixed(shingles[min(begin + 3, last)])
    m4, m5 = _mixed(shingles[min(begin + 4, last)]), _mixed(shingles[min(begin + 5, last)])
    m6, m7 = _mixed(shingles[min(begin + 6, last)]), _mixed(shingles[min(begin + 7, last)])
    for place in range(len(signature)):
        factor, addend, least = factors[place], addends[place], signature[place]
        least = min(least, _permuted(factor, m0, addend))
        least = min(least, _permuted(factor, m1, addend))
        least = min(least, _permuted(factor, m2, addend))
        least = min(least, _permuted(factor, m3, addend))
        least = min(least, _permuted(factor, m4, addend))
        least = min(least, _permuted(factor, m5, addend))
        least = min(least, _permuted(factor, m6, addend))
        signature[place] = min(least, _permuted(factor, m7, addend))
