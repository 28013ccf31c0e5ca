"""Word lists: files of one entry a line, named by the code of their language."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.base.errors import InputError, problem
from engine.text.language_codes import MACROLANGUAGES, codes
from engine.text.unicode_tables import unicode_tables
from engine.text.words import split_words

JOINERS = " -'`,\u2019\u02bc\u00b7\u30fb"
"""What may separate the words of an entry: space, hyphen, apostrophes and backtick, comma, middle dots."""
_FILE = re.compile(r"([a-z]{2,3}(?:[-_][A-Za-z0-9]+)*)(?:\.txt)?")


@dataclass(frozen=True, eq=False)
class WordList:
    """One list. Entries of words lie one after the other: those of entry e are words[offsets[e] : offsets[e + 1]].

    words: uint64[all words], offsets: int64[entries + 1]; entries of the same words once, in the order of their hashes.
    as_written: entries with symbols of their own, in lower case, longest first.
    """

    words: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    as_written: tuple[str, ...]


def language_code(name: str) -> str:
    """Return a language code in one spelling: lower case, subtags joined by hyphens, `eng` as `en`."""
    first, *rest = name.strip().lower().replace("_", "-").split("-")
    return "-".join([*codes([first]), *rest])


def closest_list(language: str, lists: Iterable[str]) -> str | None:
    """Return the list for a language: its own, or that of a wider code (fr-CA, then fr), as RFC 4647 looks up.

    Else the only list of its language that is of no other script or region: of the lists uk-cyrl and fr-ca, `uk` and
    `uk-UA` take the first, `fr` the second, `fr-BE` none. `lists`: in the spelling of `language_code`.
    """
    known = sorted(lists)
    code = language_code(language)
    for wider in (*_with_wider(code), *_with_wider(_of_macrolanguage(code))):
        if wider in known:
            return wider
    same = [name for name in known if _first(name) == _first(code) and not _differ(name, code)]
    return same[0] if len(same) == 1 else None


def _with_wider(code: str) -> Iterator[str]:
    while code:
        yield code
        code = code.rpartition("-")[0]


def _of_macrolanguage(code: str) -> str:
    first, *rest = code.split("-")
    return "-".join([MACROLANGUAGES.get(first, first), *rest])


def _first(code: str) -> str:
    return _of_macrolanguage(code).split("-")[0]


def _differ(one: str, other: str) -> bool:
    """Return whether two codes name two scripts or two regions."""
    named, also_named = _script_and_region(one), _script_and_region(other)
    return any(also_named.get(kind, subtag) != subtag for kind, subtag in named.items())


def _script_and_region(code: str) -> dict[str, str]:
    found = {}
    # A single letter begins an extension, in which other things are called by two and four letters.
    for subtag in takewhile(lambda subtag: len(subtag) > 1, code.split("-")[1:]):
        if len(subtag) == 4 and subtag.isalpha():
            found["script"] = subtag
        elif len(subtag) == 2 or (len(subtag) == 3 and subtag.isdigit()):
            found["region"] = subtag
    return found


def read_lists(lists: str | Mapping[str, str]) -> dict[str, WordList]:
    """Return language code -> list; raises InputError for files that cannot be read or hold no entry."""
    return {code: word_list(read_entries(path)) for code, path in list_files(lists).items()}


def list_files(lists: str | Mapping[str, str]) -> dict[str, Path]:
    """Return language code -> file; raises InputError for what is no folder, and for one without lists."""
    if not isinstance(lists, str):
        return {language_code(name): Path(path) for name, path in lists.items()}
    folder = Path(lists)
    if not folder.is_dir():
        needed = "a folder of files called by their language code"
        raise InputError(problem(folder, "it is no folder", needed, "write lists: {en: path} for one list"))
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if match := _FILE.fullmatch(path.name):
            code = language_code(match[1])
            if code in found:
                raise InputError(problem(path, f"a second list for '{code}'", "one list a language"))
            found[code] = path
    if not found:
        raise InputError(problem(folder, "no list in it", "files called by a language code, as en or de.txt"))
    return found


def read_entries(path: Path) -> list[str]:
    """Return the entries of a file, one a line; raises InputError where it is not UTF-8 or has no entry."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(problem(path, f"cannot be read ({error})", "a UTF-8 file of one entry a line")) from error
    entries = [line.strip() for line in lines if line.strip()]
    if not entries:
        raise InputError(problem(path, "no entry in it", "one entry a line"))
    return entries


def word_list(entries: list[str]) -> WordList:
    """Sort entries into those that are compared as words and those that are searched for as written."""
    words = split_words(pl.Series(entries, dtype=pl.String).to_arrow())
    sequences, as_written = set(), set()
    for number, entry in enumerate(entries):
        sequence = tuple(words.hashes[words.offsets[number] : words.offsets[number + 1]].tolist())
        if sequence and not any(map(_is_symbol, entry)):
            sequences.add(sequence)
        else:
            as_written.add(entry.lower())
    ordered = sorted(sequences)
    return WordList(
        np.array([word for sequence in ordered for word in sequence], dtype=np.uint64),
        np.cumsum([0, *map(len, ordered)], dtype=np.int64),
        tuple(sorted(as_written, key=lambda entry: (-len(entry), entry))),
    )


def _is_symbol(character: str) -> bool:
    # Letters, numbers and marks by the project's own tables, so that a newer Python reads the same list.
    is_in_a_word = bool(unicode_tables().entries[ord(character)])
    return not (is_in_a_word or character in JOINERS or character.isspace() or unicodedata.category(character) == "Pd")
