"""Character classes and full case folding of Unicode 14.0.0, shipped as `unicode_14.npz` (9 kB).

One fixed version, so that a newer Python never moves a word boundary and with it the identity of a document
set. Rebuild with `python -m engine.text.unicode_tables` under Python 3.11 (whose `unicodedata` is 14.0.0).
Sources: UnicodeData.txt (General_Category) and CaseFolding.txt (statuses C and F), through `unicodedata` and
`str.casefold`; the ranges of scripts without spaces follow Scripts.txt and Blocks.txt.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNICODE_VERSION = "14.0.0"
SHIPPED_FILE = Path(__file__).with_name("unicode_14.npz")
NUM_CODE_POINTS = 0x110000

SEPARATOR, LETTER, SOLO, MARK = 0, 1, 2, 3
"""Classes: not part of a word; letter or number of a run; one that is a word by itself; mark (M*)."""

KIND_SHIFT = 24
FOLDS = 1 << 31
LOW_BITS = (1 << KIND_SHIFT) - 1
ROW_BYTES = 16

SOLO_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark, closing mark, number zero
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3031, 0x3035),  # vertical kana repeat marks
    (0x3038, 0x303C),  # Hangzhou numerals, vertical iteration mark, masu mark
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Myanmar, extended B
    (0xAA60, 0xAA7F),  # Myanmar, extended A
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x16FE3, 0x16FE3),  # old Chinese iteration mark
    (0x1AFF0, 0x1B16F),  # kana supplements and extensions
    (0x20000, 0x3FFFF),  # Han, extensions B and later
)
"""Inclusive ranges of the scripts written without spaces; only letters and numbers become SOLO."""


@dataclass(frozen=True, eq=False)
class UnicodeTables:
    """The tables as the kernels read them. ASCII they fold by arithmetic: all tables must agree on it.

    entries: uint32, one per code point: class << 24 | code point; 0 separates. Where FOLDS is set, the class is that of
    what it folds to (LETTER where that is not one character), and the low 24 bits are a row of `foldings` instead.
    foldings: uint8[rows, ROW_BYTES]: up to three characters in UTF-8, zeros behind them, in the last byte their length.
    Raises ValueError unless ASCII letters and digits alone are in words, folded to lower case.
    """

    entries: NDArray[np.uint32]
    foldings: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Check ASCII."""
        for code_point in range(128):
            character = chr(code_point)
            expected = (LETTER, character.lower()) if character.isalnum() else (SEPARATOR, "")
            if self.fold(code_point) != expected:
                raise ValueError(f"entries: got {self.fold(code_point)} for {character!r}. Needed: {expected}.")

    def fold(self, code_point: int) -> tuple[int, str]:
        """Return (class, what it folds to, empty where it separates) of a code point."""
        entry = int(self.entries[code_point])
        kind = entry >> KIND_SHIFT & 3
        if not entry & FOLDS:
            return kind, chr(code_point) if kind != SEPARATOR else ""
        row = self.foldings[entry & LOW_BITS]
        return kind, row[: row[-1]].tobytes().decode()


def folding_rows(foldings: Iterable[str]) -> NDArray[np.uint8]:
    """Return rows as `UnicodeTables.foldings` has them."""
    encoded = [folding.encode() for folding in foldings]
    rows = b"".join(folding.ljust(ROW_BYTES - 1, b"\0") + bytes([len(folding)]) for folding in encoded)
    return np.frombuffer(rows, dtype=np.uint8).reshape(-1, ROW_BYTES)


def generate() -> dict[str, NDArray[np.uint32]]:
    """Return the content of the shipped file, derived from this Python's `unicodedata`.

    class_starts, class_values: runs of equal class, by first code point; folded_from: code points that fold
    to something else; folded_to: rows of three code points, filled up with 0.
    """
    classes = np.array([_class_of(code_point) for code_point in range(NUM_CODE_POINTS)], dtype=np.uint32)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(classes)) + 1]).astype(np.uint32)
    foldings = {
        code_point: [ord(character) for character in chr(code_point).casefold()]
        for code_point in range(NUM_CODE_POINTS)
        if chr(code_point).casefold() != chr(code_point)
    }
    padded = [folding + [0] * (3 - len(folding)) for folding in foldings.values()]
    return {
        "class_starts": starts,
        "class_values": classes[starts],
        "folded_from": np.array(list(foldings), dtype=np.uint32),
        "folded_to": np.array(padded, dtype=np.uint32),
    }


def _class_of(code_point: int) -> int:
    major = unicodedata.category(chr(code_point))[0]
    if major == "M":
        return MARK
    if major not in "LN":
        return SEPARATOR
    return SOLO if any(first <= code_point <= last for first, last in SOLO_RANGES) else LETTER


@cache
def unicode_tables() -> UnicodeTables:
    """Return the tables of the shipped file (loaded once, 40 ms, 4.5 MB)."""
    with np.load(SHIPPED_FILE) as shipped:
        starts, values = shipped["class_starts"], shipped["class_values"]
        folded_from, folded_to = shipped["folded_from"], shipped["folded_to"]
    classes = np.repeat(values, np.diff(starts, append=np.uint32(NUM_CODE_POINTS)))
    code_points = np.arange(NUM_CODE_POINTS, dtype=np.uint32)
    entries = np.where(classes == SEPARATOR, 0, classes << KIND_SHIFT | code_points).astype(np.uint32)
    foldings: list[str] = []
    for code_point, folded_code_points in zip(folded_from.tolist(), folded_to.tolist(), strict=True):
        kept = [folded for folded in folded_code_points if classes[folded] != SEPARATOR]
        kind = LETTER if len(kept) > 1 else classes[kept[0]] if kept else SEPARATOR
        entries[code_point] = FOLDS | kind << KIND_SHIFT | len(foldings) if kept else 0
        foldings.append("".join(map(chr, kept)))
    return UnicodeTables(entries, folding_rows(foldings))


if __name__ == "__main__":
    if unicodedata.unidata_version != UNICODE_VERSION:
        raise SystemExit(f"unicodedata: {unicodedata.unidata_version}. Needed: {UNICODE_VERSION} (3.11).")
    np.savez_compressed(SHIPPED_FILE, allow_pickle=False, **generate())
