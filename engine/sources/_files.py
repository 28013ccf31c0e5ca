"""Files of a source: found by pattern, read through gzip or Zstandard, split into lines."""

import glob
import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import zstandard

from engine.base.errors import InputError, closest, problem
from engine.base.paths import written_path
from engine.sources._config import FileConfig

CHUNK_BYTES = 1 << 20
MAX_WINDOW_BYTES = 1 << 31
"""Largest Zstandard window we accept: what `zstd --long=31` writes."""
_WILDCARDS = frozenset("*?[")
_LISTED = 5
AnyFileConfig = TypeVar("AnyFileConfig", bound=FileConfig)


def find_files(config: FileConfig, base: Path) -> list[Path]:
    """Return the files of all patterns, absolute, sorted by name; a file that has several names stands once.

    Raises InputError for a pattern that matches nothing; it names the folder and what is there instead.
    """
    found = {path for pattern in config.patterns for path in _matches(pattern, base)[1]}
    by_file: dict[Path, Path] = {}
    for path in sorted(found, key=Path.as_posix):
        by_file.setdefault(path.resolve(), path)
    return list(by_file.values())


def located(config: AnyFileConfig, base: Path) -> AnyFileConfig:
    """Return the configuration with absolute patterns, so that a file can be named relative to them."""
    patterns = [str(_matches(pattern, base)[0] / pattern) for pattern in config.patterns]
    return config.model_copy(update={"path": patterns})


def relative_name(path: Path, config: FileConfig) -> str:
    """Return the name of `path` below the fixed part of the patterns of a `located` configuration."""
    roots = [str(_fixed_part(pattern)) for pattern in config.patterns]
    root = Path(os.path.commonpath(roots)) if all(Path(root).is_absolute() for root in roots) else path.parent
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, decompressed where it ends with .gz or .zst, in chunks of about 1 MB.

    Raises InputError where the file cannot be read or its compressed stream is damaged or cut short.
    """
    try:
        if path.suffix == ".zst":
            yield from _zstandard_chunks(path)
            return
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        found = f"cannot be read ({(str(error).splitlines() or ['?'])[0]})"
        raise InputError(problem(path, found, "the whole file", "copy or download it again")) from error


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file without their line feed; a byte order mark at the start is left out."""
    pending: list[bytes] = []
    is_first = True
    for chunk in read_chunks(path):
        if is_first:
            chunk, is_first = chunk.removeprefix(b"\xef\xbb\xbf"), False  # noqa: PLW2901
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        if rest:
            yield b"".join(pending)
            yield from rest[:-1]
            pending = [rest[-1]]
    last = b"".join(pending)
    if last:
        yield last


def _zstandard_chunks(path: Path) -> Iterator[bytes]:
    # The stream reader of the library takes a file that was cut short for a whole one; walking the frames shows it.
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    frame = None
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            while chunk:
                frame = frame or decompressor.decompressobj()
                if text := frame.decompress(chunk):
                    yield text
                chunk, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise EOFError("the last Zstandard frame is cut short")


def _matches(pattern: str, base: Path) -> tuple[Path, list[Path]]:
    pattern = str(written_path(pattern))
    folders = list(dict.fromkeys([base.absolute(), Path.cwd()]))
    for folder in folders:
        if (folder / pattern).is_file():
            return folder, [folder / pattern]
        found = glob.glob(str(folder / pattern), recursive=True)  # noqa: PTH207 - this one leaves out dot files
        if files := [path for path in map(Path, found) if path.is_file()]:
            return folder, files
    raise _nothing(pattern, folders)


def _nothing(pattern: str, folders: list[Path]) -> InputError:
    wanted = folders[0] / pattern
    if wanted.is_dir():
        fix = f"write {pattern.rstrip('/')}/*.<suffix>, or **/ for any depth"
        return InputError(problem(wanted, "this is a folder", "a file or a pattern of files", fix))
    folder = next(f for f in (_fixed_part(str(wanted)), *_fixed_part(str(wanted)).parents) if f.is_dir())
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    guess = closest(wanted.name, names)
    suffixes = "".join(wanted.suffixes[-2:]).lower()
    alike = [name for name in names if suffixes and name.lower().endswith(suffixes)]
    shown = list(dict.fromkeys(([guess] if guess else []) + alike + names))[:_LISTED]
    rest = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    there = f"{', '.join(shown)}{rest}" if shown else "nothing"
    where = "" if Path(pattern).is_absolute() else f" (in {' and '.join(str(f) for f in folders)})"
    found = f"no file matches; in {folder} there is: {there}"
    return InputError(problem(f"{pattern}{where}", found, "at least one file", "correct the path of this source"))


def _fixed_part(pattern: str) -> Path:
    """Return the folder before the first wildcard."""
    parts = Path(pattern).parts
    fixed = next((n for n, part in enumerate(parts) if _WILDCARDS & set(part)), len(parts) - 1)
    return Path(*parts[: min(fixed, len(parts) - 1)])
