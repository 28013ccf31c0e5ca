"""The stored views of one recipe: documents, annotations, decisions, pairs, held-out groups, ledger, and each source.

Everything row-aligned is joined by position, never on doc_id: at 4 million rows a group-by over a joined column takes
a quarter of a second that way and two seconds by hash join.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from engine.base.errors import InputError, problem
from engine.catalog.relation import create_view, identifier, nothing, read_files, text_literal, typed, union
from engine.formats.annotation import Annotation, part_path
from engine.formats.columns import CORE, STATED
from engine.formats.documents import MESSAGES_COLUMN, SourceDocuments
from engine.formats.ledger import SCHEMA as LEDGER_SCHEMA
from engine.formats.manifest import open_mixture
from engine.formats.selection import BALANCE_SCHEMA, EXAMPLES_SCHEMA
from engine.formats.selection import SCHEMA as DECISION_SCHEMA
from engine.formats.state import RecipeState
from engine.formats.token_store import CONTROL_TOKENS_FILE, CONTROL_TOKENS_SCHEMA, LOOK_ALIKES_FILE, LOOK_ALIKES_SCHEMA
from engine.formats.workspace import Workspace

_SIZES = ("num_bytes", "num_chars")
MESSAGES_TYPE = 'STRUCT("role" VARCHAR, "content" VARCHAR)[]'
_DOCUMENTS = (
    {"doc_id": "UUID", "source": "VARCHAR", "shard": "VARCHAR", "row": "BIGINT", "text": "VARCHAR"}
    | {"messages": MESSAGES_TYPE}
    | typed({name: CORE[name].dtype for name in (*_SIZES, *STATED)})
    | {"read_problem": "VARCHAR"}
)
_IDS = {"doc_id": "UUID", "source": "VARCHAR"}
_ARTIFACTS = {
    "duplicate_pairs": ("pairs.parquet", {"doc_id": "UUID", "other_id": "UUID", "similarity": "DOUBLE"}),
    "hits": (
        "hits.parquet",
        {"doc_id": "UUID", "benchmark": "VARCHAR", "item": "VARCHAR", "kind": "VARCHAR", "score": "DOUBLE"}
        | {"evidence": "VARCHAR", "item_text": "VARCHAR"},
    ),
    "coverage": (
        "coverage.parquet",
        {"benchmark": "VARCHAR"}
        | dict.fromkeys(("items", "matchable_items", "searched_documents", "flagged_documents"), "BIGINT")
        | {"planted_copies": "BIGINT", "planted_recall": "DOUBLE"}
        | {"control_documents": "BIGINT", "control_flag_rate": "DOUBLE"},
    ),
    "tokenizer_fit": (
        "fit.parquet",
        {"source": "VARCHAR", "domain": "VARCHAR", "is_general": "BOOLEAN"}
        | dict.fromkeys(("documents", "bytes", "words", "tokens"), "BIGINT")
        | dict.fromkeys(("tokens_per_word", "tokens_per_byte", "bytes_per_token"), "DOUBLE")
        | {"ratio_per_word": "DOUBLE", "ratio_per_byte": "DOUBLE", "tokens_over_general": "BIGINT"},
    ),
    "shattered_words": (
        "shattered.parquet",
        {"source": "VARCHAR", "domain": "VARCHAR", "word": "VARCHAR"}
        | dict.fromkeys(("occurrences", "documents", "pieces"), "BIGINT")
        | {"pieces_per_occurrence": "DOUBLE", "extra_tokens": "BIGINT"}
        | {"general_occurrences": "BIGINT", "rate_ratio": "DOUBLE", "sampled_words": "BIGINT"},
    ),
}
"""View -> file that stages of SCOPE "corpus" leave, and its columns; shown with the column prefix as `stage`."""
_OF_SELECTION: dict[str, dict[str, Any]] = {"balance": BALANCE_SCHEMA, "examples": EXAMPLES_SCHEMA}
"""View -> columns of the selection's file of that name."""
_GROUPS = {"doc_id": "UUID", "group_id": "UUID", "set": "VARCHAR"}


STAGE_VIEW = "stage_"
"""What the stored view of a stage's own columns begins with: stage_quality, stage_pii."""


