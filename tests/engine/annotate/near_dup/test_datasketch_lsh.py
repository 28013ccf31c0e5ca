"""Our signatures inside datasketch: loaded into its MinHash and MinHashLSH, they find what is similar."""

import numpy as np
import pyarrow as pa
from datasketch import MinHash, MinHashLSH

from engine.annotate.near_dup.minhash import signatures
from engine.text.words import shingle_sets, split_words


def span(start: int, end: int, stem: str = "w") -> str:
    return " ".join(f"{stem}{number}" for number in range(start, end))


def texts_with_a_planted_pair() -> list[str]:
    """50 texts of 300 words; the last is the tenth with 15 words replaced: 281 of 311 5-grams, 0.9035."""
    texts = [span(0, 300, f"d{number}x") for number in range(50)]
    return [*texts, span(15, 315, "d10x")]


def test_signatures_of_texts_are_bit_equal_and_found_by_a_datasketch_lsh() -> None:
    sets = shingle_sets(split_words(pa.array(texts_with_a_planted_pair(), pa.large_string())), 5)
    signed = signatures(sets)
    index = MinHashLSH(threshold=0.8, num_perm=256)
    sketches = []
    for document, signature in enumerate(signed):
        shingles = sets.hashes[sets.offsets[document] : sets.offsets[document + 1]].tolist()
        theirs = MinHash(num_perm=256, hashfunc=lambda h: h & 0xFFFFFFFF, scheme="affine32")
        for shingle in shingles:
            theirs.update(shingle)
        np.testing.assert_array_equal(theirs.hashvalues, signature)
        loaded = MinHash(num_perm=256, hashvalues=signature, scheme="affine32")
        assert loaded.jaccard(theirs) == 1
        index.insert(document, loaded)
        sketches.append(loaded)
    assert sorted(index.query(sketches[10])) == [10, 50]
    assert index.query(sketches[11]) == [11]
    # Four standard deviations of an estimate from 256 permutations.
    assert abs(sketches[10].jaccard(sketches[50]) - 281 / 311) < 4 * (0.9 * 0.1 / 256) ** 0.5
