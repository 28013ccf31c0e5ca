"""Who stays is what a slow reading of the definition says, and every removal is proven."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .corpora import edited_copies, kept_ids, pairs, removed, run, span, write
from .oracle import assert_follows_definition, longest_first, similar_pairs, similarity


@pytest.mark.parametrize(("seed", "threshold"), [(1, "0.8"), (2, "0.8"), (3, "0.7"), (4, "0.9"), (5, "0.5")])
def test_edited_copies_fall_as_the_definition_says(tmp_path: Path, seed: int, threshold: str) -> None:
    documents = edited_copies(seed)
    path = write(tmp_path / "in.parquet", list(documents.values()))
    report = run([path], tmp_path / "out", id_column="uid", threshold=float(threshold))
    found = pairs(tmp_path / "out")
    assert report["kept"] < len(set(documents.values()))
    assert_follows_definition(
        documents, removed(tmp_path / "out"), found, Fraction(threshold), longest_first(documents.values())
    )
    assert kept_ids(tmp_path / "out") == set(documents) - set(removed(tmp_path / "out"))


@pytest.mark.parametrize("seed", [6, 7])
def test_pairs_far_above_the_threshold_are_all_found(tmp_path: Path, seed: int) -> None:
    documents = edited_copies(seed)
    run([write(tmp_path / "in.parquet", list(documents.values()))], tmp_path / "out", id_column="uid")
    found = {frozenset(documents[name] for name in pair) for pair in pairs(tmp_path / "out")}
    sure = similar_pairs(documents.values(), Fraction("0.92"))
    assert len(sure) > 20
    assert set(sure) - found == set()
    kept = sorted({documents[name] for name in kept_ids(tmp_path / "out")})
    assert similar_pairs(kept, Fraction("0.92")) == {}


def test_of_pairs_right_at_the_threshold_99_in_100_are_found(tmp_path: Path) -> None:
    # 200 5-grams each, 178 shared, 178 / 222 = 0.8018.
    texts = []
    for number in range(1000):
        stem = f"p{number}w"
        texts += [span(0, 204, stem), span(22, 226, stem)]
    assert similarity(texts[0], texts[1]) == Fraction(178, 222)
    report = run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    # Expected misses: at most 10; 20 is three standard deviations above.
    assert 980 <= len(pairs(tmp_path / "out")) <= 1000
    assert report["kept"] == 2000 - len(pairs(tmp_path / "out"))


def test_stored_similarity_is_rounded_down(tmp_path: Path) -> None:
    # 181 shared of 211: 0.85781...; 195 of 197: 0.98984...
    texts = [span(0, 200, "a"), span(15, 215, "a") + "!", span(0, 200, "b"), span(1, 201, "b") + "!"]
    assert similarity(texts[0], texts[1]) == Fraction(181, 211)
    assert similarity(texts[2], texts[3]) == Fraction(195, 197)
    run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid")
    assert pairs(tmp_path / "out") == {frozenset(("d0", "d1")): 0.8578, frozenset(("d2", "d3")): 0.9898}
    similarities = {name: row.similarity for name, row in removed(tmp_path / "out").items()}
    assert similarities == {"d0": 0.8578, "d2": 0.9898}


@pytest.mark.parametrize(("shared", "threshold"), [(14, 0.7), (16, 0.8), (17, 0.85), (18, 0.9), (19, 0.95)])
def test_threshold_is_met_exactly_or_not_at_all(tmp_path: Path, shared: int, threshold: float) -> None:
    # With 1-word shingles: 14 of 20 is 0.7 exactly.
    path = write(tmp_path / "in.parquet", [span(0, 20), span(0, shared)])
    for limit, kept in ((threshold, {"d0"}), (round(threshold + 1e-4, 4), {"d0", "d1"})):
        run([path], tmp_path / str(limit), id_column="uid", threshold=limit, ngram_words=1)
        assert kept_ids(tmp_path / str(limit)) == kept


def test_similarity_of_two_digits_is_stored_as_it_is(tmp_path: Path) -> None:
    # As floats, 0.57 * 10,000 and 0.58 * 10,000 fall short of 5,700 and 5,800.
    texts = [text for n in range(51, 100) for text in (span(0, 100, f"p{n}w"), span(0, n, f"p{n}w"))]
    run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid", threshold=0.5, ngram_words=1)
    found = removed(tmp_path / "out")
    assert len(found) >= 46
    for name, row in found.items():
        assert row == (f"d{int(name[1:]) - 1}", "near_dup", (51 + int(name[1:]) // 2) / 100)


def test_at_threshold_1_only_equal_shingle_sets_fall_and_none_is_missed(tmp_path: Path) -> None:
    texts = []
    for number in range(150):
        once = span(0, 30 + number, f"p{number}w")
        # Case, punctuation and a third time change no set of what stands there twice; one more word does.
        texts += [f"{once} {once}", f"{once}, {once}; {once}...".upper(), f"{once} {once} {number}"]
    run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid", threshold=1.0)
    assert removed(tmp_path / "out") == {
        f"d{3 * number}": (f"d{3 * number + 1}", "near_dup", 1.0) for number in range(150)
    }


def test_at_threshold_one_half_pairs_that_share_most_are_found(tmp_path: Path) -> None:
    # 76 shared of 116: 0.655; 36 of 156: 0.23.
    texts = []
    for number in range(60):
        stem = f"p{number}w"
        texts += [span(0, 100, stem), span(20, 120, stem) + "!", span(80, 180, stem) + "!!"]
    assert similarity(texts[0], texts[1]) == Fraction(76, 116)
    report = run([write(tmp_path / "in.parquet", texts)], tmp_path / "out", id_column="uid", threshold=0.5)
    assert report["removed"] == {"exact_dup": 0, "near_dup": 60}
    assert {row.similarity for row in removed(tmp_path / "out").values()} == {0.6551}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.lists(st.sampled_from("abcdef"), max_size=14).map(" ".join), min_size=1, max_size=12),
    threshold=st.sampled_from(["0.3", "0.5", "0.8", "1"]),
    ngram_words=st.integers(1, 5),
)
def test_small_corpora_follow_the_definition(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], threshold: str, ngram_words: int
) -> None:
    # A number of dots of their own makes lengths differ, and leaves words as they are.
    texts = [text + "." * (40 * number) for number, text in enumerate(dict.fromkeys(texts))]
    documents = {f"d{number}": text for number, text in enumerate(texts)}
    folder = tmp_path_factory.mktemp("small")
    path = write(folder / "in.parquet", texts)
    run([path], folder / "out", id_column="uid", threshold=float(threshold), ngram_words=ngram_words)
    assert_follows_definition(
        documents,
        removed(folder / "out"),
        pairs(folder / "out"),
        Fraction(threshold),
        longest_first(texts),
        ngram_words,
    )