def create_recipe_views(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    state: RecipeState | None,
    stages: Mapping[str, Sequence[str]],
) -> None:
    """Create the stored views of a recipe, empty ones for what it lacks; raises InputError where files are gone.

    `stages`: stage -> columns of it that get a view of their own. There is none where the recipe has no such stage.
    """
    sources = [_SourceFiles(source) for source in (state.source_documents(workspace) if state else ()) if source.shards]
    annotations = state.open_annotations(workspace) if state else ()
    selection = state.open_selection(workspace) if state else None
    create_view(connection, "documents", union([source.documents() for source in sources], _DOCUMENTS))
    digests = [source.text_digests() for source in sources]
    create_view(connection, "text_digests", union(digests, {"doc_id": "UUID", "text_digest": "VARCHAR"}))
    create_view(connection, "annotations", _all_annotations(sources, annotations))
    for stage, own in stages.items():
        if selects := list(_instances(sources, annotations, stage, own)):
            create_view(connection, f"{STAGE_VIEW}{stage}", union(selects, {}))
    decisions = {} if selection is None else {selection.folder: tuple(DECISION_SCHEMA)}
    aligned = [source.aligned(decisions, ("num_bytes",)) for source in sources if decisions]
    create_view(connection, "decisions", union(aligned, _IDS | {"num_bytes": "BIGINT"} | typed(DECISION_SCHEMA)))
    for view, schema in _OF_SELECTION.items():
        path = None if selection is None else selection.folder / f"{view}.parquet"
        create_view(connection, view, _file_or_nothing(path, typed(schema)))
    for view, (file, columns) in _ARTIFACTS.items():
        create_view(connection, view, _artifacts(workspace, state, file, columns))
    for view, file, schema in (
        ("look_alikes", LOOK_ALIKES_FILE, LOOK_ALIKES_SCHEMA),
        ("control_tokens", CONTROL_TOKENS_FILE, CONTROL_TOKENS_SCHEMA),
    ):
        create_view(connection, view, _of_token_store(workspace, state, file, typed(schema)))
    create_view(connection, "heldout_groups", _heldout(workspace, state))
    create_view(connection, "ledger", _ledger(workspace, state))
    for source in sources:
        name = f"source_{source.documents_of.name}"
        connection.execute(f"CREATE VIEW {identifier(name)} AS {source.own_columns()}")


def in_place_files(workspace: Workspace, state: RecipeState | None) -> list[Path]:
    """Return the text files of the recipe's sources that lie outside the workspace."""
    sources = state.source_documents(workspace) if state else ()
    paths = {shard.text_path.resolve() for source in sources for shard in source.shards}
    return sorted(path for path in paths if not path.is_relative_to(workspace.root.resolve()))


@dataclass(frozen=True)
class _SourceFiles:
    """The files of one source as SELECTs; every one of them yields the documents in the same order."""

    documents_of: SourceDocuments

    @property
    def _name(self) -> str:
        return text_literal(self.documents_of.name)

    @cached_property
    def _ids(self) -> str:
        paths = [_present(shard.ids_path) for shard in self.documents_of.shards]
        return read_files(paths, "filename = true", "file_row_number = true")

    @cached_property
    def _text_files(self) -> dict[Path, int]:
        """Text file -> rows its shards had when it was read in; a file of the user's can hold several shards."""
        shards = self.documents_of.shards
        runs = [
            (path, sum(s.num_rows for s in run)) for path, run in groupby(shards, key=lambda shard: shard.text_path)
        ]
        if len(dict(runs)) != len(runs) or len({shard.text_column for shard in shards}) != 1:
            raise ValueError(f"source {self.documents_of.name}: shards of a text file are not one after the other")
        return dict(runs)

    @cached_property
    def _text_problem(self) -> str | None:
        for path, num_rows in self._text_files.items():
            found = _rows_or_problem(path)
            if found != num_rows:
                wrong = f"{found} rows" if isinstance(found, int) else found
                return problem(path, wrong, f"{num_rows} rows as when it was read in", "run the recipe again")
        return None

    def _texts(self, columns: str, *options: str) -> str:
        if self._text_problem is not None:
            # Raised only where a query asks for the column, so that all other questions can still be answered.
            message = f"error({text_literal(self._text_problem)})::VARCHAR"
            rows = f"range({self.documents_of.num_documents})"
            return f"(SELECT {message} AS text, NULL::{MESSAGES_TYPE} AS messages FROM {rows})"
        return f"(SELECT {columns} FROM {read_files(list(self._text_files), *options)})"

    def documents(self) -> str:
        """Return the SELECT of the documents view."""
        first = self.documents_of.shards[0]
        messages = MESSAGES_COLUMN if first.has_messages else f"NULL::{MESSAGES_TYPE}"
        columns = f"{identifier(first.text_column)}::VARCHAR AS text, {messages} AS messages"
        plain = ", ".join(f"i.{name}" for name in (*_SIZES, *STATED, "read_problem"))
        shard = "regexp_extract(i.filename, '([^/\\\\]*)\\.ids\\.parquet$', 1)"
        place = f"{self._name} AS source, {shard} AS shard, i.file_row_number AS row"
        return (
            f"SELECT i.doc_id, {place}, t.text, t.messages, {plain}\n"
            f"FROM {self._ids} AS i POSITIONAL JOIN {self._texts(columns)} AS t"
        )

    def text_digests(self) -> str:
        """Return the SELECT of doc_id and the digest of the text, as hex."""
        return f"SELECT i.doc_id, lower(hex(i.text_digest)) AS text_digest FROM {self._ids} AS i"

    def own_columns(self) -> str:
        """Return the SELECT of everything the source itself has, behind doc_id."""
        texts = self._texts("*", "union_by_name = true")
        return f"SELECT i.doc_id, t.* FROM {self._ids} AS i POSITIONAL JOIN {texts} AS t"

    def aligned(self, folders: Mapping[Path, tuple[str, ...]], core: Sequence[str] = ()) -> str:
        """Return the SELECT of doc_id, source, these core columns and these columns of row-aligned folders."""
        columns = [f"i.doc_id, {self._name} AS source", *(f"i.{name}" for name in core)]
        joins = [f"{self._ids} AS i"]
        for number, (folder, names) in enumerate(folders.items()):
            paths = [_present(part_path(folder, shard)) for shard in self.documents_of.shards]
            chosen = ", ".join(identifier(name) for name in names)
            columns.extend(f"a{number}.{identifier(name)}" for name in names)
            joins.append(f"(SELECT {chosen} FROM {read_files(paths)}) AS a{number}")
        return f"SELECT {', '.join(columns)} FROM {' POSITIONAL JOIN '.join(joins)}"


