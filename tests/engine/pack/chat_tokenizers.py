"""Small tokenizers with the tokens of every template: SentencePiece, with and without a dummy prefix, Hugging Face."""

import io
import json
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from engine.formats.tokenizer import Tokenizer, describe, load_tokenizer
from engine.pack.control_slots import add_control_tokens
from engine.pack.templates import TEMPLATES
from engine.pack.tokenizer import TokenizerTraining, train_tokenizer

TEXTS = [json.__doc__ or "", Path(json.__file__).read_text(encoding="utf-8")[:6000], "user assistant system tool"]
TOKENS = [token for template in TEMPLATES.values() for token in template.tokens]
KINDS = ("sentencepiece", "dummy_prefix", "byte_level", "llama2")


def make(kind: str, folder: Path) -> Tokenizer:
    """Return a tokenizer of one of KINDS; all have BOS and EOS."""
    if kind == "sentencepiece":
        config = TokenizerTraining(sources=["a"], vocab_size=420, control_slots=8)
        train_tokenizer(TEXTS, config, folder / "base")
        add_control_tokens(load_tokenizer(folder / "base"), TOKENS, False, folder / kind)
        return load_tokenizer(folder / kind)
    return _dummy_prefix(folder / kind) if kind == "dummy_prefix" else _huggingface(kind, folder / kind)


def _dummy_prefix(folder: Path) -> Tokenizer:
    import sentencepiece

    folder.mkdir()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in TEXTS for line in text.splitlines() if line),
        model_writer=model, vocab_size=420, model_type="bpe", control_symbols=TOKENS, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        minloglevel=2, num_threads=1,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    describe(folder, "sentencepiece", 420, 2, 1, {})
    return load_tokenizer(folder)


def _huggingface(kind: str, folder: Path) -> Tokenizer:
    folder.mkdir()
    made = tokenizers.Tokenizer(models.BPE(byte_fallback=kind == "llama2", unk_token="<unk>"))
    special = ["<unk>", "<s>", "</s>", *TOKENS]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if kind == "byte_level":
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        special.remove("<unk>")
        made.model = models.BPE()
    else:
        # As in the tokenizer.json of Llama 2.
        made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        made.decoder = decoders.Sequence(steps)
        alphabet = []
    pieces = [f"<0x{number:02X}>" for number in range(256)] if kind == "llama2" else []
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=[*special[:1], *pieces], show_progress=False
    )
    made.train_from_iterator([line for text in TEXTS for line in text.splitlines()], trainer)
    content = json.loads(made.to_str())
    # Bytes are pieces of the model and no added tokens.
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in pieces]
    made = tokenizers.Tokenizer.from_str(json.dumps(content))
    made.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    made.save(str(folder / "tokenizer.json"))
    eos, bos = made.token_to_id("</s>"), made.token_to_id("<s>")
    assert eos is not None
    describe(folder, "huggingface", made.get_vocab_size(with_added_tokens=True), eos, bos, {})
    return load_tokenizer(folder)
