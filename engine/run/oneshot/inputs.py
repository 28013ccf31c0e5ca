"""What a one-shot verb is given: files, folders and earlier results become row groups of Parquet files, with their
documents numbered through.

Parquet is read where it lies. JSONL and CSV are converted into the scratch folder first, by the readers of a recipe.
"""

import importlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.errors import InputError, closest, problem
from engine.sources._columns import READ_PROBLEM, TEXT, conform, merge_schemas
from engine.text.batches import BATCH_BYTES, MAX_BATCH_DOCUMENTS

READERS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
}
COMPRESSED = (".gz", ".zst")
TABLES = ("removed.parquet", "hits.parquet")
"""What the results of dedup and decontaminate are known by."""
DICTIONARY_BYTES = 4 << 20
"""Size of a text column up to which its texts may all stand in a dictionary: writers give up larger ones."""


@dataclass(frozen=True)
class Piece:
    """One row group: documents `first` to `first + num_rows`."""

    path: Path
    row_group: int
    first: int
    num_rows: int
    text_column: str
    text_bytes: int
    """Size of its text column before compression, by the footer; a text of a dictionary counts once."""
    row_bytes: int
    """The same of all columns."""

    @property
    def is_dictionary(self) -> bool:
        """Whether few texts may stand for many rows, so that rows can be far larger than the footer says."""
        return self.text_bytes <= DICTIONARY_BYTES

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return columns of all its rows."""
        with _open(self.path) as file:
            try:
                return file.read_row_group(self.row_group, columns=list(columns))
            except (OSError, pa.ArrowException) as error:
                raise damaged(self.path, error) from error

    def batches(self, columns: Sequence[str] | None, batch_bytes: int = BATCH_BYTES) -> Iterator[pa.RecordBatch]:
        """Yield its rows in batches of about `batch_bytes`, decoded page by page; all columns where None.

        The text column comes as a dictionary where `is_dictionary`.
        """
        size = self.row_bytes if columns is None else self.text_bytes
        rows = max(1, min(MAX_BATCH_DOCUMENTS, batch_bytes * self.num_rows // max(size, 1)))
        encoded = [self.text_column] if self.is_dictionary else None
        with _open(self.path, encoded) as file:
            try:
                yield from file.iter_batches(
                    batch_size=rows, row_groups=[self.row_group], columns=columns, use_threads=False
                )
            except (OSError, pa.ArrowException) as error:
                raise damaged(self.path, error) from error


@dataclass(frozen=True)
class Input:
    """One file as the user gave it."""

    name: str
    """Its path as given, or inside the folder that was given."""
    pieces: tuple[Piece, ...]
    schema: pa.Schema
    is_old: bool
    path: Path
    state: tuple[int, int] | None
    """Bytes and time of change (ns) of the file before it was opened."""

    def has(self, column: str) -> bool:
        """Return whether it has a column."""
        return column in self.schema.names

    def place_of(self, document: int) -> str:
        """Return what a document is called without an id of its own: `file#row`."""
        return f"{self.name}#{document - self.first}"

    @property
    def first(self) -> int:
        """Number of its first document."""
        return self.pieces[0].first if self.pieces else 0

    @property
    def num_rows(self) -> int:
        """Its documents."""
        return sum(piece.num_rows for piece in self.pieces)


def read_inputs(
    inputs: Sequence[Path | str],
    against: Sequence[Path | str],
    columns: dict[str, str],
    scratch: Path,
) -> list[Input]:
    """Return the files to work on, in the order given, then those of `against`; nothing of their texts is read.

    columns: what they have to hold, `text` and perhaps `id` and `score`, and how it is called there.

    Raises InputError for a file that is missing, damaged, of no known kind, or lacks a column, and where two inputs
    differ in their columns.
    """
    given = _distinct([(Path(path), False) for path in inputs] + [(Path(path), True) for path in against])
    states = {path: _state(path) for path, _, _ in given}
    parquet = _converted([path for path, _, is_old in given if not is_old], columns["text"], scratch)
    parquet |= _converted([path for path, _, is_old in given if is_old], columns["text"], scratch)
    found: list[Input] = []
    first = 0
    for path, name, is_old in given:
        needed = {"text": columns["text"]} if is_old else columns
        one = _read_input(path, name, is_old, parquet.get(path, [path]), needed, first, states[path])
        first += one.num_rows
        found.append(one)
    new = [one for one in found if not one.is_old]
    _require_like_schemas(new)
    if not any(one.num_rows for one in new):
        raise InputError(problem(", ".join(map(str, inputs)) or "INPUT", "no documents", "at least one row"))
    return found


@contextmanager
def unchanged(inputs: Sequence[Input]) -> Iterator[None]:
    """Raise InputError at the end, or instead of what went wrong, where a file is not as it was before it was opened.

    Texts are read twice and survivors a third time, so decisions about one content would be applied to another.
    """
    try:
        yield
    except Exception as error:
        # A file cut short under a reader fails in many ways.
        if (changed := _changed(inputs)) is not None:
            raise changed from error
        raise
    if (changed := _changed(inputs)) is not None:
        raise changed


def _changed(inputs: Sequence[Input]) -> InputError | None:
    for one in inputs:
        if _state(one.path) != one.state:
            needed = "files that stay as they are until the end"
            return InputError(problem(one.path, "it was changed while it was read", needed, "the same command again"))
    return None


def _state(path: Path) -> tuple[int, int] | None:
    """Return bytes and time of change (ns) of a file, None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def damaged(path: Path, error: BaseException) -> InputError:
    """Return the error for a file that cannot be read."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(problem(path, f"cannot be read ({reason})", "a whole Parquet file", "copy or download it again"))


def _distinct(given: Sequence[tuple[Path, bool]]) -> list[tuple[Path, str, bool]]:
    """Return (path, name, whether it is old) of all files; one that is given twice in the same role counts once."""
    found: dict[tuple[Path, bool], tuple[Path, str, bool]] = {}
    for place, is_old in given:
        for path, name in _files(place):
            if reader_of(path) is None:
                raise InputError(problem(path, f"files ending with '{path.suffix}' are not read", ", ".join(READERS)))
            found.setdefault((path.resolve(), is_old), (path, name, is_old))
    return list(found.values())


def _files(given: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of what the user gave, and what they are called."""
    if not given.is_dir():
        if not given.exists():
            beside = [path.name for path in given.parent.iterdir()] if given.parent.is_dir() else []
            hint = closest(given.name, beside)
            raise InputError(problem(given, "there is no such file", fix=f"did you mean '{hint}'" if hint else None))
        yield given, str(given)
        return
    folder = given
    if (given / "report.json").is_file() and any((given / table).is_file() for table in TABLES):
        folder = given / "survivors"
        if not folder.is_dir():
            fix = "run dedup again without --decisions-only"
            raise InputError(problem(given, "it holds decisions only", "a result with survivors/", fix))
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and reader_of(path) is not None)
    paths = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not paths:
        raise InputError(problem(given, "it holds no file that can be read", f"one of {', '.join(READERS)}"))
    yield from ((path, str(path)) for path in paths)


