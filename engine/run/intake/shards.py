"""Files of a source cut into shards, each with its texts and its core columns but for the ids.

Converted sources are cut every 32 MB of text, at rows that depend on the rows alone; sources read in place keep their
files, and a shard is a run of row groups. Rows keep the order of files and of rows in them. At most `jobs` + 1 shards
are in memory.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.base.errors import InputError, problem
from engine.base.progress import progress
from engine.base.stage import SourceConfig
from engine.formats.doc_ids import Digests, as_text, own_doc_ids
from engine.formats.parquet import write_parquet
from engine.run.intake.core_columns import column_mapping, core_columns
from engine.sources._columns import READ_PROBLEM, TEXT, conform, merge_schemas
from engine.sources._config import FileConfig
from engine.sources._files import located
from engine.sources.parquet import read_run

SHARD_BYTES = 32 << 20
ROW_BYTES = 100
"""What a row counts beside its text, so that millions of empty texts do not make one shard."""
SHOWN_ROWS = 3
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Draft:
    """A shard whose documents have no ids yet."""

    name: str
    ids_path: Path
    text_path: Path
    row_groups: tuple[int, ...]
    text_column: str
    id_column: str | None
    num_rows: int
    num_bytes: int
    keys: Digests
    """doc_id where the document has an own id, else the digest of its text."""
    has_own_id: np.ndarray
    """bool[rows]"""
    lacking_id: tuple[tuple[int, str], ...]
    """The first readable rows without the own id they should have: position in the shard, how the text begins."""
    num_lacking_id: int
    problems: dict[str, int]
    schema: pa.Schema
    has_messages: bool = False
    """Whether the documents are chats, with a column `messages` beside their text."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return columns of the source's own for all rows."""
        return read_run(self.text_path, self.row_groups, columns)

    def own_id(self, row: int) -> str:
        """Return the own id of a row as text."""
        return str(as_text(self.read([str(self.id_column)]).column(0))[row])


def draft_shards(
    config: SourceConfig,
    module: ModuleType,
    base: Path,
    paths: Sequence[Path],
    folder: Path,
    jobs: int,
    shard_bytes: int | None,
) -> list[Draft]:
    """Read a source into shards in `folder` and return them in order; empty where the source has no rows.

    Raises InputError as the reader does, and for mapped columns that no file has and own ids that are null.
    """
    whole = located(config, base) if isinstance(config, FileConfig) else config
    with progress(f"source {config.name}: reading", unit="shards") as bar:
        if module.IN_PLACE:
            found = _in_place(whole, module, paths, folder, jobs, shard_bytes)
        else:
            found = _converted(whole, module, paths, folder, jobs, shard_bytes or SHARD_BYTES)
        drafts = []
        for draft in found:
            drafts.append(draft)
            bar.advance()
    if drafts:
        _require_columns(config, drafts)
        _require_ids(config, drafts)
    return drafts if module.IN_PLACE else _with_one_schema(drafts)


def cut(tables: Iterable[pa.Table], text_column: str, shard_bytes: int) -> Iterator[pa.Table]:
    """Yield tables that end at the first row with which they reach `shard_bytes`, however the input is batched."""
    pending: list[pa.Table] = []
    size = 0
    for table in tables:
        ends = np.cumsum(_row_sizes(table, text_column))
        start = taken = 0
        while (end := int(np.searchsorted(ends, taken + shard_bytes - size)) + 1) <= table.num_rows:
            yield _joined([*pending, table.slice(start, end - start)], text_column)
            pending, size, start, taken = [], 0, end, int(ends[end - 1])
        if start < table.num_rows:
            pending.append(table.slice(start))
            size += int(ends[-1]) - taken
    if pending:
        yield _joined(pending, text_column)


def _converted(
    config: SourceConfig, module: ModuleType, paths: Sequence[Path], folder: Path, jobs: int, shard_bytes: int
) -> Iterator[Draft]:
    text_column = column_mapping(config)["text"]
    tables = (table for path in paths for table in module.read(path, config))

    def finish(numbered: tuple[int, pa.Table]) -> Draft:
        number, table = numbered
        path = folder / f"{number:05}.parquet"
        write_parquet(path, table.drop_columns([READ_PROBLEM]))
        with pq.ParquetFile(path) as file:
            row_groups = tuple(range(file.num_row_groups))
        return _draft(config, table, path, row_groups, folder / f"{number:05}.ids.parquet")

    return _in_order(finish, enumerate(cut(tables, text_column, shard_bytes)), jobs)


def _in_place(
    config: SourceConfig,
    module: ModuleType,
    paths: Sequence[Path],
    folder: Path,
    jobs: int,
    shard_bytes: int | None,
) -> Iterator[Draft]:
    def runs() -> Iterator[tuple[Path, tuple[int, ...], bool]]:
        for path in paths:
            # A file is copied as a whole or not at all, so that the shards of one file stay together.
            is_copied = getattr(config, "on_bad_row", "error") == "drop" and not module.require_utf8(path, config)
            yield from ((path, run, is_copied) for run in module.runs(path, config, shard_bytes))

    def finish(numbered: tuple[int, tuple[Path, tuple[int, ...], bool]]) -> Draft:
        number, (path, run, is_copied) = numbered
        ids_path = folder / f"{number:05}.ids.parquet"
        columns = module.read_columns(path, config)
        if is_copied:
            copy = folder / f"{number:05}.parquet"
            table = module.cleaned(module.read_run(path, run), columns)
            pq.write_table(table.drop_columns([READ_PROBLEM]), copy, compression="zstd")
            return _draft(config, table, copy, tuple(range(pq.read_metadata(copy).num_row_groups)), ids_path)
        table = module.read_run(path, run, columns)
        if module.invalid_rows(table).any():
            module.require_utf8(path, config)
        return _draft(config, table, path, run, ids_path)

    return _in_order(finish, enumerate(runs()), jobs)


