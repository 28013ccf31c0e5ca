"""The tokenizer beside a trained model, in the files transformers loads.

A SentencePiece model is also written as tokenizer.json where that is exact: pieces and scores become a BPE or Unigram
model of the tokenizers library, which then has to give the same ids on real text as SentencePiece itself. Otherwise
only tokenizer.model is there, and nothing claims more.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.atomic import read_json, write_json
from engine.formats.huggingface_tokenizer import BESIDE, config_with_control_tokens
from engine.formats.tokenizer import FILES, Tokenizer

HARD = "  two  spaces \t\r\n\n  at ends, \ufb01 \u00c9 E\u0301 \uff21 \u4f60\u597d \U0001f600\u0000 "
"""What tokenizers like to normalise; decoded text has that behind it already."""
SPACE = "\u2581"
"""How SentencePiece writes a space inside a piece."""


def write_tokenizer(tokenizer: Tokenizer, base_folder: Path | None, folder: Path, texts: Sequence[str]) -> None:
    """Copy the tokenizer's files into `folder` and make it loadable by transformers where that is exact on `texts`."""
    name = FILES[tokenizer.meta.kind]
    shutil.copyfile(tokenizer.folder / name, folder / name)
    for source in (tokenizer.folder, base_folder):
        for extra in BESIDE:
            if source is not None and (source / extra).is_file() and not (folder / extra).exists():
                shutil.copyfile(source / extra, folder / extra)
                if source == base_folder and extra.endswith(".json"):
                    _rename(tokenizer, folder / extra)
    if tokenizer.meta.kind == "sentencepiece":
        _convert(tokenizer, folder, texts)
    elif not (folder / "tokenizer_config.json").exists():
        import tokenizers

        eos = tokenizers.Tokenizer.from_file(str(folder / name)).id_to_token(tokenizer.meta.eos_id)
        _write_config(folder, {"eos_token": eos})


def _rename(tokenizer: Tokenizer, path: Path) -> None:
    """Call slots in a file of the base's as the mixture's control tokens that took them."""
    meta = tokenizer.meta
    if meta.control_tokens:
        renamed = {slot: token for token, slot in meta.slots.items() if slot is not None}
        write_json(path, config_with_control_tokens(read_json(path), renamed, meta.control_tokens))


def _convert(tokenizer: Tokenizer, folder: Path, texts: Sequence[str]) -> None:
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / FILES["sentencepiece"]))
    converted = _tokenizers_model(pieces)
    texts = [*texts, HARD]
    expected = tokenizer.encode(texts)
    converted.encode_special_tokens = True  # as SentencePiece: text is never a special token
    found = [encoding.ids for encoding in converted.encode_batch(texts, add_special_tokens=False)]
    if not all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True)):
        return
    converted.save(str(folder / FILES["huggingface"]))
    special = {"bos_token": pieces.bos_id(), "eos_token": tokenizer.meta.eos_id, "unk_token": pieces.unk_id()}
    special["pad_token"] = pieces.pad_id()
    _write_config(folder, {key: pieces.id_to_piece(number) for key, number in special.items() if number >= 0})


def _tokenizers_model(pieces: Any) -> Any:
    import tokenizers
    from tokenizers import decoders, models, normalizers

    numbers = range(pieces.get_piece_size())
    vocabulary = {pieces.id_to_piece(number): number for number in numbers}
    special = [n for n in numbers if pieces.is_control(n) or pieces.is_unknown(n)]
    normal = [n for n in numbers if not (pieces.is_control(n) or pieces.is_unknown(n) or pieces.is_byte(n))]
    unknown = pieces.id_to_piece(pieces.unk_id())
    # BPE numbers its merges 0, -1, -2, ...; the scores of a unigram model are logarithms.
    if all(pieces.get_score(number) == round(pieces.get_score(number)) for number in normal):
        merges = list(_merges(pieces, vocabulary, normal))
        model: Any = models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    else:
        scores = [(pieces.id_to_piece(number), pieces.get_score(number)) for number in numbers]
        model = models.Unigram(scores, unk_id=pieces.unk_id(), byte_fallback=True)
    converted = tokenizers.Tokenizer(model)
    has_prefix = pieces.encode("a", out_type=str)[0].startswith(SPACE)
    steps = [normalizers.Prepend(SPACE)] if has_prefix else []
    converted.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    ends = [decoders.Strip(" ", 1, 0)] if has_prefix else []
    converted.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *ends]
    )
    tokens = [tokenizers.AddedToken(pieces.id_to_piece(n), special=True, normalized=False) for n in special]
    converted.add_special_tokens(tokens)
    return converted


def _merges(pieces: Any, vocabulary: dict[str, int], normal: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield every pair of pieces that makes a piece, those merged first first."""
    for number in sorted(normal, key=lambda number: (-pieces.get_score(number), number)):
        piece = pieces.id_to_piece(number)
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [(left, right) for left, right in pairs if left in vocabulary and right in vocabulary]
        yield from sorted(known, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))


def _write_config(folder: Path, special: dict[str, str | None]) -> None:
    content = {"tokenizer_class": "PreTrainedTokenizerFast", **special, "clean_up_tokenization_spaces": False}
    write_json(folder / "tokenizer_config.json", content)
