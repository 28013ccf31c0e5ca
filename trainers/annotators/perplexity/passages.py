"""What a model reads of each document: ids, which of them are scored, and how many bytes those stand for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.errors import InputError, problem

CHARS_PER_TOKEN = 16
"""Characters of a document that are tokenised, for every token that is read; English has about four a token."""
DOCUMENTS_AT_ONCE = 512


@dataclass(frozen=True)
class Passage:
    """The beginning of a document as a model reads it."""

    ids: np.ndarray
    """int32[tokens], what the tokenizer puts in front included."""
    first: int
    """Position of the first scored id; at least 1, len(ids) where nothing is scored."""
    num_bytes: int
    """UTF-8 bytes of the text of ids[first:]."""

    @property
    def num_scored(self) -> int:
        """Ids that are scored."""
        return len(self.ids) - self.first


class PassageReader:
    """Reads passages with the tokenizer.json of a model folder."""

    def __init__(self, folder: Path) -> None:
        """Load the tokenizer; raises InputError where its file is none."""
        import tokenizers

        path = folder / "tokenizer.json"
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise InputError(problem(path, f"cannot be read ({error})", "a tokenizer of Hugging Face")) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        marked = self._tokenizer.encode("a", add_special_tokens=True)
        count = next((at for at, special in enumerate(marked.special_tokens_mask) if not special), 0)
        self.prefix: list[int] = marked.ids[:count]
        self.vocab_size = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        # Post-processors may take white space out of the offsets, whose bytes would then be nobody's.
        self._tokenizer.post_processor = None
        # Special tokens written in a text stay text: they are split like any other characters.
        self._tokenizer.encode_special_tokens = True

    def read(self, texts: Sequence[str], max_tokens: int) -> Iterator[Passage]:
        """Yield the passage of each text, at most `max_tokens` ids long."""
        for start in range(0, len(texts), DOCUMENTS_AT_ONCE):
            begun = [text[: CHARS_PER_TOKEN * max_tokens] for text in texts[start : start + DOCUMENTS_AT_ONCE]]
            for text, encoding in zip(begun, self._tokenizer.encode_batch(begun), strict=True):
                yield self._passage(text, encoding, max_tokens)

    def _passage(self, text: str, encoding: Any, max_tokens: int) -> Passage:
        ids, offsets, prefix = encoding.ids, encoding.offsets, self.prefix
        stop = min(len(ids), max_tokens - len(prefix))
        while 0 < stop < len(ids) and offsets[stop][0] < offsets[stop - 1][1]:
            stop -= 1  # the next token shares a character with the last
        first = 0 if prefix else 1
        while 0 < first < stop and offsets[first][0] < offsets[first - 1][1]:
            first += 1
        read = np.array([*prefix, *ids[:stop]], dtype=np.int32)
        if first >= stop:
            return Passage(read, len(read), 0)
        begin = offsets[first - 1][1] if first else 0
        end = len(text) if stop == len(ids) else offsets[stop - 1][1]
        return Passage(read, len(prefix) + first, len(text[begin:end].encode()))


def padded_width(num_tokens: int, longest: int) -> int:
    """Return the number of positions a passage is filled up to: 32, 48, 64, 96, 128, 192, ..., at most `longest`."""
    width = 32
    while width < num_tokens:
        width = width * 3 // 2 if width & (width - 1) == 0 else width * 4 // 3
    return min(width, longest)


def batches(passages: Sequence[Passage], batch_tokens: int, longest: int) -> Iterator[tuple[list[int], int, int]]:
    """Yield (positions in `passages`, rows, width) for all that have something to score.

    Of one width every batch has the same number of rows, so the last ones are not full.
    """
    by_width: dict[int, list[int]] = {}
    for position, passage in enumerate(passages):
        if passage.num_scored:
            by_width.setdefault(padded_width(len(passage.ids), longest), []).append(position)
    for width in sorted(by_width, reverse=True):
        rows = max(1, batch_tokens // width)
        for start in range(0, len(by_width[width]), rows):
            yield by_width[width][start : start + rows], rows, width
