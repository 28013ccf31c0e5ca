"""Benchmark files as their authors publish them, read into items (engine.formats.items).

Not a source of documents, hence the underscore: a recipe cannot name it as a `stage:`. Files are .jsonl, .json, .csv,
.tsv (each also .gz and .zst) and .parquet; `shapes` says which field of a file is what.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from engine.base.errors import InputError, problem, unknown
from engine.base.paths import written_path
from engine.sources._benchmarks.build import build_items
from engine.sources._benchmarks.rows import NoItemsError, read_rows, suffix_of
from engine.sources._benchmarks.shapes import Fields, find_shape

_GIVEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Benchmark:
    """One benchmark, read."""

    name: str
    path: Path
    items: pl.DataFrame
    """ITEMS, in file order."""
    shape: str
    """Which field was taken for what."""
    notes: tuple[str, ...]
    """What was left out, or could not be told, with the number of rows and the first of them (from 0)."""


@dataclass(frozen=True)
class FoundBenchmarks:
    """The benchmarks of some paths."""

    benchmarks: tuple[Benchmark, ...]
    """In the order of the paths, the files of a folder by name; each under a name of its own."""
    passed_over: dict[Path, str]
    """Data files of a folder that hold no items -> why."""


def read_benchmark(path: Path, fields: Fields | None = None, name: str | None = None) -> Benchmark:
    """Read one file; `fields` names parts of an item (question, choices, answer, passage) where they are not found.

    Raises InputError for a file that cannot be read, is empty, or has no field of questions.
    """
    rows = read_rows(path)
    if not rows:
        raise NoItemsError(problem(path, "an empty file", "one item at least", "download it again, or leave it out"))
    shape = find_shape(path, rows, fields)
    items, notes = build_items(path, rows, shape)
    return Benchmark(name or _stem(path), path, items, str(shape), notes)


def find_benchmarks(specs: Sequence[str], fields: Mapping[str, Fields] | None = None) -> FoundBenchmarks:
    """Read the benchmarks that `[NAME=]PATH` names, each a file or a folder (searched to any depth).

    The name of a benchmark is its file's, with its folder where two are called the same. NAME=FOLDER gives NAME to the
    only file, NAME_<file> to each of several. `fields` maps a path or a NAME as given to its fields.

    Raises InputError for a path that is not there, a file that `read_benchmark` refuses, a folder without any items,
    a name that is given twice, and fields of a benchmark that is not given.
    """
    given = [_split(spec) for spec in specs]
    _require_one_each(given)
    names = [name or str(path) for name, path in given]
    for known in fields or {}:
        if known not in names:
            raise InputError(unknown("fields", "benchmark given as NAME=PATH", known, names))
    read: dict[tuple[str | None, Path], Benchmark] = {}
    passed_over: dict[Path, str] = {}
    for name, path in given:
        own = (fields or {}).get(name or str(path))
        found = _read_folder(path, own, passed_over) if path.is_dir() else [read_benchmark(path, own)]
        for benchmark in found:
            # A file that two paths reach is one benchmark, unless it was given names of its own.
            read.setdefault((name, benchmark.path.resolve()), benchmark)
    named = {key for name, key in read if name is not None}
    wanted = [(name, benchmark) for (name, key), benchmark in read.items() if name is not None or key not in named]
    return FoundBenchmarks(tuple(_name_apart(wanted)), passed_over)


def parsed_fields(given: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return `NAME.question=COLUMN` texts as `find_benchmarks` takes fields; raises InputError for any other text."""
    fields: dict[str, dict[str, str]] = {}
    for text in given:
        place, sign, column = text.partition("=")
        name, dot, part = place.rpartition(".")
        if not (name and dot and part and sign and column):
            raise InputError(problem("--fields", f"got '{text}'", "NAME.question=COLUMN, NAME as in NAME=PATH"))
        fields.setdefault(name, {})[part] = column
    return fields


