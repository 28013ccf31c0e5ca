"""What `dedup` is given: files, folders and earlier results become row groups of Parquet files, with their documents
numbered through.

Parquet is read where it lies. JSONL and CSV are converted into the scratch folder first, by the readers of a recipe.
"""

import importlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.annotate.near_dup.texts import BATCH_BYTES, TextRun
from engine.base.errors import InputError, closest, problem
from engine.sources._columns import READ_PROBLEM, TEXT, conform, merge_schemas

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
MAX_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Piece:
    """One row group: documents `first` to `first + num_rows`."""

    path: Path
    row_group: int
    first: int
    num_rows: int
    text_bytes: int
    """Size of its text column before compression, by the footer."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return columns of all its rows."""
        with _open(self.path) as file:
            return file.read_row_group(self.row_group, columns=list(columns))

    def batches(self, columns: Sequence[str] | None, batch_bytes: int = BATCH_BYTES) -> Iterator[pa.RecordBatch]:
        """Yield its rows in batches of about `batch_bytes` of text, decoded page by page; all columns where None."""
        rows = max(1, min(MAX_BATCH_ROWS, batch_bytes * self.num_rows // max(self.text_bytes, 1)))
        with _open(self.path) as file:
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

    def has(self, column: str) -> bool:
        """Return whether it has a column."""
        return column in self.schema.names

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
    """Return the files to deduplicate, in the order given, then those of `against`; nothing of their texts is read.

    columns: what they have to hold, `text` and perhaps `id` and `score`, and how it is called there.

    Raises InputError for a file that is missing, damaged, of no known kind, or lacks a column, and where two inputs
    differ in their columns.
    """
    found: list[Input] = []
    first = 0
    seen: set[tuple[Path, bool]] = set()
    for given, is_old in [(Path(path), False) for path in inputs] + [(Path(path), True) for path in against]:
        for path, name in _files(given):
            if (path.resolve(), is_old) in seen:
                continue
            seen.add((path.resolve(), is_old))
            one = _read_input(path, name, is_old, columns, first, scratch)
            first += one.num_rows
            found.append(one)
    new = [one for one in found if not one.is_old]
    _require_like_schemas(new)
    if not any(one.num_rows for one in new):
        raise InputError(problem(", ".join(map(str, inputs)) or "dedup", "no documents", "at least one row"))
    return found


def text_runs(inputs: Sequence[Input], text_column: str) -> list[TextRun]:
    """Return where the texts are read, row group by row group."""

    def reader(piece: Piece) -> Callable[[], Iterator[pa.Array]]:
        return lambda: (plain_text(batch.column(0)) for batch in piece.batches([text_column]))

    return [
        TextRun(piece.first, piece.num_rows, reader(piece)) for one in inputs for piece in one.pieces if piece.num_rows
    ]


def plain_text(column: pa.Array) -> pa.Array:
    """Return strings as Arrow string or large string, whatever they are encoded as."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column
    return column.cast(pa.large_string())


def damaged(path: Path, error: BaseException) -> InputError:
    """Return the error for a file that cannot be read."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(problem(path, f"cannot be read ({reason})", "a whole Parquet file", "copy or download it again"))


def _files(given: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of what the user gave, and what they are called."""
    if not given.is_dir():
        if not given.exists():
            beside = [path.name for path in given.parent.iterdir()] if given.parent.is_dir() else []
            hint = closest(given.name, beside)
            raise InputError(problem(given, "there is no such file", fix=f"did you mean '{hint}'?" if hint else ""))
        yield given, str(given)
        return
    folder = given
    if (given / "report.json").is_file() and (given / "removed.parquet").is_file():
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


def _read_input(path: Path, name: str, is_old: bool, columns: dict[str, str], first: int, scratch: Path) -> Input:
    reader = reader_of(path)
    if reader is None:
        raise InputError(problem(path, f"files ending with '{path.suffix}' are not read", f"{', '.join(READERS)}"))
    if is_old:
        columns = {"text": columns["text"]}
    files = [path] if reader == "parquet" else _converted(path, reader, columns["text"], scratch)
    pieces: list[Piece] = []
    schema = pa.schema([])
    for file_path in files:
        with _open(file_path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            _require_columns(path, schema, columns)
            leaf = next(i for i in range(metadata.num_columns) if metadata.schema.column(i).path == columns["text"])
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                size = group.column(leaf).total_uncompressed_size
                pieces.append(Piece(file_path, number, first, group.num_rows, size))
                first += group.num_rows
    return Input(name, tuple(pieces), schema, is_old)


def _converted(path: Path, reader: str, text_column: str, scratch: Path) -> list[Path]:
    """Return Parquet files with the rows of a JSONL or CSV file and all their columns."""
    module = importlib.import_module(f"engine.sources.{reader}")
    config = module.Config(stage=reader, name="input", path=str(path), columns={"text": text_column})
    folder = Path(tempfile.mkdtemp(dir=scratch))
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
    merged = merge_schemas(list(schemas.values()))
    whole = pa.schema([(field.name, TEXT if pa.types.is_null(field.type) else field.type) for field in merged])
    for part, schema in schemas.items():
        if schema != whole:
            pq.write_table(conform(conform(pq.read_table(part), schema), whole), part)
    return list(schemas)


def _open(path: Path) -> pq.ParquetFile:
    try:
        # Buffered: pages are read one after the other, so a row group of any size needs the memory of a page.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
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
    for one in inputs[1:]:
        mine, theirs = _kinds(inputs[0].schema), _kinds(one.schema)
        differing = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
        if differing:
            name = differing[0]
            found = (
                f"column '{name}' is {theirs.get(name, 'not there')}, in {inputs[0].name} {mine.get(name, 'not there')}"
            )
            raise InputError(problem(one.name, found, "inputs with the same columns", "deduplicate unlike files apart"))


def _kinds(schema: pa.Schema) -> dict[str, str]:
    return {field.name: "text" if is_text(field.type) else str(field.type) for field in schema}