def reader_of(path: Path) -> str | None:
    """Return the reader of a file by the end of its name, None where there is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return READERS.get(suffixes[-1]) if suffixes else None


def _read_input(
    path: Path,
    name: str,
    is_old: bool,
    files: Sequence[Path],
    columns: dict[str, str],
    first: int,
    state: tuple[int, int] | None,
) -> Input:
    pieces: list[Piece] = []
    schema = pa.schema([])
    for file_path in files:
        with _open(file_path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            _require_columns(path, schema, columns)
            leaves = [metadata.schema.column(leaf).path for leaf in range(metadata.num_columns)]
            text_leaf = leaves.index(columns["text"])
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                sizes = [group.column(leaf).total_uncompressed_size for leaf in range(len(leaves))]
                pieces.append(
                    Piece(file_path, number, first, group.num_rows, columns["text"], sizes[text_leaf], sum(sizes))
                )
                first += group.num_rows
    return Input(name, tuple(pieces), schema, is_old, path, state)


def _converted(paths: Sequence[Path], text_column: str, scratch: Path) -> dict[Path, list[Path]]:
    """Return Parquet files with the rows of each JSONL or CSV file and all their columns, in one schema for all."""
    parts: dict[Path, list[Path]] = {}
    schemas: dict[Path, pa.Schema] = {}
    for path in paths:
        if reader_of(path) != "parquet":
            converted = _convert(path, text_column, Path(tempfile.mkdtemp(dir=scratch)))
            parts[path] = list(converted)
            schemas |= converted
    merged = merge_schemas(list(schemas.values()))
    whole = pa.schema([(field.name, TEXT if pa.types.is_null(field.type) else field.type) for field in merged])
    for part, schema in schemas.items():
        if schema != whole:
            pq.write_table(conform(conform(pq.read_table(part), schema), whole), part)
    return parts


def _convert(path: Path, text_column: str, folder: Path) -> dict[Path, pa.Schema]:
    reader = reader_of(path)
    module = importlib.import_module(f"engine.sources.{reader}")
    config = module.Config(stage=reader, name="input", path=str(path), columns={"text": text_column})
    schemas: dict[Path, pa.Schema] = {}
    try:
        for number, table in enumerate(module.read(path, config)):
            part = folder / f"{number:05}.parquet"
            pq.write_table(table.drop_columns([READ_PROBLEM]), part)
            schemas[part] = pq.read_schema(part)
    except InputError as error:
        # What the readers advise is for recipes.
        found = str(error).partition(" Fix: ")[0]
        fix = " Fix: name the column of the text with --text-column." if "no column" in found else ""
        raise InputError(found + fix) from error
    return schemas


def _open(path: Path, as_dictionary: list[str] | None = None) -> pq.ParquetFile:
    try:
        # Buffered: pages are read one after the other, so a row group of any size needs the memory of a page.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False, read_dictionary=as_dictionary)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from error


def _require_columns(path: Path, schema: pa.Schema, columns: dict[str, str]) -> None:
    for role, column in columns.items():
        if column not in schema.names:
            hint = closest(column, schema.names)
            found = f"no column '{column}' for the {role}; its columns: {', '.join(schema.names) or 'none'}"
            fix = f"--{'keep best:' if role == 'score' else role + '-column '}{hint or 'COLUMN'}"
            raise InputError(problem(path, found, fix=fix))
    text = schema.field(columns["text"]).type
    if not is_text(text):
        fix = "name the column of strings with --text-column"
        raise InputError(problem(path, f"column '{columns['text']}' holds {text}", "strings", fix))


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column holds strings, in whichever of Arrow's encodings."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _require_like_schemas(inputs: Sequence[Input]) -> None:
    """Refuse inputs whose survivors could not be put together again."""
    # A file without any row has no columns to differ in, where they are read off its rows.
    inputs = [one for one in inputs if len(one.schema)]
    for one in inputs[1:]:
        mine, theirs = _kinds(inputs[0].schema), _kinds(one.schema)
        differing = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
        if differing:
            name = differing[0]
            found = (
                f"column '{name}' is {theirs.get(name, 'not there')}, in {inputs[0].name} {mine.get(name, 'not there')}"
            )
            raise InputError(problem(one.name, found, "inputs with the same columns", "give unlike files apart"))


def _kinds(schema: pa.Schema) -> dict[str, str]:
    return {field.name: "text" if is_text(field.type) else str(field.type) for field in schema}
