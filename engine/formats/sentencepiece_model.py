"""The pieces of a SentencePiece model file: read, retyped, renamed, added; everything else stays as it is.

A model is a protocol buffer (https://protobuf.dev/programming-guides/encoding/), whose message ModelProto has the
pieces as field 1: text (1), score (2), type (3), as sentencepiece_model.proto of google/sentencepiece says. The few
lines that are needed of the encoding are here, so that no protobuf runtime is.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.formats.markers import is_marker

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_PIECES = 1  # field of ModelProto
_TEXT, _KIND = 1, 3  # fields of SentencePiece
_NORMALIZER, _DUMMY_PREFIX = 3, 3  # normalizer_spec of ModelProto, add_dummy_prefix of NormalizerSpec
_TRAINER, _MODEL_TYPE = 2, 3  # trainer_spec of ModelProto, model_type of TrainerSpec
_MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
_SCORE = b"\x15"
_VARINT, _BYTES = 0, 2  # wire types that are written here
_SCORE_0 = b"\x15\0\0\0\0"
# The type of a user-defined piece as it stands in the file; may also be part of something else.
_HINT = bytes([_KIND << 3 | _VARINT, USER_DEFINED])


@dataclass(frozen=True)
class Piece:
    """A piece of the vocabulary; its id is its position."""

    text: str
    kind: int
    other: bytes = _SCORE_0
    """The other fields as they stand: the score."""


def for_text(model: bytes) -> bytes:
    """Return the model with markers that texts could spell as CONTROL pieces, which no text becomes; ids stay."""
    if _HINT not in model:
        return model
    pieces, other = read_pieces(model)
    retyped = [replace(p, kind=CONTROL) if p.kind == USER_DEFINED and is_marker(p.text) else p for p in pieces]
    return write_pieces(retyped, other) if retyped != pieces else model


def with_control_pieces(model: bytes, renamed: Mapping[str, str], marked: Sequence[str], added: Sequence[str]) -> bytes:
    """Return the model with pieces renamed (old text -> new), `marked` ones kept and `added` ones at the end.

    All of them are CONTROL. Raises KeyError for a piece that is not there.
    """
    pieces, other = read_pieces(model)
    position = {piece.text: number for number, piece in enumerate(pieces)}
    for old, new in {**renamed, **{text: text for text in marked}}.items():
        pieces[position[old]] = replace(pieces[position[old]], text=new, kind=CONTROL)
    return write_pieces([*pieces, *(Piece(text, CONTROL) for text in added)], other)


def with_pieces(model: bytes, added: Sequence[str]) -> bytes:
    """Return a BPE model with these normal pieces at the end, merged after all others and in their order."""
    pieces, other = read_pieces(model)
    scores = [struct.unpack("<f", piece.other[1:5])[0] for piece in pieces if piece.kind == NORMAL and piece.other]
    lowest = min(scores, default=0.0)
    new = [Piece(text, NORMAL, _SCORE + struct.pack("<f", lowest - 1 - n)) for n, text in enumerate(added)]
    return write_pieces([*pieces, *new], other)


def model_type(model: bytes) -> str:
    """Return unigram, bpe, word or char."""
    found = 1
    for field, _, value in _fields(model):
        if field == _TRAINER:
            for key, whole, _ in _fields(value):
                if key == _MODEL_TYPE:
                    found = _varint(whole, _varint(whole, 0)[1])[0]
    return _MODEL_TYPES.get(found, f"type {found}")


def without_dummy_prefix(model: bytes) -> bytes:
    """Return the model without the space that some put in front of every text."""
    # A message that stands twice is merged, and of a field the last counts (protobuf.dev/programming-guides/encoding).
    return model + bytes([_NORMALIZER << 3 | _BYTES, 2, _DUMMY_PREFIX << 3 | _VARINT, 0])


def read_pieces(model: bytes) -> tuple[list[Piece], bytes]:
    """Return the pieces of a model in the order of their ids, and all its other fields as they stand."""
    pieces, other = [], bytearray()
    for field, whole, value in _fields(model):
        if field == _PIECES:
            pieces.append(_piece(value))
        else:
            other += whole
    return pieces, bytes(other)


def write_pieces(pieces: Sequence[Piece], other: bytes) -> bytes:
    """Return the model file of these pieces and other fields."""
    return b"".join(_delimited(_PIECES, _written(piece)) for piece in pieces) + other


def _piece(message: bytes) -> Piece:
    text, kind, other = "", NORMAL, bytearray()
    for field, whole, value in _fields(message):
        if field == _TEXT:
            text = value.decode()
        elif field == _KIND:
            kind = value[0]
        else:
            other += whole
    return Piece(text, kind, bytes(other))


def _written(piece: Piece) -> bytes:
    kind = b"" if piece.kind == NORMAL else bytes([_KIND << 3 | _VARINT, piece.kind])
    return _delimited(_TEXT, piece.text.encode()) + piece.other + kind


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield of each field its number, all its bytes, and its value's bytes."""
    place = 0
    while place < len(message):
        start = place
        key, place = _varint(message, place)
        value = place
        match key & 7:
            case 0:
                _, place = _varint(message, place)
            case 1:
                place += 8
            case 2:
                length, value = _varint(message, place)
                place = value + length
            case 5:
                place += 4
            case other:
                raise ValueError(f"wire type {other} at byte {start}: not a SentencePiece model")
        yield key >> 3, message[start:place], message[value:place]


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _delimited(field: int, value: bytes) -> bytes:
    length, size = len(value), bytearray()
    while length >= 0x80:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([field << 3 | _BYTES, *size, length]) + value