def _require_one_each(given: Sequence[tuple[str | None, Path]]) -> None:
    by_name: dict[str, Path] = {}
    for name, path in given:
        if name is not None:
            # Names become folders, and some file systems do not tell upper from lower case.
            if name.casefold() in by_name:
                raise _two(name, by_name[name.casefold()], path)
            by_name[name.casefold()] = path


def _read_folder(folder: Path, fields: Fields | None, passed_over: dict[Path, str]) -> list[Benchmark]:
    found = []
    for path in _data_files(folder):
        try:
            found.append(read_benchmark(path, fields))
        except NoItemsError as error:
            passed_over[path] = str(error).removeprefix(f"{path}: ")
    if not found:
        reasons = [f"{path.name}: {why}" for path, why in passed_over.items() if path.is_relative_to(folder)]
        there = f"no benchmark in this folder ({reasons[0]})" if reasons else "no data file in this folder"
        needed = "a .jsonl, .json, .csv, .tsv or .parquet file of questions"
        raise InputError(problem(folder, there, needed, "name the folder or the file that holds the items"))
    return found


def _data_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*"), key=Path.as_posix):
        parts = path.relative_to(folder).parts
        if path.is_file() and suffix_of(path) is not None and not any(part.startswith(".") for part in parts):
            yield path


def _split(spec: str) -> tuple[str | None, Path]:
    """Return NAME (or None) and PATH; a path that exists is one, even with an equals sign in it."""
    name, sign, rest = spec.partition("=")
    if not sign or "/" in name or written_path(spec).exists():
        return None, _existing(written_path(spec))
    if not _GIVEN_NAME.fullmatch(name):
        needed = "letters, digits, dots, dashes and underscores, a letter or digit first"
        raise InputError(problem(spec, f"'{name}' cannot be the name of a benchmark", needed, "choose another name"))
    return name, _existing(written_path(rest))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InputError(problem(path, "there is no such file or folder", fix="correct the path of this benchmark"))
    return path


def _name_apart(found: Iterable[tuple[str | None, Benchmark]]) -> list[Benchmark]:
    """Give every benchmark a name of its own: as given, else the file's, with folders before it as far as needed."""
    pairs = list(found)
    files = Counter(given for given, _ in pairs)
    possible = [_possible_names(given, benchmark.path, files[given]) for given, benchmark in pairs]
    taken = [0] * len(pairs)
    while True:
        names = [own[number] for own, number in zip(possible, taken, strict=True)]
        times = Counter(name.casefold() for name in names)
        clashing = [n for n, name in enumerate(names) if times[name.casefold()] > 1]
        movable = [n for n in clashing if taken[n] + 1 < len(possible[n])]
        if not movable:
            break
        for n in movable:
            taken[n] += 1
    if clashing:
        first, *others = clashing
        other = next(n for n in others if names[n].casefold() == names[first].casefold())
        raise _two(possible[other][0], pairs[first][1].path, pairs[other][1].path)
    return [replace(benchmark, name=name) for (_, benchmark), name in zip(pairs, names, strict=True)]


def _possible_names(given: str | None, path: Path, num_files: int) -> list[str]:
    """Return the names a benchmark may take, the one we like best first; a name given to one file is the only one."""
    if given is not None and num_files == 1:
        return [given]
    start = "" if given is None else f"{given}_"
    return [start + _stem(path, folders) for folders in range(len(path.resolve().parts) - 1)]


def _stem(path: Path, folders: int = 0) -> str:
    """Return the file's name without its suffix, after as many of its folders' names."""
    stem = path.name[: -len(suffix_of(path) or "")] or path.name
    parts = [*path.resolve().parent.parts[-folders:], stem] if folders else [stem]
    return re.sub(r"[^\w.-]+", "_", "_".join(parts)).lstrip(".") or "benchmark"


def _two(name: str, one: Path, other: Path) -> InputError:
    found = f"two benchmarks with this name, {one} and {other}"
    return InputError(problem(name, found, "one name a benchmark", "give one of them another: NAME=PATH"))
