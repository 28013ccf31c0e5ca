"""Trained tokenizers lose nothing, cannot be forged and come out the same; imported ones are taken as they are."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.base.errors import InputError, RecipeError
from engine.base.hashing import digest_bytes, seeded_order
from engine.formats.tokenizer import Tokenizer, decode, load_tokenizer
from engine.pack.tokenizer import (
    TokenizerConfig,
    TokenizerTraining,
    import_huggingface,
    sample_texts,
    train_tokenizer,
)

TEXTS = [
    "def add(a, b):\n    return a + b\n",
    "The quick brown fox jumps over the lazy dog.\tTabs too.",
    "Ein Beispiel mit Umlauten: Gr\u00f6\u00dfe, Stra\u00dfe, sch\u00f6n.",
    "for number in range(10):\n        print(number)\n\n\n",
    "A tokenizer turns text into numbers, and numbers into text again.",
] * 4
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>", "<|control:0|>", "<|control:1|>", "<0x41>", "<0x0A>"]


def training(**changes: object) -> TokenizerTraining:
    return TokenizerTraining(**{"sources": ["docs"], "vocab_size": 325, "control_slots": 2, **changes})


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, training(model_type=request.param), folder)
    return load_tokenizer(folder)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\u2581")))
@example("  two  spaces \n\n\t\ttabs\r\n and a null \0 byte ")
@example("\ufeffmark, \u0301 combining, \u2585 block, \U0001f600 face, \ufffd, \u00a0nbsp")
@example("<|control:0|></s><0x41>")
def test_decoding_an_encoded_text_gives_the_text(trained: Tokenizer, text: str) -> None:
    assert decode(trained, trained.encode([text])[0].tolist()) == text


def test_the_one_character_that_is_lost_is_the_one_for_the_space(trained: Tokenizer) -> None:
    assert decode(trained, trained.encode(["a\u2581b"])[0].tolist()) == "a b"


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(SPECIAL), st.text(max_size=3)), max_size=8).map("".join))
def test_no_text_is_encoded_to_a_special_or_control_token(trained: Tokenizer, text: str) -> None:
    forbidden = {0, 1, 2, 3, *trained.meta.control_slots.values()}
    text = text.encode("utf-8", "replace").decode()
    assert not forbidden & set(trained.encode([text])[0].tolist())


def test_special_ids_are_fixed(trained: Tokenizer) -> None:
    meta = trained.meta
    assert (meta.kind, meta.vocab_size, meta.bos_id, meta.eos_id) == ("sentencepiece", 325, 1, 2)
    assert meta.control_slots == {"<|control:0|>": 4, "<|control:1|>": 5}


def test_texts_come_back_in_any_company(trained: Tokenizer) -> None:
    together = trained.encode(TEXTS[:5])
    assert [ids.tolist() for ids in together] == [trained.encode([text])[0].tolist() for text in TEXTS[:5]]


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_the_same_texts_give_the_same_bytes(tmp_path: Path, model_type: str) -> None:
    for name in ("one", "two"):
        train_tokenizer(iter(TEXTS), training(model_type=model_type), tmp_path / name)
    for file in ("tokenizer.model", "provender.json"):
        content = (tmp_path / "one" / file).read_bytes()
        assert content == (tmp_path / "two" / file).read_bytes()
        assert str(tmp_path).encode() not in content


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_a_vocabulary_that_does_not_suit_the_texts_says_what_would(tmp_path: Path, model_type: str) -> None:
    with pytest.raises(RecipeError, match=r"vocab_size: 9000\. Needed: at most \d+"):
        train_tokenizer(TEXTS, training(vocab_size=9000, model_type=model_type), tmp_path)
    with pytest.raises(RecipeError, match=r"vocab_size: 264\. Needed: at least \d+"):
        train_tokenizer(TEXTS, training(vocab_size=264, model_type=model_type), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_vocabulary_it_asks_for_can_be_had(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        train_tokenizer(TEXTS, training(vocab_size=9000), tmp_path)
    most = int(str(caught.value).split("at most ")[1].split(",")[0])
    assert train_tokenizer(TEXTS, training(vocab_size=most), tmp_path).vocab_size == most


@pytest.mark.parametrize("texts", [[], [""], ["\n\t\0"], ["too long for the budget"]])
def test_nothing_to_train_on_is_an_error_that_names_the_sources(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(RecipeError, match="in the sources docs"):
        train_tokenizer(texts, training(max_bytes=5), tmp_path)


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), max_size=12), st.integers(0, 30), st.integers(0, 3), st.randoms())
def test_the_sample_is_the_longest_prefix_of_the_seeded_order_that_fits(
    texts: list[str], max_bytes: int, seed: int, random: object
) -> None:
    def size(text: str) -> int:
        return len(text.encode("utf-8", "replace"))

    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    fitting = [text for text in texts if size(text) <= max_bytes]
    ordered = sorted(fitting, key=lambda text: seeded_order(seed, digest_bytes(text.encode())))
    expected = [text for number, text in enumerate(ordered) if sum(map(size, ordered[: number + 1])) <= max_bytes]
    taken = sample_texts(texts, max_bytes, seed)
    assert sorted(taken) == sorted(expected)
    remaining = iter(texts)
    assert all(text in remaining for text in taken)  # in the order given
    shuffled = list(texts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sorted(sample_texts(shuffled, max_bytes, seed)) == sorted(taken)


@pytest.mark.parametrize(
    "content", [{}, {"model": "smollm2", "path": "x"}, {"train": {"sources": []}}, {"train": {"sources": ["a"]}}]
)
def test_a_recipe_names_exactly_one_tokenizer_and_names_it_whole(content: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TokenizerConfig.model_validate(content)


def huggingface_folder(folder: Path, configs: dict[str, object]) -> Path:
    import tokenizers

    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>", "<|begin|>", "<|control:0|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(TEXTS, trainer)
    model.enable_truncation(4)
    model.enable_padding(length=8)
    folder.mkdir(parents=True)
    model.save(str(folder / "tokenizer.json"))
    for name, content in configs.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("configs", "eos_id"),
    [
        ({"tokenizer_config.json": {"eos_token": "<|end|>", "bos_token": "<|begin|>"}}, 0),
        ({"tokenizer_config.json": {"eos_token": {"content": "<|end|>"}}, "config.json": {"eos_token_id": 1}}, 0),
        ({"generation_config.json": {"eos_token_id": [1, 0]}, "config.json": {"eos_token_id": 0}}, 1),
        ({"tokenizer_config.json": {"eos_token": None}, "config.json": {"eos_token_id": 1}}, 1),
    ],
)
def test_the_end_of_document_id_is_found_in_the_model_folder(
    tmp_path: Path, configs: dict[str, object], eos_id: int
) -> None:
    meta = import_huggingface(huggingface_folder(tmp_path / "model", configs), tmp_path / "tokenizer")
    assert (meta.kind, meta.eos_id, meta.vocab_size) == ("huggingface", eos_id, 300)
    assert meta.control_slots == {"<|control:0|>": 2}


def test_an_imported_tokenizer_neither_truncates_nor_pads_nor_can_be_forged(tmp_path: Path) -> None:
    configs = {"config.json": {"eos_token_id": 0}}
    meta = import_huggingface(huggingface_folder(tmp_path / "model", configs), tmp_path / "tokenizer")
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    texts = [*TEXTS[:5], "x", "<|end|><|control:0|>"]
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        assert decode(tokenizer, ids.tolist()) == text
        assert not {0, 1, 2} & set(ids.tolist())
    assert tokenizer.meta == meta
    assert tokenizer.id_dtype == np.uint16


def test_a_folder_without_a_tokenizer_or_an_end_of_document_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        import_huggingface(tmp_path / "empty", tmp_path / "tokenizer")
    with pytest.raises(InputError, match="no end-of-document token"):
        import_huggingface(huggingface_folder(tmp_path / "model", {"config.json": {}}), tmp_path / "tokenizer")