def _draft(
    config: SourceConfig, table: pa.Table, text_path: Path, row_groups: tuple[int, ...], ids_path: Path
) -> Draft:
    core = core_columns(table, config)
    write_parquet(ids_path, core.frame)
    mapping = column_mapping(config)
    trouble = core.frame[READ_PROBLEM]
    keys, has_own = core.text_keys, np.zeros(table.num_rows, dtype=bool)
    lacking = np.zeros(0, np.int64)
    if core.own_ids is not None:
        has_own = core.own_ids.is_not_null().to_numpy()
        keys = np.where(has_own[:, None], own_doc_ids(config.name, core.own_ids), keys)
        lacking = np.flatnonzero(~has_own & trouble.is_null().to_numpy())
    text = table.column(mapping["text"])
    return Draft(
        name=ids_path.name.removesuffix(".ids.parquet"),
        ids_path=ids_path,
        text_path=text_path,
        row_groups=row_groups,
        text_column=mapping["text"],
        id_column=mapping.get("id"),
        num_rows=table.num_rows,
        num_bytes=int(core.frame["num_bytes"].sum()),
        keys=keys,
        has_own_id=has_own,
        lacking_id=tuple((row, _beginning(text[row].as_py())) for row in lacking[:SHOWN_ROWS].tolist()),
        num_lacking_id=len(lacking),
        problems={name: int(count) for name, count in trouble.drop_nulls().value_counts().iter_rows()},
        schema=table.schema.remove(table.schema.get_field_index(READ_PROBLEM))
        if READ_PROBLEM in table.schema.names
        else table.schema,
        has_messages=getattr(config, "has_messages", False),
    )


def _beginning(text: str | None) -> str:
    return " ".join((text or "")[:200].split())[:40]


def _require_columns(config: SourceConfig, drafts: Sequence[Draft]) -> None:
    """Raise InputError for a mapped column that is nowhere in the source."""
    if all(sum(draft.problems.values()) == draft.num_rows for draft in drafts):
        return
    names = list(dict.fromkeys(name for draft in drafts for name in draft.schema.names))
    for core, column in config.columns.items():
        if column not in names:
            place = f"source {config.name}"
            found = f"no row has a column '{column}' (have: {', '.join(names)})"
            raise InputError(problem(place, found, f"the column that '{core}' is taken from", "correct columns"))


def _require_ids(config: SourceConfig, drafts: Sequence[Draft]) -> None:
    count = sum(draft.num_lacking_id for draft in drafts)
    if count == 0:
        return
    shown = []
    start = 1
    for draft in drafts:
        shown += [f"row {start + row} ('{text}')" for row, text in draft.lacking_id]
        start += draft.num_rows
    found = f"no id in {count:,} row{'s' if count > 1 else ''}: {', '.join(shown[:SHOWN_ROWS])}"
    found += f" and {count - SHOWN_ROWS:,} more" if count > SHOWN_ROWS else ""
    fix = "fill the column, or take id out of columns: ids are then made of the texts"
    raise InputError(problem(f"source {config.name}, column '{drafts[0].id_column}'", found, "an id in every row", fix))


def _with_one_schema(drafts: list[Draft]) -> list[Draft]:
    """Rewrite the shards whose columns differ from those of the whole source (types, or a column they lack)."""
    merged = merge_schemas([draft.schema for draft in drafts])
    whole = pa.schema([(f.name, TEXT if pa.types.is_null(f.type) else f.type) for f in merged])
    types = dict(zip(whole.names, whole.types, strict=True))
    for draft in drafts:
        if dict(zip(draft.schema.names, draft.schema.types, strict=True)) != types:
            write_parquet(draft.text_path, conform(conform(draft.read(draft.schema.names), draft.schema), whole))
    return [replace(draft, schema=whole) for draft in drafts]


def _row_sizes(table: pa.Table, text_column: str) -> np.ndarray:
    sizes = np.full(table.num_rows, ROW_BYTES, np.int64)
    if text_column in table.column_names and not pa.types.is_null(table.column(text_column).type):
        lengths = pc.fill_null(pc.binary_length(table.column(text_column)), 0)
        sizes += lengths.to_numpy().astype(np.int64)
    return sizes


def _joined(tables: Sequence[pa.Table], text_column: str) -> pa.Table:
    always = pa.schema([(text_column, TEXT), (READ_PROBLEM, TEXT)])
    schema = merge_schemas([*(table.schema for table in tables), always])
    return pa.concat_tables([conform(table, schema) for table in tables]).combine_chunks()


def _in_order(function: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    """Yield function(item) in the order of the items, worked on by `jobs` threads, few items read ahead."""
    if jobs == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(jobs) as executor:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) >= jobs:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
