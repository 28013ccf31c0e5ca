"""The stored views of one recipe: documents, annotations, decisions, pairs, held-out groups, ledger, and each source.

Everything row-aligned is joined by position, never on doc_id (engine.catalog.source_files).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from engine.catalog.named import EVERYTHING, Named
from engine.catalog.relation import create_view, identifier, nothing, read_files, text_literal, typed, union
from engine.catalog.source_files import CORE_TYPES, Folder, SourceFiles, present
from engine.formats.annotation import Annotation
from engine.formats.ledger import SCHEMA as LEDGER_SCHEMA
from engine.formats.mixture import read_mixture, version_folder
from engine.formats.selection import BALANCE_SCHEMA, EXAMPLES_SCHEMA
from engine.formats.selection import SCHEMA as DECISION_SCHEMA
from engine.formats.state import RecipeState
from engine.formats.token_store import (
    AGAIN,
    CONTROL_TOKENS_FILE,
    CONTROL_TOKENS_SCHEMA,
    LOOK_ALIKES_FILE,
    LOOK_ALIKES_SCHEMA,
)
from engine.formats.workspace import Workspace

_IDS = {"doc_id": "UUID", "source": "VARCHAR"}
_DIGESTS = {"doc_id": "UUID", "text_digest": "VARCHAR"}
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
    named: Named = EVERYTHING,
) -> None:
    """Create the stored views of a recipe, empty ones for what it lacks; raises InputError where files are gone.

    `stages`: stage -> columns of it that get a view of their own. There is none where the recipe has no such stage.
    `named`: what the query names; other views are not made, and columns it does not name may be null or missing.
    """
    _create_document_views(connection, workspace, state, stages, named)
    selection = state.open_selection(workspace) if state else None
    views: dict[str, Callable[[], str]] = {
        "heldout_groups": lambda: _heldout(workspace, state),
        "ledger": lambda: _ledger(workspace, state),
    }
    for view, schema in _OF_SELECTION.items():
        path = None if selection is None else selection.folder / f"{view}.parquet"
        views[view] = partial(_file_or_nothing, path, typed(schema))
    for view, (file, columns) in _ARTIFACTS.items():
        views[view] = partial(_artifacts, workspace, state, file, columns)
    for view, file, schema in (
        ("look_alikes", LOOK_ALIKES_FILE, LOOK_ALIKES_SCHEMA),
        ("control_tokens", CONTROL_TOKENS_FILE, CONTROL_TOKENS_SCHEMA),
    ):
        views[view] = partial(_of_token_store, workspace, state, file, typed(schema))
    for view, select in views.items():
        if named.has_table(view):
            create_view(connection, view, select())


def _create_document_views(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    state: RecipeState | None,
    stages: Mapping[str, Sequence[str]],
    named: Named,
) -> None:
    """Create the views with a row per document: of all parts, of one each, of the stages, of each source."""
    sources = [SourceFiles(source) for source in (state.source_documents(workspace) if state else ()) if source.shards]
    annotations = state.open_annotations(workspace) if state else ()
    selection = state.open_selection(workspace) if state else None
    types = typed(DECISION_SCHEMA)
    decided = Folder(None if selection is None else selection.folder, {name: name for name in types}, types)
    added = [Folder(a.folder, {name: name for name in a.columns}, {}) for a in annotations if a.columns]
    all_core = tuple(CORE_TYPES)
    views: dict[str, Callable[[], str]] = {
        "documents": lambda: union([one.select(all_core, [], named) for one in sources], CORE_TYPES),
        "text_digests": lambda: union([one.text_digests() for one in sources], _DIGESTS),
        "annotations": lambda: union([one.select(("doc_id", "source"), added, named) for one in sources], _IDS),
        "decisions": lambda: union(
            [one.select((*_IDS, "num_bytes"), [decided], named) for one in sources if decided.path is not None],
            _IDS | {"num_bytes": "BIGINT"} | types,
        ),
        "corpus": lambda: union(
            [one.select(all_core, [decided, *added], named) for one in sources], CORE_TYPES | types
        ),
    }
    for view, select in views.items():
        if named.has_table(view):
            create_view(connection, view, select())
    for stage, own in stages.items():
        is_named = named.has_table(f"{STAGE_VIEW}{stage}")
        if is_named and (selects := list(_instances(sources, annotations, stage, own, named))):
            create_view(connection, f"{STAGE_VIEW}{stage}", union(selects, {}))
    for source in sources:
        name = f"source_{source.documents_of.name}"
        if named.has_table(name):
            connection.execute(f"CREATE VIEW {identifier(name)} AS {source.own_columns()}")


def in_place_files(workspace: Workspace, state: RecipeState | None) -> list[Path]:
    """Return the text files of the recipe's sources that lie outside the workspace."""
    sources = state.source_documents(workspace) if state else ()
    root = workspace.root.resolve()
    found = {shard.text_path for source in sources for shard in source.shards}
    # What was converted lies in the workspace; links are followed for the others only.
    outside = {path.resolve() for path in found if not path.is_relative_to(root) or path.is_symlink()}
    return sorted(path for path in outside if not path.is_relative_to(root))


def _instances(
    sources: list[SourceFiles], annotations: tuple[Annotation, ...], stage: str, columns: Sequence[str], named: Named
) -> Iterator[str]:
    """Yield a SELECT per instance of a stage and source: stage (the instance's prefix), the document's, its columns.

    columns: under the stage's own name, whatever prefix the instance has.
    """
    for annotation in annotations:
        own = {column: annotation.prefix + column.removeprefix(stage) for column in columns}
        # A foreign stage may have the same name and other columns.
        if annotation.stage != stage or not set(own.values()) <= set(annotation.columns):
            continue
        prefix = f"{text_literal(annotation.prefix)} AS stage"
        for source in sources:
            inner = source.select((*_IDS, "num_bytes"), [Folder(annotation.folder, own, {})], named)
            yield f"SELECT {prefix}, * FROM ({inner})"


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
    if folder is None:
        return nothing({**_IDS, **columns})
    own = ", ".join(f"t.{identifier(name)}" for name in columns if name != "doc_id")
    documents = read_files([present(folder / "documents.parquet", AGAIN)])
    tokens = read_files([present(folder / file, AGAIN)])
    return f"SELECT t.doc_id, d.source, {own} FROM {tokens} AS t JOIN {documents} AS d USING (doc_id)"


def _heldout(workspace: Workspace, state: RecipeState | None) -> str:
    split = state.open_split(workspace) if state else None
    if split is None:
        return nothing(_GROUPS)
    return f'SELECT doc_id, group_id, "set" FROM {read_files([present(split.folder / "groups.parquet")])}'


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
        yield present(selection.folder / "ledger.parquet")
    for reference in state.mixtures.values():
        folder = version_folder(workspace, reference, unaudited=True)  # as the audits name one
        yield present(read_mixture(folder).folder / "ledger.parquet")
