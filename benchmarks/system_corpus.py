"""The real mixed text of the near-duplicate benchmark: the text files of this system and of its packages, as Parquet.

Text is a regular file that is valid UTF-8 without NUL bytes; links and second names of one file are left out. Files
come in the order of the digest of their path, so that the first N megabytes are a sample of the whole.
"""

import argparse
import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

ROOTS = ("/usr", "/etc", "/opt", "/var/lib", sys.base_prefix, sys.prefix)
MAX_FILE_BYTES = 50_000_000
BYTES_PER_PARQUET = 100_000_000


def text_files(roots: Sequence[str] = ROOTS) -> list[Path]:
    """Return candidates in the order of the digests of their paths; whether they are text shows when they are read."""
    found: dict[tuple[int, int], Path] = {}
    for root in dict.fromkeys(os.path.realpath(root) for root in roots):
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in ("__pycache__", ".git")]
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.lstat()
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= MAX_FILE_BYTES:
                    found.setdefault((status.st_dev, status.st_ino), path)
    return sorted(found.values(), key=lambda path: hashlib.blake2b(os.fsencode(path)).digest())


def texts(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of those that are text."""
    for path in paths:
        try:
            data = path.read_bytes()
            text = data.decode()
            name = str(path).encode().decode()
        except (OSError, UnicodeError):
            continue
        if "\0" not in text:
            yield name, text


def collect(folder: Path, max_bytes: int, roots: Sequence[str] = ROOTS) -> tuple[int, int]:
    """Write folder/*.parquet (path, text) up to `max_bytes` of text; return (documents, bytes)."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = total = size = 0
    rows: list[tuple[str, str]] = []
    for path, text in texts(text_files(roots)):
        length = len(text.encode())
        if total + length > max_bytes:
            break
        rows.append((path, text))
        documents, total, size = documents + 1, total + length, size + length
        if size >= BYTES_PER_PARQUET:
            _write(folder, rows)
            rows, size = [], 0
    if rows:
        _write(folder, rows)
    return documents, total


def _write(folder: Path, rows: list[tuple[str, str]]) -> None:
    number = len(list(folder.glob("*.parquet")))
    frame = pl.DataFrame(rows, schema={"path": pl.String, "text": pl.String}, orient="row")
    frame.write_parquet(folder / f"{number:03d}.parquet")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-bytes", type=int, default=1_400_000_000)
    arguments = parser.parse_args()
    print("{:,} documents, {:,} bytes of text".format(*collect(arguments.folder, arguments.max_bytes)))
