"""The words that shatter: counted by hand, against plain Python, on real texts; their pieces in running text."""

import runpy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.annotate import tokens
from engine.annotate.tokens import Config, shattered
from engine.annotate.tokens.pieces import piece_counts
from engine.formats.encoder import open_encoder
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer
from engine.recipes import medical_sources

World = Callable[..., Any]
made = runpy.run_path(str(Path(__file__).parent / "tokenizers_made.py"))
GENERAL = {"g1": "the heart of the town", "g2": "the town and the river of the town", "g3": "of the river " * 10}
MEDICAL = {
    "m1": "Angina of the heart; angina and the stent",
    "m2": "the angina, a STENT 2024 and 2024",
    "m3": "angina of x1 and x1 b12 town",
    "m4": "b12 of the spleen spleen spleen spleen spleen spleen",
}


@pytest.fixture
def characters(tmp_path: Path) -> Path:
    """A tokenizer that has whole `the`, `of`, `and`, and characters else."""
    return made["character_file"](tmp_path / "made" / "tokenizer.json", ["the", "of", "and"])


def words_of(world: World, tokenizer: Path, documents: Any, **options: Any) -> list[dict[str, Any]]:
    done = world(documents).run(tokens, Config(tokenizer=str(tokenizer), **options))
    return pl.read_parquet(done.artifacts["tokens"] / "shattered.parquet").to_dicts()


def test_words_of_the_domain_are_listed_with_what_they_cost(world: World, characters: Path) -> None:
    documents = {"web": GENERAL, "med": MEDICAL}
    found = words_of(world, characters, documents, general={"sources": ["web"]}, min_rate_ratio=2)
    columns = ("word", "occurrences", "documents", "pieces", "pieces_per_occurrence", "extra_tokens")
    assert [tuple(row[name] for name in columns) for row in found] == [
        ("angina", 4, 3, 21, 5.25, 17),  # A-n-g-i-n-a once, an-g-i-n-a three times
        ("stent", 2, 2, 10, 5.0, 8),
        ("b12", 2, 2, 6, 3.0, 4),
    ]
    assert {(row["source"], row["domain"], row["sampled_words"]) for row in found} == {("med", None, 31)}
    # 43 words in the general text: 4 / 31 over (0 + 1) / (43 + 1).
    assert (found[0]["general_occurrences"], found[0]["rate_ratio"]) == (0, 5.6774)


def test_number_without_a_letter_and_word_of_one_document_are_not_listed(world: World, characters: Path) -> None:
    everything = {row["word"] for row in words_of(world, characters, {"med": MEDICAL}, min_documents=1)}
    assert "2024" not in everything
    assert {"spleen", "x1", "town"} <= everything
    assert "spleen" not in {row["word"] for row in words_of(world, characters, {"med": MEDICAL})}


def test_word_that_is_one_piece_is_not_listed(world: World, characters: Path) -> None:
    found = {row["word"] for row in words_of(world, characters, {"med": MEDICAL}, min_documents=1)}
    assert found.isdisjoint({"the", "of", "and", "a"})


def test_general_text_decides_what_a_domain_word_is(world: World, characters: Path) -> None:
    documents = {"web": GENERAL | {"g4": "angina " * 9}, "med": MEDICAL}
    found = words_of(world, characters, documents, general={"sources": ["web"]}, min_rate_ratio=2)
    assert "angina" not in {row["word"] for row in found}
    assert {row["source"] for row in found} == {"med"}


def test_only_so_many_words_are_listed_and_ties_go_by_the_word(world: World, characters: Path) -> None:
    text = {"a": "delta gamma alpha", "b": "alpha delta gamma beta beta beta"}
    found = words_of(world, characters, {"med": text}, max_words=3, min_documents=1)
    assert [(row["word"], row["extra_tokens"]) for row in found] == [("beta", 9), ("alpha", 8), ("delta", 8)]


def test_equal_texts_count_once(world: World, characters: Path) -> None:
    documents = {"med": {f"d{number}": "angina pectoris" for number in range(9)} | {"other": "angina"}}
    found = words_of(world, characters, documents, min_documents=1)
    assert {row["word"]: row["occurrences"] for row in found} == {"angina": 2, "pectoris": 1}


def test_sample_ends_with_the_document_that_reaches_its_bytes_in_the_order_of_ids(
    world: World, characters: Path
) -> None:
    documents = {"med": {f"d{number:03}": f"{'word' * 24} n{number:03}x" for number in range(50)}}
    found = words_of(world, characters, documents, min_documents=1, sample_bytes=1_000, max_words=100)
    assert sorted(row["word"] for row in found if row["word"].startswith("n")) == [f"n{n:03}x" for n in range(10)]


def test_of_a_long_document_only_the_beginning_counts(
    world: World, characters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shattered, "DOCUMENT_BYTES", 19)
    found = words_of(world, characters, {"med": {"a": "angina pectoris angina pectoris"}}, min_documents=1)
    assert {row["word"]: row["occurrences"] for row in found} == {"angina": 1, "pectoris": 1}


