"""A copy of a tokenizer gives control tokens ids of their own and leaves the ids of all text as they are."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers

from engine.base.errors import InputError, RecipeError
from engine.formats.tokenizer import Tokenizer, decode, describe, load_tokenizer, special_pieces
from engine.pack.control_slots import add_control_tokens, free_slots
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer

REAL = [path.read_text() for path in (Path(json.__file__), Path(textwrap.__file__))]
TAGS = ["<|quality:high|>", "<|quality:low|>", "<|lang:de|>"]


def sentencepiece_of(folder: Path, slots: int, model_type: Any = "bpe") -> Tokenizer:
    config = TokenizerTraining(sources=["a"], vocab_size=400, control_slots=slots, model_type=model_type)
    train_tokenizer(REAL, config, folder)
    return load_tokenizer(folder)


def huggingface_of(folder: Path, special: Sequence[str], plain: Sequence[str] = ()) -> Tokenizer:
    """A byte-level BPE tokenizer with these added tokens behind its pieces, the special ones first."""
    folder.mkdir()
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(REAL, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    made.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in ["<|end|>", *special]])
    made.add_tokens([AddedToken(piece, special=False) for piece in plain])
    made.save(str(folder / "tokenizer.json"))
    size = made.get_vocab_size(with_added_tokens=True)
    describe(folder, "huggingface", size, made.token_to_id("<|end|>"), None, {})
    return load_tokenizer(folder)


def same_ids(one: Tokenizer, other: Tokenizer, texts: Sequence[str] = REAL) -> bool:
    pairs = zip(one.encode(texts), other.encode(texts), strict=True)
    return all(first.tolist() == second.tolist() for first, second in pairs)


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_tags_take_free_slots_of_sentencepiece_in_their_order(tmp_path: Path, model_type: str) -> None:
    base = sentencepiece_of(tmp_path / "base", 4, model_type)
    meta = add_control_tokens(base, TAGS, False, tmp_path / "copy")
    copy = load_tokenizer(tmp_path / "copy")
    assert (meta.parent, meta.vocab_size) == (base.meta.digest, base.meta.vocab_size)
    assert meta.control_tokens == {TAGS[0]: 4, TAGS[1]: 5, TAGS[2]: 6}
    assert meta.slots == {TAGS[0]: "<|control:0|>", TAGS[1]: "<|control:1|>", TAGS[2]: "<|control:2|>"}
    assert meta.control_slots == {"<|control:3|>": 7}
    assert meta.digest != base.meta.digest
    assert same_ids(base, copy)
    library = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "copy" / "tokenizer.model"))
    assert [library.id_to_piece(number) for number in (4, 5, 6, 7)] == [*TAGS, "<|control:3|>"]
    assert all(library.is_control(number) for number in (4, 5, 6, 7))
    assert decode(copy, [4, *copy.encode(["to be"])[0], 2]) == "<|quality:high|>to be</s>"


def test_sentencepiece_grows_at_the_end_where_slots_are_too_few(tmp_path: Path) -> None:
    base = sentencepiece_of(tmp_path / "base", 1)
    meta = add_control_tokens(base, TAGS, True, tmp_path / "copy")
    assert meta.control_tokens == {TAGS[0]: 4, TAGS[1]: 400, TAGS[2]: 401}
    assert meta.slots == {TAGS[0]: "<|control:0|>", TAGS[1]: None, TAGS[2]: None}
    assert meta.vocab_size == 402
    copy = load_tokenizer(tmp_path / "copy")
    assert same_ids(base, copy)
    assert special_pieces(copy)[401] == TAGS[2]


@pytest.mark.parametrize(
    "forms",
    [
        ["<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|reserved_special_token_12|>"],
        ["<SPECIAL_20>", "<SPECIAL_21>", "<SPECIAL_22>"],
        ["<|extra_0|>", "[control_8]", "<|placeholder3|>"],
        ["<\uff5cplace\u2581holder\u2581no\u25811\uff5c>", "<|reserved_200000|>", "<|extra_id_5|>"],
    ],
)
def test_tags_take_free_slots_of_hugging_face_tokenizers(tmp_path: Path, forms: list[str]) -> None:
    base = huggingface_of(tmp_path / "base", ["<|im_start|>", *forms])
    assert list(free_slots(base)) == forms
    meta = add_control_tokens(base, TAGS, False, tmp_path / "copy")
    copy = load_tokenizer(tmp_path / "copy")
    assert meta.slots == dict(zip(TAGS, forms, strict=True))
    assert list(meta.control_tokens.values()) == list(free_slots(base).values())
    assert meta.vocab_size == base.meta.vocab_size
    assert same_ids(base, copy)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "copy" / "tokenizer.json"))
    assert [library.token_to_id(tag) for tag in TAGS] == list(meta.control_tokens.values())
    assert library.token_to_id(forms[0]) is None
    added = library.get_added_tokens_decoder()
    assert all(added[number].special and not added[number].normalized for number in meta.control_tokens.values())


def test_unused_pieces_that_are_not_marked_special_are_slots_too(tmp_path: Path) -> None:
    """As in Gemma and ModernBERT."""
    base = huggingface_of(tmp_path / "base", [], ["<unused0>", "    ", "[unused7]", "<b>"])
    assert list(free_slots(base)) == ["<unused0>", "[unused7]"]
    add_control_tokens(base, TAGS[:2], False, tmp_path / "copy")
    assert same_ids(base, load_tokenizer(tmp_path / "copy"), [*REAL, "    <b>x</b>    <unused0>"])


def test_tokens_that_stand_for_something_are_no_slots(tmp_path: Path) -> None:
    special = ["<extra_id_0>", "[UNUSED_TOKEN_145]", "<|im_start|>", "<s>", "<|reserved_special_token|>"]
    base = huggingface_of(tmp_path / "base", special)
    assert free_slots(base) == {}
    folder = tmp_path / "eos"
    ends = huggingface_of(folder, ["<|control:0|>", "<|control:1|>"])
    describe(folder, "huggingface", ends.meta.vocab_size, free_slots(ends)["<|control:0|>"], None, {})
    assert list(free_slots(load_tokenizer(folder))) == ["<|control:1|>"]


RESERVED = [f"<|reserved_special_token_{number}|>" for number in range(12)]


def published(folder: Path) -> Tokenizer:
    """A folder as Hugging Face has them, most of whose reserved tokens are named by one of its files."""
    base = huggingface_of(folder, RESERVED)
    number = {piece: number for number, piece in special_pieces(base).items()}
    decoder = {str(number[piece]): {"content": piece, "special": True} for piece in RESERVED}
    (folder / "additional_chat_templates").mkdir()
    files = {
        "tokenizer_config.json": {
            "pad_token": RESERVED[0],
            "chat_template": [{"name": "default", "template": f"{{{{ '{RESERVED[1]}' + message }}}}"}],
            "added_tokens_decoder": decoder,
            "additional_special_tokens": RESERVED,
        },
        "special_tokens_map.json": {"unk_token": {"content": RESERVED[2]}},
        "generation_config.json": {"eos_token_id": [number["<|end|>"], number[RESERVED[3]]]},
        "config.json": {"text_config": {"pad_token_id": number[RESERVED[4]], "vocab_size": number[RESERVED[11]]}},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "chat_template.jinja").write_text(f"{{% set begin = '{RESERVED[5]}' %}}")
    (folder / "additional_chat_templates" / "tools.jinja").write_text(f"<|tool|>{RESERVED[6]}")
    model = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    ends = [("<|end|>", number["<|end|>"]), (RESERVED[7], number[RESERVED[7]])]
    model.post_processor = processors.TemplateProcessing(f"{RESERVED[7]} $A <|end|>", None, ends)
    model.enable_padding(pad_id=number[RESERVED[8]], pad_token=RESERVED[8])
    model.save(str(folder / "tokenizer.json"))
    describe(folder, "huggingface", base.meta.vocab_size, base.meta.eos_id, number[RESERVED[9]], {})
    return load_tokenizer(folder)


def test_what_any_file_of_a_published_tokenizer_names_is_no_slot(tmp_path: Path) -> None:
    base = published(tmp_path / "base")
    assert list(free_slots(base)) == RESERVED[10:]
    meta = add_control_tokens(base, TAGS, True, tmp_path / "copy")
    assert list(meta.slots.values()) == [*RESERVED[10:], None]
    config = json.loads((tmp_path / "copy" / "tokenizer_config.json").read_text())
    assert config["pad_token"] == RESERVED[0]
    assert RESERVED[1] in config["chat_template"][0]["template"]
    assert config["additional_special_tokens"] == [*RESERVED[:10], *TAGS[:2]]


def test_files_of_the_model_say_what_is_free_where_they_lie_elsewhere(tmp_path: Path) -> None:
    base = huggingface_of(tmp_path / "base", RESERVED[:4])
    model = tmp_path / "model"
    model.mkdir()
    number = {piece: number for number, piece in special_pieces(base).items()}
    (model / "generation_config.json").write_text(json.dumps({"pad_token_id": number[RESERVED[1]]}))
    (model / "tokenizer_config.json").write_text(json.dumps({"pad_token": RESERVED[0]}))
    assert list(free_slots(base, model)) == RESERVED[2:4]
    meta = add_control_tokens(base, TAGS[:2], False, tmp_path / "copy", model)
    assert list(meta.slots.values()) == RESERVED[2:4]
    assert json.loads((tmp_path / "copy" / "tokenizer_config.json").read_text())["pad_token"] == RESERVED[0]


def test_hugging_face_tokenizers_grow_at_the_end(tmp_path: Path) -> None:
    base = huggingface_of(tmp_path / "base", [], ["    "])
    meta = add_control_tokens(base, TAGS, True, tmp_path / "copy")
    size = base.meta.vocab_size
    assert list(meta.control_tokens.values()) == [size, size + 1, size + 2]
    assert meta.vocab_size == size + 3
    assert same_ids(base, load_tokenizer(tmp_path / "copy"), [*REAL, "a    b" + "".join(TAGS)])


def test_too_few_slots_and_no_growth_is_an_error_with_both_numbers(tmp_path: Path) -> None:
    base = sentencepiece_of(tmp_path / "base", 2)
    with pytest.raises(RecipeError, match=r"3 tokens and 2 free slots .* Fix: write grow: true"):
        add_control_tokens(base, TAGS, False, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_tag_that_is_in_the_vocabulary_keeps_its_id(tmp_path: Path) -> None:
    base = huggingface_of(tmp_path / "base", ["<|control:0|>", TAGS[1]], [TAGS[2]])
    meta = add_control_tokens(base, TAGS, False, tmp_path / "copy")
    assert meta.slots == {TAGS[0]: "<|control:0|>", TAGS[1]: TAGS[1], TAGS[2]: TAGS[2]}
    assert meta.vocab_size == base.meta.vocab_size
    again = add_control_tokens(load_tokenizer(tmp_path / "copy"), TAGS, False, tmp_path / "again")
    assert again.control_tokens == meta.control_tokens
    assert again.parent == meta.digest


def test_the_same_tags_make_the_same_copy_and_others_another(tmp_path: Path) -> None:
    base = huggingface_of(tmp_path / "base", ["<|control:0|>"])
    one = add_control_tokens(base, TAGS, True, tmp_path / "one")
    two = add_control_tokens(base, TAGS, True, tmp_path / "two")
    other = add_control_tokens(base, TAGS[::-1], True, tmp_path / "other")
    for file in ("tokenizer.json", "provender.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert one.digest == two.digest != other.digest


def test_a_changed_mapping_is_noticed(tmp_path: Path) -> None:
    add_control_tokens(sentencepiece_of(tmp_path / "base", 3), TAGS, False, tmp_path / "copy")
    path = tmp_path / "copy" / "provender.json"
    content = json.loads(path.read_text())
    content["control_tokens"] = dict(zip(TAGS, [5, 4, 6], strict=True))
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="not the file that was described"):
        load_tokenizer(tmp_path / "copy")


def test_a_vocabulary_with_gaps_cannot_grow(tmp_path: Path) -> None:
    folder = tmp_path / "gaps"
    folder.mkdir()
    content = json.loads(tokenizers.Tokenizer(models.WordLevel({"a": 0, "</s>": 9}, unk_token="a")).to_str())
    (folder / "tokenizer.json").write_text(json.dumps(content))
    describe(folder, "huggingface", 10, 9, None, {})
    with pytest.raises(InputError, match="cannot get the id 10"):
        add_control_tokens(load_tokenizer(folder), TAGS[:1], True, tmp_path / "copy")


def test_files_of_transformers_beside_it_are_renamed_too(tmp_path: Path) -> None:
    base = huggingface_of(tmp_path / "base", ["<|control:0|>"])
    number = str(free_slots(base)["<|control:0|>"])
    slot = {"content": "<|control:0|>", "special": True}
    config = {
        "eos_token": "<|end|>",
        "added_tokens_decoder": {number: slot},
        "additional_special_tokens": ["<|control:0|>"],
    }
    (base.folder / "tokenizer_config.json").write_text(json.dumps(config))
    (base.folder / "chat_template.jinja").write_text("{{ messages }}")
    meta = add_control_tokens(base, TAGS[:2], True, tmp_path / "copy")
    written = json.loads((tmp_path / "copy" / "tokenizer_config.json").read_text())
    assert written["additional_special_tokens"] == [TAGS[0]]
    contents = {key: token["content"] for key, token in written["added_tokens_decoder"].items()}
    assert contents == {number: TAGS[0], str(meta.control_tokens[TAGS[1]]): TAGS[1]}
    assert (tmp_path / "copy" / "chat_template.jinja").read_text() == "{{ messages }}"
