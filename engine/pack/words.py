"""The words of a text as a tokenizer sees them: runs of ids within which merges of its own kind may go on.

A tokenizer.json cuts texts before it merges anything, and says where. SentencePiece, and a tokenizer.json that cuts
nothing, merge whole texts; their training does not cross spaces, kinds of characters, or digits that stand alone, so
neither does what continues it. Whether two neighbours belong to one word depends on nothing but these two ids there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.formats import sentencepiece_model
from engine.formats.huggingface_tokenizer import open_for_text
from engine.formats.tokenizer import FILES, Tokenizer, special_pieces

SPACES = "\u2581\u0120"
"""How SentencePiece and byte-level tokenizers write a space inside a piece."""
_BATCH_CHARACTERS = 1 << 22
_LETTER, _DIGIT, _OTHER, _SPACE = range(4)
Tokens = tuple[np.ndarray, np.ndarray]
"""int32[n] ids of some texts, and bool[n]: a word begins here."""


@dataclass
class WordCounts:
    """What texts are made of."""

    words: Counter[tuple[int, ...]] = field(default_factory=Counter)
    """Words of two ids and more -> occurrences."""
    texts: int = 0
    num_bytes: int = 0
    tokens: int = 0


class WordTokenizer:
    """Cuts texts into ids and words with a tokenizer's own file."""

    def __init__(self, tokenizer: Tokenizer, pieces: dict[int, str], barriers: set[int]) -> None:
        """`pieces`: id -> text of the normal pieces; `barriers`: ids that are never part of a longer piece."""
        self._tokens, cuts_itself = _reader(tokenizer)
        size = tokenizer.meta.vocab_size
        self._barrier = np.zeros(size, bool)
        self._barrier[list(barriers)] = True
        # Where a vocabulary keeps every digit alone, or never joins two, what continues it does so too.
        with_digits = [p for p in pieces.values() if len(p) > 1 and any(map(str.isdecimal, p))]
        self._splits_digits = not any(len(p.strip(SPACES)) > 1 for p in with_digits)
        if not with_digits:
            self._barrier[[number for number, piece in pieces.items() if piece.isdecimal()]] = True
        self._first, self._last = np.full(size, _OTHER, np.int8), np.full(size, _OTHER, np.int8)
        self._starts, self._ends, self._blank = (np.zeros(size, bool) for _ in range(3))
        for number, piece in pieces.items():
            bare = piece.strip(SPACES)
            self._starts[number], self._ends[number] = piece[0] in SPACES, piece[-1] in SPACES
            self._blank[number] = not bare
            self._first[number], self._last[number] = (_kind(bare[0]), _kind(bare[-1])) if bare else (_SPACE, _SPACE)
        self._by_kind = not cuts_itself

    def count(self, texts: Iterable[str]) -> WordCounts:
        """Return the words of the texts; their order and their cut into batches change nothing."""
        found = WordCounts()
        for batch in _batches(texts):
            ids, starts = self.tokens(batch)
            found.texts += len(batch)
            found.num_bytes += sum(len(text.encode()) for text in batch)
            found.tokens += len(ids)
            edges = np.append(np.flatnonzero(starts), len(ids))
            several = np.flatnonzero(np.diff(edges) > 1)
            numbers = ids.tolist()
            begins, stops = edges[several].tolist(), edges[several + 1].tolist()
            found.words.update(tuple(numbers[a:b]) for a, b in zip(begins, stops, strict=True))
        return found

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Return ids of the texts and where words begin."""
        ids, starts = self._tokens(texts)
        before, after = ids[:-1], ids[1:]
        starts[1:] |= self._barrier[before] | self._barrier[after]
        # A space begins a word, or ends one where the tokenizer writes spaces behind.
        starts[1:] |= (self._starts[after] & ~self._blank[before]) | (self._ends[before] & ~self._blank[before])
        kinds, next_kinds = self._last[before], self._first[after]
        if self._splits_digits:
            starts[1:] |= (kinds == _DIGIT) & (next_kinds == _DIGIT)
        if self._by_kind:
            starts[1:] |= (kinds != next_kinds) & (kinds != _SPACE)
        return ids, starts


def pieces_of(tokenizer: Tokenizer) -> tuple[dict[int, str], set[int]]:
    """Return id -> text of the pieces that merges may go on from, and the ids of all others.

    The others: special, unknown and byte tokens, and pieces that were added to a vocabulary whole.
    """
    path = tokenizer.folder / FILES[tokenizer.meta.kind]
    if tokenizer.meta.kind == "sentencepiece":
        there, _ = sentencepiece_model.read_pieces(path.read_bytes())
        normal = {n: piece.text for n, piece in enumerate(there) if piece.kind == sentencepiece_model.NORMAL}
        return normal, {number for number in range(len(there)) if number not in normal}
    import tokenizers

    model = tokenizers.Tokenizer.from_file(str(path))
    others = {*model.get_added_tokens_decoder(), *special_pieces(tokenizer)}
    if getattr(model.model, "byte_fallback", False):
        others |= {n for piece, n in model.get_vocab().items() if len(piece) == 6 and piece.startswith("<0x")}
    unknown = getattr(model.model, "unk_token", None)
    others |= {number for number in [model.token_to_id(unknown or "")] if number is not None}
    normal = {number: piece for piece, number in model.get_vocab(with_added_tokens=True).items()}
    return {number: piece for number, piece in normal.items() if number not in others}, others


def _reader(tokenizer: Tokenizer) -> tuple[Callable[[Sequence[str]], Tokens], bool]:
    """Return what reads texts, and whether it says itself where words are."""
    if tokenizer.meta.kind == "sentencepiece":
        return lambda texts: _joined([(ids, None) for ids in tokenizer.encode(texts)]), False
    model = open_for_text(tokenizer.folder / FILES["huggingface"])

    def read(texts: Sequence[str]) -> Tokens:
        encoded = model.encode_batch(list(texts), add_special_tokens=False)
        return _joined([(np.asarray(one.ids, np.int32), one.word_ids) for one in encoded])

    return read, model.pre_tokenizer is not None


def _joined(texts: Sequence[tuple[np.ndarray, Any]]) -> Tokens:
    ids = np.concatenate([np.zeros(0, np.int32), *(one for one, _ in texts)])
    starts, place = np.zeros(len(ids), bool), 0
    for one, words in texts:
        if len(one):
            starts[place] = True
        if words is not None:
            # None, for a token of no word, becomes nan, which differs from itself.
            numbers = np.asarray(words, dtype=np.float64)
            starts[place + 1 : place + len(one)] = numbers[1:] != numbers[:-1]
        place += len(one)
    return ids, starts


def _batches(texts: Iterable[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _kind(character: str) -> int:
    if character.isdecimal():
        return _DIGIT
    # Marks, which belong to the letter before them, are neither letters nor digits to Python.
    is_letter = character.isalpha() or (not character.isascii() and not character.isprintable())
    return _LETTER if is_letter else _OTHER