def _all_annotations(sources: list[_SourceFiles], annotations: tuple[Annotation, ...]) -> str:
    folders = {a.folder: a.columns for a in annotations if a.columns}
    return union([source.aligned(folders) for source in sources], _IDS)


def _instances(
    sources: list[_SourceFiles], annotations: tuple[Annotation, ...], stage: str, columns: Sequence[str]
) -> Iterator[str]:
    """Yield a SELECT per instance of a stage and source: stage (the instance's prefix), doc_id, source, columns.

    columns: under the stage's own name, whatever prefix the instance has.
    """
    for annotation in annotations:
        own = {annotation.prefix + column.removeprefix(stage): column for column in columns}
        # A foreign stage may have the same name and other columns.
        if annotation.stage != stage or not set(own) <= set(annotation.columns):
            continue
        renamed = ", ".join(f"{identifier(name)} AS {identifier(column)}" for name, column in own.items())
        prefix = f"{text_literal(annotation.prefix)} AS stage"
        for source in sources:
            yield f"SELECT {prefix}, doc_id, source, {renamed} FROM ({source.aligned({annotation.folder: tuple(own)})})"


def _artifacts(workspace: Workspace, state: RecipeState | None, file: str, columns: dict[str, str]) -> str:
    selects = []
    typed_columns = ", ".join(f"{identifier(name)}::{dtype} AS {identifier(name)}" for name, dtype in columns.items())
    for prefix, folder in (state.artifacts if state else {}).items():
        path = workspace.root / folder / file
        # Foreign stages may leave a file of the same name for themselves.
        if path.is_file() and set(columns) <= set(pq.read_schema(path).names):
            selects.append(f"SELECT {text_literal(prefix)} AS stage, {typed_columns} FROM {read_files([path])}")
    return union(selects, {"stage": "VARCHAR"} | columns)


def _file_or_nothing(path: Path | None, columns: dict[str, str]) -> str:
    if path is None or not path.is_file():
        return nothing(columns)
    return f"SELECT {', '.join(identifier(name) for name in columns)} FROM {read_files([path])}"


def _of_token_store(workspace: Workspace, state: RecipeState | None, file: str, columns: Mapping[str, str]) -> str:
    """Return the SELECT of a file of the token store that has a doc_id, with the document's source behind that."""
    folder = workspace.root / state.token_store if state is not None and state.token_store is not None else None
    # A store made before there were such files is made again by the next run.
    if folder is None or not (folder / file).is_file():
        return nothing({**_IDS, **columns})
    own = ", ".join(f"t.{identifier(name)}" for name in columns if name != "doc_id")
    documents = read_files([_present(folder / "documents.parquet")])
    return (
        f"SELECT t.doc_id, d.source, {own} FROM {read_files([folder / file])} AS t JOIN {documents} AS d USING (doc_id)"
    )


def _heldout(workspace: Workspace, state: RecipeState | None) -> str:
    split = state.open_split(workspace) if state else None
    if split is None:
        return nothing(_GROUPS)
    return f'SELECT doc_id, group_id, "set" FROM {read_files([_present(split.folder / "groups.parquet")])}'


def _ledger(workspace: Workspace, state: RecipeState | None) -> str:
    paths = list(_ledger_paths(workspace, state)) if state else []
    columns = ", ".join(
        f"{identifier(name)}::{dtype} AS {identifier(name)}" for name, dtype in typed(LEDGER_SCHEMA).items()
    )
    return (
        f"SELECT {columns} FROM {read_files(paths, 'union_by_name = true')}" if paths else nothing(typed(LEDGER_SCHEMA))
    )


def _ledger_paths(workspace: Workspace, state: RecipeState) -> Iterator[Path]:
    selection = state.open_selection(workspace)
    if selection is not None:
        yield _present(selection.folder / "ledger.parquet")
    for reference in state.mixtures.values():
        yield _present(open_mixture(workspace, reference).folder / "ledger.parquet")


def _present(path: Path) -> Path:
    if not path.is_file():
        raise InputError(problem(path, "the file is gone", fix="run the recipe again"))
    return path


def _rows_or_problem(path: Path) -> int | str:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        return f"cannot be read ({(str(error).splitlines() or [type(error).__name__])[0]})"
