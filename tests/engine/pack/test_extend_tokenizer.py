"""New pieces save the tokens they say, and every text without them is tokenised as before."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from engine.base.errors import InputError, RecipeError
from engine.formats.tokenizer import Tokenizer, decode, describe, load_tokenizer, special_pieces
from engine.pack.control_slots import add_control_tokens
from engine.pack.extend_tokenizer import Extended, TokenizerExtension, extend_tokenizer, require_same_text
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer

GENERAL = [Path(textwrap.__file__).read_text()]
WORDS = "hypertension hypotension cardiomyopathy cardiovascular myocardial ischaemia 120 mmHg don't (tachycardia), "
DOMAIN = [f"{WORDS * 2} patient {number} of {number % 7} \u00e9t\u00e9  spaces\n" for number in range(60)]
HELD_OUT = ["Hypertension and cardiomyopathy in 1203 patients.\n", *GENERAL]
CONFIG = TokenizerExtension(sources=["medical"], pieces=40)
KINDS = ["bytes", "ignore_merges", "no_pre_tokenizer", "sentencepiece", "with_prefix"]


def make(folder: Path, kind: str) -> Tokenizer:
    folder.mkdir(parents=True)
    if kind == "sentencepiece":
        train_tokenizer(GENERAL, TokenizerTraining(sources=["a"], vocab_size=420, control_slots=2), folder)
        return load_tokenizer(folder)
    if kind == "with_prefix":  # as SentencePiece models are published: a space in front, text normalised
        import sentencepiece

        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(GENERAL[0].splitlines()), model_prefix=str(folder / "tokenizer"), vocab_size=420,
            model_type="bpe", byte_fallback=True, user_defined_symbols=["spaces"], minloglevel=2,
        )  # fmt: skip
        describe(folder, "sentencepiece", 420, eos_id=2, bos_id=1, slots={})
        return load_tokenizer(folder)
    made = tokenizers.Tokenizer(models.BPE())
    alphabet: list[str] = []
    if kind == "no_pre_tokenizer":
        made.normalizer = normalizers.Replace(" ", "\u2581")
        made.decoder = decoders.Replace("\u2581", " ")
        made.pre_tokenizer = pre_tokenizers.Split(Regex("\u2581[^\u2581]*"), "isolated")
        alphabet = sorted({c for text in (*GENERAL, *DOMAIN) for c in text})
    else:
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        GENERAL, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    made.add_special_tokens(["<|end|>", "<|reserved_0|>"])
    made.add_tokens([AddedToken("spaces", special=False)])
    content = json.loads(made.to_str())
    content["model"]["ignore_merges"] = kind == "ignore_merges"
    if kind == "no_pre_tokenizer":
        content["pre_tokenizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    describe(folder, "huggingface", made.get_vocab_size(), made.token_to_id("<|end|>"), None, {})
    return load_tokenizer(folder)


@pytest.fixture(scope="module", params=KINDS)
def case(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Tokenizer, Extended]:
    """A tokenizer, the same extended for the domain, and what was said of it."""
    folder = tmp_path_factory.mktemp(request.param)
    base = make(folder / "base", request.param)
    made = extend_tokenizer(base, DOMAIN, CONFIG, folder / "extended")
    return base, load_tokenizer(folder / "extended"), made


def test_tokens_saved_are_counted_exactly(case: tuple[Tokenizer, Tokenizer, Extended]) -> None:
    base, copy, made = case
    assert made.pieces.height == 40
    for part in ("chosen_on", "held_out"):
        assert made.details[part]["documents"] > 0
    before, after = (sum(len(ids) for ids in one.encode(DOMAIN)) for one in (base, copy))
    parts = [made.details["chosen_on"], made.details["held_out"]]
    assert before == sum(part["tokens_before"] for part in parts)
    assert after == sum(part["tokens_after"] for part in parts)
    assert made.pieces["tokens_saved"].sum() == parts[0]["tokens_before"] - parts[0]["tokens_after"]
    assert after < 0.8 * before


@settings(max_examples=25, deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS.split()), max_size=6).map(" ".join)))
def test_any_text_mapped_back_has_its_old_ids(case: tuple[Tokenizer, Tokenizer, Extended], text: str) -> None:
    base, copy, _ = case
    require_same_text(copy, base, [text])
    assert decode(copy, copy.encode([text])[0].tolist()) == decode(base, base.encode([text])[0].tolist())


def test_texts_of_the_domain_come_back_and_general_texts_keep_their_ids(
    case: tuple[Tokenizer, Tokenizer, Extended],
) -> None:
    base, copy, made = case
    require_same_text(copy, base, [*DOMAIN, *HELD_OUT])
    new = set(range(base.meta.vocab_size, copy.meta.vocab_size))
    assert len(new) == 40
    assert not new & set(base.encode(["def wrap(self): return 1"])[0].tolist())
    assert made.meta.parent == base.meta.digest
    assert made.meta.digest != base.meta.digest
    assert special_pieces(copy) == special_pieces(base)
    for ids in made.pieces["old_ids"].to_list():
        assert len(ids) > 1
        assert max(ids) < base.meta.vocab_size


def test_order_of_the_texts_changes_no_byte(tmp_path: Path) -> None:
    base = make(tmp_path / "base", "bytes")
    digests = {
        extend_tokenizer(base, texts, CONFIG, tmp_path / str(number)).meta.digest
        for number, texts in enumerate((DOMAIN, DOMAIN[::-1]))
    }
    assert len(digests) == 1


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
def test_extended_tokenizer_extends_and_takes_control_tokens(tmp_path: Path, kind: str) -> None:
    base = make(tmp_path / "base", kind)
    once = load_tokenizer(tmp_path / "once") if extend_tokenizer(base, DOMAIN, CONFIG, tmp_path / "once") else base
    other = [text.replace("hyper", "hypo").replace("cardi", "nephr") for text in DOMAIN]
    extend_tokenizer(once, other, CONFIG.model_copy(update={"pieces": 5}), tmp_path / "twice")
    twice = load_tokenizer(tmp_path / "twice")
    require_same_text(twice, once, [*other, *HELD_OUT])
    tags = [f"<|tag:{number}|>" for number in range(4)]
    meta = add_control_tokens(twice, tags, True, tmp_path / "tagged")
    tagged = load_tokenizer(tmp_path / "tagged")
    grown = [number for tag, number in meta.control_tokens.items() if meta.slots[tag] is None]
    assert grown == list(range(twice.meta.vocab_size, twice.meta.vocab_size + len(grown)))
    assert [ids.tolist() for ids in tagged.encode(other)] == [ids.tolist() for ids in twice.encode(other)]
    # And the other way round: control tokens keep their ids below the new pieces.
    later = extend_tokenizer(tagged, other, CONFIG, tmp_path / "later").meta
    assert later.control_tokens == meta.control_tokens
    assert special_pieces(load_tokenizer(tmp_path / "later"))[grown[0]] in tags


def test_vocabulary_that_keeps_digits_alone_goes_on_so(tmp_path: Path) -> None:
    base = make(tmp_path / "base", "bytes")
    vocabulary = json.loads((base.folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert not any(character.isdecimal() for piece in vocabulary if len(piece) > 1 for character in piece)
    made = extend_tokenizer(base, ["120 120 120 140 mmHg"] * 9, CONFIG, tmp_path / "copy")
    assert not any(character.isdecimal() for piece in made.meta.pieces for character in piece)


def test_special_tokens_behind_the_vocabulary_keep_their_ids(tmp_path: Path) -> None:
    # As Llama 3 writes its file: special tokens only among the added tokens, with ids behind the vocabulary.
    base = make(tmp_path / "base", "bytes")
    assert "<|end|>" not in json.loads((base.folder / "tokenizer.json").read_text())["model"]["vocab"]
    extend_tokenizer(base, DOMAIN, CONFIG, tmp_path / "copy")
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "copy" / "tokenizer.json"))
    before = tokenizers.Tokenizer.from_file(str(base.folder / "tokenizer.json"))
    assert library.get_vocab() | before.get_vocab() == library.get_vocab()
    assert library.get_vocab_size() == before.get_vocab_size() + 40


def test_unigram_and_other_models_are_refused(tmp_path: Path) -> None:
    training = TokenizerTraining(sources=["a"], vocab_size=400, model_type="unigram")
    train_tokenizer(GENERAL, training, tmp_path)
    with pytest.raises(InputError, match="a SentencePiece unigram model"):
        extend_tokenizer(load_tokenizer(tmp_path), DOMAIN, CONFIG, tmp_path / "copy")
    base = make(tmp_path / "base", "bytes")
    content = json.loads((base.folder / "tokenizer.json").read_text())
    content["model"]["end_of_word_suffix"] = "</w>"
    (base.folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="end_of_word_suffix is '</w>'"):
        extend_tokenizer(base, DOMAIN, CONFIG, tmp_path / "copy")


def test_nothing_to_choose_on_is_told(tmp_path: Path) -> None:
    base = make(tmp_path / "base", "bytes")
    with pytest.raises(RecipeError, match="no text of at most"):
        extend_tokenizer(base, [], CONFIG, tmp_path / "copy")
    with pytest.raises(RecipeError, match="no new piece saves two tokens"):
        extend_tokenizer(base, ["x"], CONFIG.model_copy(update={"held_out": 0}), tmp_path / "copy")


def test_tokenizer_whose_new_pieces_change_other_text_is_refused(tmp_path: Path) -> None:
    base = make(tmp_path / "base", "bytes")
    made = extend_tokenizer(base, DOMAIN, CONFIG, tmp_path / "copy")
    copy = load_tokenizer(tmp_path / "copy")
    wrong = {piece: ids[::-1] for piece, ids in made.meta.pieces.items()}
    lying = Tokenizer(made.meta.model_copy(update={"pieces": wrong}), copy.folder, copy.encode)
    with pytest.raises(InputError, match="tokenises other parts of a text differently"):
        require_same_text(lying, base, DOMAIN)
