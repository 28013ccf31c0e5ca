"""MinHash signatures: bit-equal to datasketch, the same from words as from sets, stored and loaded unchanged."""

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate.near_dup.minhash import EMPTY, load_signatures, sign_words, signatures, store_signatures
from engine.text.words import shingle_sets

from .corpora import as_sets, as_words


def datasketch_signature(shingles: list[int], num_permutations: int, seed: int) -> list[int]:
    sketch = MinHash(num_permutations, seed, hashfunc=lambda h: h & 0xFFFFFFFF, scheme="affine32")
    for shingle in shingles:
        sketch.update(shingle)
    values: list[int] = sketch.hashvalues.tolist()
    return values


shingle_lists = st.lists(st.integers(0, 2**64 - 1), max_size=30, unique=True)
word_lists = st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=30)


@given(st.lists(shingle_lists, max_size=4), st.integers(1, 70), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_signatures_are_bit_equal_to_datasketch_affine32(
    documents: list[list[int]], num_permutations: int, seed: int
) -> None:
    found = signatures(as_sets(documents), num_permutations, seed)
    assert found.dtype == np.uint32
    assert found.tolist() == [datasketch_signature(each, num_permutations, seed) for each in documents]


def test_default_signature_is_that_of_datasketch_with_256_permutations_and_seed_1() -> None:
    shingles = np.random.default_rng(7).integers(0, 2**63, 1000).tolist()
    assert signatures(as_sets([shingles])).tolist() == [datasketch_signature(shingles, 256, 1)]


def test_set_without_shingles_has_the_greatest_value_everywhere() -> None:
    assert (signatures(as_sets([[], [1], []]), 16)[[0, 2]] == EMPTY).all()


def test_equal_places_estimate_jaccard_within_four_standard_deviations() -> None:
    generator = np.random.default_rng(1)
    for jaccard in (0.3, 0.5, 0.8, 0.95):
        shared, own = round(2000 * jaccard), round(1000 * (1 - jaccard))
        pool = generator.integers(0, 2**63, shared + 2 * own).tolist()
        one, other = signatures(as_sets([pool[: shared + own], pool[:shared] + pool[shared + own :]]), 1024)
        exact = shared / (shared + 2 * own)
        assert abs((one == other).mean() - exact) < 4 * (exact * (1 - exact) / 1024) ** 0.5


def test_no_permutations_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"num_permutations: got 0\. Needed: at least 1"):
        signatures(as_sets([[1]]), 0)


@given(
    st.lists(word_lists, max_size=5),
    st.integers(1, 8),
    st.integers(1, 70).flatmap(lambda most: st.tuples(st.integers(1, most), st.just(most))),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_signatures_of_words_are_the_first_values_of_those_of_their_shingle_sets(
    documents: list[list[int]], ngram_words: int, used_of: tuple[int, int], seed: int
) -> None:
    words, (used, num_permutations) = as_words(documents), used_of
    found = sign_words(words, ngram_words, used, num_permutations, seed)
    whole = signatures(shingle_sets(words, ngram_words), num_permutations, seed)
    assert (found.shape, found.dtype) == ((len(documents), used), np.uint32)
    assert found.tolist() == whole[:, :used].tolist()


@pytest.mark.parametrize("num_words", [1, 4, 5, 7, 12, 13, 1027, 1028, 1029, 2053, 5000])
@pytest.mark.parametrize("used", [1, 31, 32, 33, 60, 256])
def test_long_documents_and_any_share_of_256_permutations_are_signed_alike(num_words: int, used: int) -> None:
    generator = np.random.default_rng(num_words)
    # Some words come again, some n-grams too; an empty document before and behind.
    text = generator.integers(0, 2**64, num_words, dtype=np.uint64)
    text[num_words // 2 :] = text[: num_words - num_words // 2]
    words = as_words([[], text.tolist(), []])
    found = sign_words(words, 5, used, num_permutations=256, seed=3)
    assert found.tolist() == signatures(shingle_sets(words, 5), 256, 3)[:, :used].tolist()


def test_words_are_signed_with_256_permutations_and_seed_1_by_default() -> None:
    words = as_words([[3, 1, 4, 1, 5, 9, 2, 6]])
    assert sign_words(words, 2).tolist() == signatures(shingle_sets(words, 2)).tolist()
    assert sign_words(words, 2).shape == (1, 256)


@pytest.mark.parametrize("used", [0, -1, 17])
def test_more_values_than_permutations_or_none_are_an_error(used: int) -> None:
    with pytest.raises(ValueError, match=rf"used: got {used}\. Needed: 1 to 16"):
        sign_words(as_words([[1]]), 5, used, num_permutations=16)


@st.composite
def signed_documents(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Signatures, some of documents without shingles, and which of the documents are chosen."""
    width = draw(st.sampled_from([1, 2, 33]))
    value = st.integers(0, 2**32 - 2)
    row = st.lists(value, min_size=width, max_size=width) | st.just([int(EMPTY)] * width)
    rows = draw(st.lists(row, max_size=8))
    chosen = draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    return np.array(rows, dtype=np.uint32).reshape(-1, width), np.array(chosen, dtype=np.bool_)


@given(signed_documents(), st.integers(0, 3))
@settings(deadline=None)
def test_signatures_come_back_for_the_chosen_documents_as_they_were_stored(
    case: tuple[np.ndarray, np.ndarray], start: int
) -> None:
    signed, chosen = case
    stored = store_signatures(signed)
    assert stored.is_null().to_list() == (signed == EMPTY).all(axis=1).tolist()
    expected = np.where(chosen[:, None], signed, EMPTY)
    before = chosen.copy()
    assert load_signatures(stored, chosen, signed.shape[1]).tolist() == expected.tolist()
    part = load_signatures(stored.slice(start), chosen[start:], signed.shape[1])
    assert part.tolist() == expected[start:].tolist()
    assert chosen.tolist() == before.tolist()


def test_stored_signature_takes_four_bytes_a_permutation() -> None:
    stored = store_signatures(np.array([[1, 2], [0xFFFFFFFF, 0xFFFFFFFF], [3, 0xFFFFFFFF]], dtype=np.uint32))
    assert stored.name == "signature"
    assert stored.to_list() == [bytes([1, 0, 0, 0, 2, 0, 0, 0]), None, bytes([3, 0, 0, 0, 255, 255, 255, 255])]
