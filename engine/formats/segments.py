"""Encodes texts by their distinct segments: two to four times faster than whole texts, with the same ids.

A segment is a run of spaces and the characters that follow, up to the next space or line break; a line break is one of
its own. Byte-pair merging looks at neighbours only, so where no piece of the vocabulary spans a border, the segments of
a text are merged independently, and each distinct one needs to be encoded once; a text of any length needs no more
memory than its segments. That holds for the models `engine.pack.tokenizer` trains as BPE. It is read off the vocabulary
of each model; others are used as they are.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from engine.formats.tokenizer import FILES, Encoder, Tokenizer

# U+2581 is what a space becomes inside SentencePiece, so it counts as one.
_SEGMENT = "[ \u2581]*[^ \u2581\n]+|[ \u2581]+|\n"
_SPANS_A_BORDER = re.compile("[^ \u2581][ \u2581]|.\n|\n.", re.DOTALL)
_SPACES_AND_COMPATIBILITY_FORMS = "  a  \ufb01 \u2460 e\u0301 "


def segment_encoder(tokenizer: Tokenizer) -> Encoder:
    """Return an encoder that gives the same ids as `tokenizer.encode`, by segments where that is safe."""
    return by_segments(tokenizer.encode, tokenizer.meta.kind, tokenizer.folder / FILES[tokenizer.meta.kind])


def by_segments(encode_whole: Encoder, kind: str, path: Path) -> Encoder:
    """Return `encode_whole`, the encoder of this tokenizer file, or one with the same ids by segments if that is safe.

    kind: a key of FILES.
    """
    if kind != "sentencepiece" or not _is_safe(path):
        return encode_whole

    def encode(texts: Sequence[str]) -> list[np.ndarray]:
        if not len(texts):
            return []
        found = pl.Series(texts, dtype=pl.String).str.extract_all(_SEGMENT).to_arrow()
        ends = found.offsets.to_numpy()[1:] - found.offsets[0].as_py()
        segments = pa.chunked_array([found.flatten()]).combine_chunks().dictionary_encode()
        distinct = encode_whole(segments.dictionary.to_pylist())
        length = np.array([len(ids) for ids in distinct], dtype=np.int64)
        start = np.cumsum(length) - length
        code = segments.indices.to_numpy()
        upto = np.concatenate([[0], np.cumsum(length[code])])
        # Where each id stands among those of the distinct segments: the start of its segment and its place in it.
        place = np.arange(upto[-1]) + np.repeat(start[code] - upto[:-1], length[code])
        ids = np.concatenate(distinct)[place] if code.size else np.zeros(0, np.int32)
        return np.split(ids, upto[ends][:-1])

    return encode


def _is_safe(path: Path) -> bool:
    """Whether the model is BPE without normalisation, and none of its pieces spans the border of two segments."""
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    if model.normalize(_SPACES_AND_COMPATIBILITY_FORMS) != _SPACES_AND_COMPATIBILITY_FORMS.replace(" ", "\u2581"):
        return False
    ids = range(model.get_piece_size())
    pieces = [i for i in ids if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i))]
    # The scores of byte-pair merges are whole numbers, their ranks; those of a unigram model are logarithms.
    return all(model.get_score(i).is_integer() and not _SPANS_A_BORDER.search(model.id_to_piece(i)) for i in pieces)
