"""The files of one side, and their texts: tables as one-shot verbs read them, text files of one document each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from engine.annotate._classifier.examples import CANDIDATES
from engine.base.errors import InputError, problem
from engine.formats.core_of_text import digest_series, digests, is_blank
from engine.run.oneshot.inputs import Input, read_inputs, reader_of
from engine.run.oneshot.texts import plain_texts, require_utf8
from engine.sources import text as text_files
from engine.sources._columns import TEXT


@dataclass(frozen=True)
class Given:
    """One file of a side; of its documents some are taken."""

    label: int
    source: str
    """What the user gave: the file, or the folder it lies in."""
    name: str
    input: Input | None
    """None for a text file."""
    read: Callable[[], Iterator[pa.Array]]
    """Yields its texts as Arrow strings, in their order."""

    def names(self, rows: pl.Expr) -> pl.Expr:
        """Return what its documents are called: `file#row`, rows from 0; a text file by its name."""
        return pl.lit(self.name) if self.input is None else pl.format("{}#{}", pl.lit(self.name), rows)


def read_given(paths: Sequence[Path | str], label: int, text_column: str, scratch: Path) -> list[Given]:
    """Return the files of one side in the order given, each once; what is no Parquet is converted into `scratch`.

    Raises InputError for a file that is missing, damaged, of no known kind, or lacks the column.
    """
    found: dict[Path, Given] = {}
    for number, path in enumerate(map(Path, paths)):
        if texts := _text_files(path):
            for file in texts:
                found.setdefault(file.resolve(), Given(label, str(path), str(file), None, _reader_of_text(file)))
            continue
        folder = scratch / str(number)
        folder.mkdir(parents=True)
        for one in read_inputs([path], (), {"text": text_column}, folder):
            found.setdefault(
                one.path.resolve(), Given(label, str(path), one.name, one, _reader_of_table(one, text_column))
            )
    return list(found.values())


def candidates_of(given: Sequence[Given]) -> pl.DataFrame:
    """Return CANDIDATES with `given` (position) and `row` of all documents; raises InputError for text in no UTF-8."""
    schema = {**CANDIDATES, "given": pl.UInt32, "row": pl.UInt32}
    frames = [pl.DataFrame(schema=schema)]
    for position, one in enumerate(given):
        first = 0
        for texts in one.read():
            require_utf8(texts, first, lambda row, one=one: f"{one.name}#{row}")  # type: ignore[misc]
            column = pa.chunked_array([texts.cast(TEXT)])
            strings = pl.Series(pl.from_arrow(column))
            rows = pl.int_range(first, first + len(texts), dtype=pl.UInt32)
            frames.append(
                pl.select(
                    label=pl.lit(one.label, dtype=pl.Int32),
                    source=pl.lit(one.source),
                    name=one.names(rows),
                    text_digest=digest_series(digests(column), ~is_blank(strings).to_numpy()),
                    num_bytes=strings.str.len_bytes().fill_null(0).cast(pl.Int64),
                    given=pl.lit(position, dtype=pl.UInt32),
                    row=rows,
                )
            )
            first += len(texts)
    return pl.concat(frames)


def texts_of(given: Sequence[Given], chosen: pl.DataFrame) -> pl.DataFrame:
    """Return `chosen` (rows of `candidates_of`) with its texts, in the same order."""
    wanted = chosen.with_row_index("place")
    parts = [wanted.head(0).with_columns(text=pl.lit(None, dtype=pl.String))]
    for (position,), rows in wanted.group_by("given", maintain_order=True):
        first = 0
        for texts in given[int(str(position))].read():
            here = rows.filter(pl.col("row").is_between(first, first + len(texts), closed="left"))
            if here.height:
                taken = texts.take(pa.array(here["row"].to_numpy() - first)).cast(TEXT)
                parts.append(here.with_columns(text=pl.Series(pl.from_arrow(taken))))
            first += len(texts)
    return pl.concat(parts).sort("place").drop("place", "given", "row")


def _text_files(path: Path) -> list[Path]:
    """Return the text files that `path` is or, where it is a folder without tables, holds."""
    if not path.is_dir():
        return [path] if path.is_file() and _is_text(path) else []
    inside = [file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file()]
    seen = [file for file in inside if not any(part.startswith(".") for part in file.parts)]
    if any(reader_of(file) is not None for file in seen):
        return []
    texts = [path / file for file in seen if _is_text(file)]
    if not texts:
        raise InputError(problem(path, "it holds no file that can be read", "Parquet, JSONL, CSV or text files"))
    return texts


def _is_text(path: Path) -> bool:
    return path.name.lower().endswith(text_files.SUFFIXES)


def _reader_of_text(path: Path) -> Callable[[], Iterator[pa.Array]]:
    config = text_files.Config(name="input", path=str(path))

    def read() -> Iterator[pa.Array]:
        try:
            for table in text_files.read(path, config):
                yield from table.column("text").chunks
        except InputError as error:
            # What the reader advises is for recipes.
            raise InputError(str(error).partition(" Fix: ")[0]) from error

    return read


def _reader_of_table(one: Input, text_column: str) -> Callable[[], Iterator[pa.Array]]:
    def read() -> Iterator[pa.Array]:
        for piece in one.pieces:
            for batch in piece.batches([text_column]):
                yield from plain_texts(batch.column(0))

    return read
