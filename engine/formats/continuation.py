"""Encodes a text that goes on behind another one: without the space some tokenizers put in front of every text.

SentencePiece models with a dummy prefix (Llama 2, Mistral 7B) and their Hugging Face copies encode `word` like ` word`
and drop that space when they decode. Behind a special token that is right; in the middle of a text, where an encoded
header ends and an answer begins, it would put a space that nobody wrote.
"""

from collections.abc import Sequence

import numpy as np

from engine.formats.huggingface_tokenizer import open_for_text
from engine.formats.segments import segment_encoder
from engine.formats.sentencepiece_model import for_text, without_dummy_prefix
from engine.formats.tokenizer import FILES, Encoder, Tokenizer

_TEXT = "a"


def continuation_encoder(tokenizer: Tokenizer) -> Encoder:
    """Return an encoder for texts in the middle of a text; `segment_encoder` where no space is put in front anyway."""
    path = tokenizer.folder / FILES[tokenizer.meta.kind]
    if tokenizer.meta.kind == "sentencepiece":
        import sentencepiece

        model = path.read_bytes()
        if sentencepiece.SentencePieceProcessor(model_proto=model).normalize(_TEXT) == _TEXT:
            return segment_encoder(tokenizer)
        processor = sentencepiece.SentencePieceProcessor(model_proto=without_dummy_prefix(for_text(model)))

        def encode(texts: Sequence[str]) -> list[np.ndarray]:
            return [np.asarray(ids, dtype=np.int32) for ids in processor.encode(list(texts), num_threads=1)]

        return encode
    opened = open_for_text(path, is_continuation=True)

    def encode_on(texts: Sequence[str]) -> list[np.ndarray]:
        encoded = opened.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(one.ids, dtype=np.int32) for one in encoded]

    return encode_on
