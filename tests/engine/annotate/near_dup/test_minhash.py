"""MinHash signatures: bit-equal to datasketch, good estimates of Jaccard, empty sets apart."""

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate.near_dup.minhash import EMPTY, signatures
from engine.text.words import ShingleSets


def as_sets(*documents: list[int]) -> ShingleSets:
    offsets = np.cumsum([0, *map(len, documents)])
    return ShingleSets(offsets, np.array([h for document in documents for h in sorted(document)], dtype=np.uint64))


def datasketch_signature(shingles: list[int], num_permutations: int, seed: int) -> list[int]:
    sketch = MinHash(num_permutations, seed, hashfunc=lambda h: h & 0xFFFFFFFF, scheme="affine32")
    for shingle in shingles:
        sketch.update(shingle)
    values: list[int] = sketch.hashvalues.tolist()
    return values


shingle_lists = st.lists(st.integers(0, 2**64 - 1), max_size=30, unique=True)


@given(st.lists(shingle_lists, max_size=4), st.integers(1, 70), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_signatures_are_bit_equal_to_datasketch_affine32(
    documents: list[list[int]], num_permutations: int, seed: int
) -> None:
    found = signatures(as_sets(*documents), num_permutations, seed)
    assert found.dtype == np.uint32
    assert found.tolist() == [datasketch_signature(each, num_permutations, seed) for each in documents]


def test_default_signature_is_that_of_datasketch_with_256_permutations_and_seed_1() -> None:
    shingles = np.random.default_rng(7).integers(0, 2**63, 1000).tolist()
    assert signatures(as_sets(shingles)).tolist() == [datasketch_signature(shingles, 256, 1)]


def test_set_without_shingles_has_the_greatest_value_everywhere() -> None:
    assert (signatures(as_sets([], [1], []), 16)[[0, 2]] == EMPTY).all()


def test_equal_places_estimate_jaccard_within_four_standard_deviations() -> None:
    generator = np.random.default_rng(1)
    for jaccard in (0.3, 0.5, 0.8, 0.95):
        shared, own = round(2000 * jaccard), round(1000 * (1 - jaccard))
        pool = generator.integers(0, 2**63, shared + 2 * own).tolist()
        one, other = signatures(as_sets(pool[: shared + own], pool[:shared] + pool[shared + own :]), 1024)
        exact = shared / (shared + 2 * own)
        assert abs((one == other).mean() - exact) < 4 * (exact * (1 - exact) / 1024) ** 0.5


def test_no_permutations_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"num_permutations: got 0\. Needed: at least 1"):
        signatures(as_sets([1]), 0)
