"""Encoding by segments gives the ids that whole texts get, and is not used where it might not."""

from pathlib import Path

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.formats.segments import segment_encoder
from engine.formats.tokenizer import FILES, Tokenizer, describe, load_tokenizer
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer

TEXTS = [
    "def add(a, b):\n    return a + b\n\n\n",
    "to be or not to be,  that  is\tthe question",
    "    x = 1\n        y = 2\n",
] * 5
CHARACTERS = st.sampled_from([*"  \n\n\tabdefnorstu(),=+", "\u2581", "\u00e9", "\U0001f600", "\0", "\r"])


def trained(folder: Path, **changes: object) -> Tokenizer:
    config = TokenizerTraining(**{"sources": ["a"], "vocab_size": 310, "control_slots": 2, **changes})
    train_tokenizer(TEXTS, config, folder)
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return trained(tmp_path_factory.mktemp("tokenizer"))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(st.text(CHARACTERS), st.text()), max_size=4))
@example(["", "", ""])
@example([" ", "\n", "  \n  ", "\u2581 b", "a\u2581 b \u2581"])
@example(TEXTS[:3])
def test_segments_give_the_ids_of_the_whole_text(tokenizer: Tokenizer, texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    encode = segment_encoder(tokenizer)
    assert encode is not tokenizer.encode
    assert [ids.tolist() for ids in encode(texts)] == [ids.tolist() for ids in tokenizer.encode(texts)]


def test_real_texts_get_the_same_ids(tokenizer: Tokenizer, shared_data: Path) -> None:
    files = [
        path for name in ("peps", "kowiki", "gesetze") for path in sorted((shared_data / "corpora" / name).rglob("*"))
    ]
    texts = [path.read_text("utf-8", "replace")[:50_000] for path in files if path.is_file()][:40]
    encode = segment_encoder(tokenizer)
    for one, two in zip(encode(texts), tokenizer.encode(texts), strict=True):
        assert one.tolist() == two.tolist()


def test_a_unigram_model_is_used_on_whole_texts(tmp_path: Path) -> None:
    unigram = trained(tmp_path, model_type="unigram", vocab_size=290)
    assert segment_encoder(unigram) is unigram.encode


@pytest.mark.parametrize(
    "options",
    [
        {"split_by_whitespace": False},
        {"add_dummy_prefix": True},
        {"remove_extra_whitespaces": True},
        {"normalization_rule_name": "nmt_nfkc"},
        {"user_defined_symbols": ["a b"]},
        {"user_defined_symbols": ["x\n"]},
    ],
)
def test_a_foreign_model_whose_pieces_might_span_a_border_is_used_on_whole_texts(
    tmp_path: Path, options: dict[str, object]
) -> None:
    plain = {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
    with (tmp_path / FILES["sentencepiece"]).open("wb") as model:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["to be or not to be or not to be"] * 9),
            model_writer=model,
            model_type="bpe",
            vocab_size=290,
            byte_fallback=True,
            hard_vocab_limit=False,
            minloglevel=2,
            **{**plain, **options},
        )
    describe(tmp_path, "sentencepiece", 290, 2, 1, {})
    foreign = load_tokenizer(tmp_path)
    assert segment_encoder(foreign) is foreign.encode
