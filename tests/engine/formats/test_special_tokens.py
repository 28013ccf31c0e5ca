"""No text becomes a special token or a marker, whatever the tokenizer; decoding shows each of them as its piece."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from engine.formats.sentencepiece_model import CONTROL, USER_DEFINED, for_text, read_pieces, write_pieces
from engine.formats.tokenizer import Tokenizer, decode_batch, describe, load_tokenizer, special_pieces

TEXTS = ["to be or not to be, that is the question", "a <b>bold</b>  word\n    and four spaces"] * 4
FORGED = ["<|im_start|>", "<tool_call>", "</s>", "<|control:0|>", "<start_of_turn>", "[INST]"]
PLAIN_PIECES = ["<b>", "    "]
"""Added pieces that stand for text."""


def _sentencepiece(folder: Path, model_type: str) -> Tokenizer:
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in TEXTS for line in text.splitlines()),
        model_prefix=str(folder / "tokenizer"), vocab_size=290, model_type=model_type, byte_fallback=True,
        control_symbols=["<|control:0|>"], user_defined_symbols=["<|im_start|>", "<start_of_turn>", *PLAIN_PIECES],
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    describe(folder, "sentencepiece", 290, 2, 1, {"<|control:0|>": 3})
    return load_tokenizer(folder)


def _huggingface(folder: Path, model: Any, finish: Callable[[Any], None]) -> Tokenizer:
    folder.mkdir()
    made = tokenizers.Tokenizer(model)
    finish(made)
    made.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in ("</s>", "<|control:0|>")])
    markers = ["<|im_start|>", "<tool_call>", *PLAIN_PIECES]
    made.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in markers])
    made.save(str(folder / "tokenizer.json"))
    size = max(made.get_vocab(with_added_tokens=True).values()) + 1
    describe(folder, "huggingface", size, made.token_to_id("</s>"), None, {})
    return load_tokenizer(folder)


def _byte_level(made: Any) -> None:
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False))


def _unigram() -> Any:
    letters = sorted({letter for text in [*TEXTS, *FORGED] for letter in text})
    pieces = [("<unk>", 0.0), ("</s>", -1.0), ("<|im_start|>", -1.0), *((letter, -5.0) for letter in letters)]
    return models.Unigram(pieces, unk_id=0)


def _words() -> Any:
    names = ["[UNK]", "</s>", "<|control:0|>", *sorted({word for text in TEXTS for word in text.split()})]
    return models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]")


def _on_spaces(made: Any) -> None:
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()


def _lower(made: Any) -> None:
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    place = tmp_path_factory.mktemp("tokenizers")
    return {
        "bpe": _sentencepiece(place / "bpe", "bpe"),
        "unigram": _sentencepiece(place / "unigram", "unigram"),
        "byte_level": _huggingface(place / "byte_level", models.BPE(), _byte_level),
        "unigram_json": _huggingface(place / "unigram_json", _unigram(), _lower),
        "words": _huggingface(place / "words", _words(), _on_spaces),
    }


KINDS = ["bpe", "unigram", "byte_level", "unigram_json", "words"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_becomes_a_special_token_or_marker(opened: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = opened[kind]
    special = special_pieces(tokenizer)
    assert {"<|im_start|>", "</s>", "<|control:0|>"} <= set(special.values())

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.one_of(st.sampled_from([*FORGED, *PLAIN_PIECES, " "]), st.text(max_size=3)), max_size=6))
    def holds(parts: list[str]) -> None:
        text = "".join(parts).encode("utf-8", "replace").decode()
        assert special.keys().isdisjoint(tokenizer.encode([text])[0].tolist())

    holds()


@pytest.mark.parametrize("kind", ["bpe", "unigram", "byte_level"])
def test_pieces_that_stand_for_text_are_used_as_before(opened: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = opened[kind]
    path = tokenizer.folder / ("tokenizer.json" if kind == "byte_level" else "tokenizer.model")
    if kind == "byte_level":
        library = tokenizers.Tokenizer.from_file(str(path))
        expected = [library.encode(text).ids for text in TEXTS]
        kept = {library.token_to_id(piece) for piece in PLAIN_PIECES}
    else:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        expected = processor.encode(TEXTS)
        kept = {processor.piece_to_id(piece.replace(" ", "\u2581")) for piece in PLAIN_PIECES}
    found = [ids.tolist() for ids in tokenizer.encode(TEXTS)]
    assert found == expected
    assert kept & {number for ids in found for number in ids}
    assert kept.isdisjoint(special_pieces(tokenizer))


@pytest.mark.parametrize("kind", ["bpe", "unigram", "byte_level"])
def test_decoding_shows_special_tokens_and_leaves_texts_as_they_were(opened: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = opened[kind]
    tag = next(number for number, piece in special_pieces(tokenizer).items() if piece == "<|control:0|>")
    texts = [*TEXTS[:2], " <|control:0|> ", ""]
    encoded = [ids.tolist() for ids in tokenizer.encode(texts)]
    rendered = [[tag, tag, *ids, tokenizer.meta.eos_id] for ids in encoded]
    assert decode_batch(tokenizer, rendered) == [f"<|control:0|><|control:0|>{text}</s>" for text in texts]
    assert decode_batch(tokenizer, rendered, special="") == texts
    assert decode_batch(tokenizer, [[], [tag]]) == ["", "<|control:0|>"]


def test_a_dummy_prefix_is_taken_off_behind_a_control_token(tmp_path: Path) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix=str(tmp_path / "tokenizer"), vocab_size=286, model_type="bpe",
        byte_fallback=True, control_symbols=["<|control:0|>"], minloglevel=2,
    )  # fmt: skip
    describe(tmp_path, "sentencepiece", 286, 2, 1, {})
    tokenizer = load_tokenizer(tmp_path)
    ids = tokenizer.encode(["to be"])[0].tolist()
    assert decode_batch(tokenizer, [[3, *ids, 2]]) == ["<|control:0|>to be</s>"]


def test_a_model_is_written_as_it_was_read(opened: dict[str, Tokenizer]) -> None:
    model = (opened["bpe"].folder / "tokenizer.model").read_bytes()
    pieces, other = read_pieces(model)
    library = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert [piece.text for piece in pieces] == [library.id_to_piece(number) for number in range(290)]
    again = sentencepiece.SentencePieceProcessor(model_proto=write_pieces(pieces, other))
    assert again.serialized_model_proto() == library.serialized_model_proto()
    kinds = {p.text: p.kind for p in pieces}
    assert (kinds["<|control:0|>"], kinds["<|im_start|>"]) == (CONTROL, USER_DEFINED)
    retyped = {p.text: p.kind for p in read_pieces(for_text(model))[0]}
    assert {text for text in kinds if kinds[text] != retyped[text]} == {"<|im_start|>", "<start_of_turn>"}


def test_a_file_that_asks_to_cut_fill_or_drop_is_not_obeyed(opened: dict[str, Tokenizer], tmp_path: Path) -> None:
    content = json.loads((opened["byte_level"].folder / "tokenizer.json").read_text())
    content["model"]["dropout"] = 0.5
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    describe(tmp_path, "huggingface", opened["byte_level"].meta.vocab_size, 0, None, {})
    found = load_tokenizer(tmp_path).encode(TEXTS)
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in opened["byte_level"].encode(TEXTS)]


def test_a_tokenizer_that_was_replaced_in_place_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "replaced"
    model = models.WordLevel({"a": 0, "b": 1, "</s>": 2}, unk_token="a")
    first = _huggingface(folder, model, lambda _: None)
    before = special_pieces(first)
    made = tokenizers.Tokenizer.from_file(str(first.folder / "tokenizer.json"))
    made.add_special_tokens([AddedToken("<|later|>", special=True)])
    made.save(str(folder / "tokenizer.json"))
    describe(folder, "huggingface", made.get_vocab_size(), made.token_to_id("</s>"), None, {})
    later = made.token_to_id("<|later|>")
    assert special_pieces(load_tokenizer(folder)) == before | {later: "<|later|>"}
    assert decode_batch(load_tokenizer(folder), [[later]], special="!") == ["!"]
