"""fastText classifiers (supervised models): loaded only after a look at the whole file, asked for many lines at once.

fastText itself believes every number in a file: one that was cut short loads as noise, or takes all memory. So the
file is first walked from the first byte to the last one, which costs a second for a million words.

Layout (fastText 0.9, src/fasttext.cc, args.cc, dictionary.cc, densematrix.cc, quantmatrix.cc), little endian: magic and
version; arguments; dictionary; flag and matrix of inputs; flag and matrix of outputs. A flag of 1: the matrix is
quantised. fastText holds the GIL, and answers a line the same way whatever stands beside it.
"""

import mmap
import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import InputError, problem

MAGIC, NEWEST_VERSION = 793712314, 12
SUPERVISED = 3
LABEL = "__label__"
LINES_AT_ONCE = 4096
_ARGUMENTS = struct.Struct("<12id")
_DICTIONARY = struct.Struct("<3i2q")
_COUNT_AND_TYPE = 9
_CENTROIDS = 256


class Model:
    """A loaded classifier."""

    labels: tuple[str, ...]
    """Its labels without `__label__`, the most frequent in its training first."""

    def __init__(self, model: Any) -> None:
        """Take what fasttext.load_model or fasttext.train_supervised returned."""
        written = model.get_labels()
        self._model = model
        self._numbers = {name: number for number, name in enumerate(written)}
        self.labels = tuple(name.removeprefix(LABEL) for name in written)

    def top(self, lines: Sequence[str], k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the k likeliest labels of each line, best first: positions in `labels`, and probabilities.

        Both have the shape (lines, k); where there are fewer (a line without anything the model reads has none) the
        position is -1 and the probability 0. Line ends count as spaces, and so does fastText's own token for one.
        """
        numbers = np.full((len(lines), k), -1, dtype=np.int32)
        chances = np.zeros((len(lines), k), dtype=np.float32)
        for first in range(0, len(lines), LINES_AT_ONCE):
            asked = [_one_line(line) for line in lines[first : first + LINES_AT_ONCE]]
            names, values = self._model.f.multilinePredict(asked, k, 0.0, "strict")
            sizes = np.fromiter(map(len, names), dtype=np.int64, count=len(asked))
            filled = np.arange(k) < sizes[:, None]
            found = (self._numbers[name] for name in chain.from_iterable(names))
            numbers[first : first + len(asked)][filled] = np.fromiter(found, dtype=np.int32, count=int(sizes.sum()))
            # Logarithms of p + 1e-5 come back: up to 1.00001.
            chances[first : first + len(asked)][filled] = np.minimum(np.concatenate(values), 1)
        return numbers, chances

    def probabilities(self, lines: Sequence[str]) -> NDArray[np.float32]:
        """Return the probability of every label for each line: (lines, labels), in the order of `labels`."""
        numbers, chances = self.top(lines, len(self.labels))
        dense = np.zeros((len(lines), len(self.labels)), dtype=np.float32)
        rows, places = np.nonzero(numbers >= 0)
        dense[rows, numbers[rows, places]] = chances[rows, places]
        return dense


def load(path: Path) -> Model:
    """Return the model of a file, once per process; raises InputError where it is no whole supervised model."""
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(_not_a_model(path, f"cannot be read ({error.strerror})")) from error
    return _load(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2)
def _load(path: Path, size: int, changed_ns: int) -> Model:  # noqa: ARG001 - another file under the name is another one
    import fasttext

    check(path)
    return Model(fasttext.load_model(str(path)))


def check(path: Path) -> None:
    """Raise InputError where the file is no whole supervised fastText model."""
    if path.is_dir():
        raise InputError(_not_a_model(path, "is a folder"))
    if path.stat().st_size < 8:
        raise InputError(_not_a_model(path, f"has {path.stat().st_size} bytes"))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            found = _wrong(content)
        except struct.error:
            found = f"ends within the model, after {len(content):,} bytes"
    if found is not None:
        raise InputError(_not_a_model(path, found))


def _not_a_model(path: Path, found: str) -> str:
    return problem(path, found, "a supervised fastText model (.bin or .ftz)", "name such a file, or copy it anew")


def _wrong(content: mmap.mmap) -> str | None:
    """Return what is wrong with a file; raises struct.error where it ends too early."""
    magic, version = struct.unpack_from("<2i", content, 0)
    if magic != MAGIC:
        return "is no fastText model (its first bytes are others)"
    if not 11 <= version <= NEWEST_VERSION:
        return f"is a fastText model of version {version}; 11 and 12 can be read"
    arguments = _ARGUMENTS.unpack_from(content, 8)
    if arguments[7] != SUPERVISED:
        return "is a fastText model of word vectors, without labels"
    at, labels = _after_dictionary(content, 8 + _ARGUMENTS.size)
    if labels < 1:
        return "is a fastText model without labels"
    for _ in range(2):
        at = _after_matrix(content, at)
    return None if at == len(content) else f"has {len(content) - at:,} bytes behind the model"


def _after_dictionary(content: mmap.mmap, at: int) -> tuple[int, int]:
    """Return where the dictionary ends, and how many labels it has."""
    entries, words, labels, _, pruned = _DICTIONARY.unpack_from(content, at)
    if min(entries, words, labels) < 0 or words + labels != entries:
        raise struct.error("sizes that cannot be")
    at += _DICTIONARY.size
    for _ in range(entries):
        end = content.find(b"\0", at)
        if end < 0:
            raise struct.error("a word without an end")
        at = end + 1 + _COUNT_AND_TYPE
    return at + 8 * max(pruned, 0), labels


def _after_matrix(content: mmap.mmap, at: int) -> int:
    """Return where the flag and the matrix behind it end."""
    (is_quantised,) = struct.unpack_from("<?", content, at)
    if not is_quantised:
        rows, columns = struct.unpack_from("<2q", content, at + 1)
        return _inside(content, at + 17, 4 * rows * columns)
    has_norms, rows, _, code_bytes = struct.unpack_from("<?2qi", content, at + 1)
    at = _after_quantiser(content, _inside(content, at + 22, code_bytes))
    return _after_quantiser(content, _inside(content, at, rows)) if has_norms else at


def _after_quantiser(content: mmap.mmap, at: int) -> int:
    (dimensions,) = struct.unpack_from("<i", content, at)
    return _inside(content, at + 16, 4 * dimensions * _CENTROIDS)


def _inside(content: mmap.mmap, at: int, size: int) -> int:
    if size < 0 or at + size > len(content):
        raise struct.error("a table that does not fit")
    return at + size


def _one_line(line: str) -> str:
    # Three searches for what is hardly ever there; a table of characters takes four times as long, a pattern fifteen.
    return line.replace("\n", " ").replace("\r", " ").replace("</s>", " ") + "\n"
