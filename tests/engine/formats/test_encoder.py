"""Any tokenizer can be opened, nothing else can, and what a file asks for besides encoding is not done."""

import json
import runpy
from pathlib import Path

import pytest
import sentencepiece
import tokenizers

from engine.base.errors import InputError
from engine.formats.encoder import open_encoder
from engine.formats.tokenizer import load_tokenizer
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer

made = runpy.run_path(str(Path(__file__).parents[1] / "annotate" / "tokens" / "tokenizers_made.py"))
TEXTS = ["the quick brown fox jumps over the lazy dog", "to be or not to be, that is the question"] * 20
TEXT = "the quick question <|endoftext|> of the </s> Gr\u00f6\u00dfe\n\n  \u6f22\u5b57"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers")
    made["huggingface_file"](folder / "hf" / "tokenizer.json", TEXTS, 330)
    made["sentencepiece_file"](folder / "sp" / "tokenizer.model", TEXTS, 320)
    train_tokenizer(TEXTS, TokenizerTraining(sources=["a"], vocab_size=340), folder / "ours")
    return folder


@pytest.mark.parametrize("name", ["hf", "hf/tokenizer.json"])
def test_hugging_face_folder_and_file_give_the_ids_of_the_library(files: Path, name: str) -> None:
    library = tokenizers.Tokenizer.from_file(str(files / "hf" / "tokenizer.json"))
    library.encode_special_tokens = True
    assert open_encoder(files / name)([TEXT])[0].tolist() == library.encode(TEXT, add_special_tokens=False).ids


@pytest.mark.parametrize("name", ["sp", "sp/tokenizer.model"])
def test_sentencepiece_folder_and_file_give_the_ids_of_the_library(files: Path, name: str) -> None:
    library = sentencepiece.SentencePieceProcessor(model_file=str(files / "sp" / "tokenizer.model"))
    assert open_encoder(files / name)([TEXT])[0].tolist() == library.encode(TEXT)


@pytest.mark.parametrize("name", ["ours", "ours/tokenizer.model"])
def test_folder_of_ours_and_its_file_give_the_same_ids(files: Path, name: str) -> None:
    expected = load_tokenizer(files / "ours").encode([TEXT])[0].tolist()
    assert open_encoder(files / name)([TEXT])[0].tolist() == expected


def test_of_two_files_in_a_folder_the_hugging_face_one_is_taken(files: Path, tmp_path: Path) -> None:
    for source in ("hf/tokenizer.json", "sp/tokenizer.model"):
        (tmp_path / Path(source).name).write_bytes((files / source).read_bytes())
    assert open_encoder(tmp_path)([TEXT])[0].tolist() == open_encoder(files / "hf")([TEXT])[0].tolist()


def test_what_looks_like_a_special_token_is_plain_text(files: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(files / "hf" / "tokenizer.json"))
    (ids,) = open_encoder(files / "hf")(["<|endoftext|>"])
    assert library.token_to_id("<|endoftext|>") not in ids.tolist()
    assert ids.size > 1


def test_truncation_padding_and_dropout_of_a_file_are_not_done(files: Path, tmp_path: Path) -> None:
    content = json.loads((files / "hf" / "tokenizer.json").read_text())
    content["model"]["dropout"] = 0.5
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 500}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    expected = open_encoder(files / "hf")([TEXT])[0].tolist()
    assert [ids.tolist() for ids in open_encoder(tmp_path)([TEXT] * 5)] == [expected] * 5


def test_file_that_changed_is_opened_again(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes((files / "hf" / "tokenizer.json").read_bytes())
    before = open_encoder(path)([TEXT])[0].tolist()
    made["huggingface_file"](path, ["entirely other words"] * 9, 280)
    assert open_encoder(path)([TEXT])[0].tolist() != before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a SentencePiece model \(.*\)\. Needed: a tokenizer folder of provender"),
        (b"hello", r"not a SentencePiece model"),
        (b"IQ== 0\nIg== 1\n", r"not a SentencePiece model"),
        (b"GGUF" + bytes(100), r"not a SentencePiece model"),
        (b'{"a": 1}', r"not a Hugging Face tokenizer \(.*\)\. Needed: "),
        (b' {"model": ', r"not a Hugging Face tokenizer"),
    ],
)
def test_file_of_another_kind_is_an_error_that_says_what_is_needed(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        open_encoder(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_without_a_tokenizer_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        open_encoder(tmp_path / "none")
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(InputError, match=r"a folder without a tokenizer.*Fix: load it with transformers"):
        open_encoder(tmp_path)