def test_only_the_groups_with_the_most_tokens_are_looked_at(
    world: World, characters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shattered, "MAX_GROUPS", 2)
    documents = {"a": {"a1": "short"}, "b": {"b1": "much longer"}, "c": {"c1": "the longest of all"}}
    found = words_of(world, characters, documents, min_documents=1)
    assert {row["source"] for row in found} == {"b", "c"}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["Heart", "heart", "stent", "the", "of", "b2", "77"]), max_size=9), max_size=6)
)
def test_table_is_that_of_plain_python(tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]]) -> None:
    # In this alphabet of words splitting at spaces is splitting into words.
    characters = made["character_file"](tmp_path_factory.mktemp("made") / "tokenizer.json", ["the", "Heart"])
    counts = shattered.WordCounts()
    for text in texts:
        counts.add(text)
    config = Config(tokenizer=str(characters), min_documents=2)
    found = shattered._of_group(open_encoder(characters), counts, None, config)
    cost = {"Heart": 1, "heart": 5, "stent": 5, "the": 1, "of": 2, "b2": 2}
    pieces = Counter[str]()
    for word in (word for text in texts for word in text if word in cost):
        pieces[word.lower()] += cost[word]
    occurrences = Counter(word.lower() for text in texts for word in text)
    documents = Counter(word for text in texts for word in {word.lower() for word in text})
    expected = {
        word: (pieces[word], occurrences[word])
        for word in pieces
        if documents[word] >= 2 and pieces[word] > occurrences[word]
    }
    assert {row["word"]: (row["pieces"], row["occurrences"]) for row in found} == expected


def pieces(path: Path, *words: str) -> list[int]:
    return piece_counts(open_encoder(path), words)


@pytest.mark.parametrize("options", [{}, {"add_dummy_prefix": False}, {"remove_extra_whitespaces": False}])
def test_a_word_the_vocabulary_has_is_one_piece_whatever_is_done_with_spaces(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    texts = ["a the old house of a town", "the house the town of a house"] * 30
    path = made["sentencepiece_file"](tmp_path / "tokenizer.model", texts, 320, **options)
    assert pieces(path, "house", "the") == [1, 1]
    assert pieces(path, "\u6f22") == [3]
    assert pieces(path, "zz")[0] > 1


def test_pieces_of_a_byte_level_tokenizer_are_those_of_running_text(tmp_path: Path) -> None:
    texts = ["a the old house of a town", "the house the town of a house", "\u6f22\u5b57 \u6f22\u5b57"] * 30
    path = made["huggingface_file"](tmp_path / "tokenizer.json", texts, 320)
    assert pieces(path, "house", "the") == [1, 1]
    assert pieces(path, "Q\u00fa") == [4]  # the space is a piece of its own, and this letter is two bytes


def test_character_of_a_script_without_spaces_has_no_space_in_front(tmp_path: Path) -> None:
    texts = ["\u6f22\u5b57\u6f22\u8a9e\u6f22"] * 30
    train_tokenizer(texts, TokenizerTraining(sources=["a"], vocab_size=281), tmp_path)
    assert pieces(tmp_path, "\u6f22", "\u4e2d") == [1, 3]


def in_groups(rows: Iterable[Any], size: int) -> Iterator[dict[str, str]]:
    for number, row in enumerate(islice(rows, size)):
        yield f"{number:06}", row["text"]


@pytest.mark.slow
def test_medical_words_shatter_under_a_tokenizer_trained_on_general_text(
    world: World, shared_data: Path, tmp_path: Path
) -> None:
    corpora = shared_data / "corpora"
    articles = dict(in_groups(medical_sources.wikipedia(corpora / "enwiki"), 1200))
    books = dict(in_groups(medical_sources.books(corpora / "gutenberg"), 60))
    answers = dict(in_groups(medical_sources.medquad(corpora / "medquad"), 600))
    training = TokenizerTraining(sources=["wiki", "books"], vocab_size=4000, max_bytes=1_500_000)
    train_tokenizer([*articles.values(), *books.values()], training, tmp_path / "tokenizer")
    documents = {"wiki": articles, "books": books, "med": answers}
    config = Config(tokenizer=str(tmp_path / "tokenizer"), general={"sources": ["wiki", "books"]})
    done = world(documents, 500).run(tokens, config)
    fit = pl.read_parquet(done.artifacts["tokens"] / "fit.parquet")
    ratios = dict(fit.select("source", "ratio_per_word").iter_rows())
    assert ratios["med"] > 1.1
    assert max(ratios["wiki"], ratios["books"]) < 1.1
    found = pl.read_parquet(done.artifacts["tokens"] / "shattered.parquet")
    assert found["source"].unique().to_list() == ["med"]
    assert {"lymphoma", "leukemia", "prognosis", "carcinoma"} <= set(found["word"])
    assert found["rate_ratio"].min() >= 5
