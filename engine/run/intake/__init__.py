"""Takes sources in: files become documents with ids, core columns and digests, once per content.

documents/<source>/<input digest>/ is made as engine/formats/documents.py says. The input digest is that of the reader
and its version, the source's part of the recipe (but for path, priority and pinned, which change no document), and the
names and contents of the files. It names the folder; the digest of the documents themselves (`SourceDocuments.digest`)
is the same for any cut into files and shards.

    watch           which files there are, and whether their content changed
    shards          files cut into shards: converted, or runs of row groups where they lie
    core_columns    what the source states about each document, digests and sizes
    identity        doc_ids and digests of shards and source
"""

import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from engine.base.atomic import atomic_folder
from engine.base.errors import InputError, problem
from engine.base.hashing import digest_file
from engine.base.progress import progress
from engine.base.stage import SourceConfig
from engine.formats.documents import Shard, SourceDocuments, read_source, write_source
from engine.formats.receipt import Receipt, read_receipt, write_receipt
from engine.formats.workspace import Workspace
from engine.run.intake.identity import document_ids, seal
from engine.run.intake.shards import Draft, draft_shards
from engine.run.intake.watch import Inputs, remember, require_unchanged, watched

VERSION = 1
_FOR_DECISIONS = {"path", "priority", "protected", "prefix"}
"""Keys of a source that change no document."""


def take_in(
    config: SourceConfig,
    module: ModuleType,
    base: Path,
    workspace: Workspace,
    jobs: int,
    shard_bytes: int | None = None,
) -> SourceDocuments:
    """Return the documents of a source, reading it in where it is new or changed.

    Args:
        config: The source's part of the recipe.
        module: Its reader (engine.sources).
        base: Folder of the recipe; relative paths start there.
        workspace: Where documents/<source>/ is.
        jobs: Threads; changes no byte.
        shard_bytes: Text per shard, by default 32 MB, or 64 MB where the files are read in place.

    Raises:
        InputError: No file, a damaged file, a bad row (unless on_bad_row: drop), a missing column, no row at all,
            own ids that repeat or are null, a file that changed while it was read.
    """
    started = time.monotonic()
    inputs = _inputs(config, module, base, workspace, jobs)
    folder = workspace.documents(config.name, inputs.digest)
    found = _finished(folder, config, module, inputs)
    if found is None:
        with atomic_folder(folder) as temporary:
            drafts = draft_shards(config, module, base, inputs.paths, temporary, jobs, shard_bytes)
            source = _documents(config, drafts, temporary)
            require_unchanged(inputs)
            write_source(source)
            receipt = _receipt(source, drafts, config, inputs, temporary)
            seconds = round(time.monotonic() - started, 3)
            write_receipt(temporary, receipt.model_copy(update={"seconds": seconds}))
        found = _with_config(read_source(folder), config)
    remember(workspace, config, inputs)
    return found


def current(
    config: SourceConfig, module: ModuleType, base: Path, workspace: Workspace, may_write: bool = True
) -> SourceDocuments | None:
    """Return the documents of a source where they are taken in and not stale, else None.

    Only files whose size or time of change is new are read, and remembered where `may_write`. Raises InputError where
    files are missing.
    """
    if not any((workspace.root / "documents" / config.name).glob("*/receipt.json")):
        module.files(config, base)
        return None
    inputs = _inputs(config, module, base, workspace, jobs=1)
    found = _finished(workspace.documents(config.name, inputs.digest), config, module, inputs)
    if found is not None and may_write:
        remember(workspace, config, inputs)
    return found


def _inputs(config: SourceConfig, module: ModuleType, base: Path, workspace: Workspace, jobs: int) -> Inputs:
    identity = {
        "intake": VERSION,
        "reader": config.stage,
        "version": module.VERSION,
        "config": {k: v for k, v in config.model_dump(mode="json").items() if k not in _FOR_DECISIONS},
    }
    return watched(config, module, base, workspace, identity, jobs)


def _finished(folder: Path, config: SourceConfig, module: ModuleType, inputs: Inputs) -> SourceDocuments | None:
    receipt = read_receipt(folder)
    if receipt is None or receipt.digest != inputs.digest:
        return None
    source = _with_config(read_source(folder), config)
    if module.IN_PLACE:
        # The files may have moved together with the recipe: the same content, but not where it was.
        lying = {shard.text_path for shard in source.shards if shard.text_path.parent != folder}
        if not lying <= {path.resolve() for path in inputs.paths}:
            return None
    return source


def _with_config(source: SourceDocuments, config: SourceConfig) -> SourceDocuments:
    # Priority and pinning may have changed since; they are no part of the input digest.
    return replace(source, config=config.model_dump(mode="json"))


def _documents(config: SourceConfig, drafts: list[Draft], folder: Path) -> SourceDocuments:
    if not drafts:
        needed = "at least one document"
        raise InputError(problem(f"source {config.name}", "its files hold no rows", needed, "correct the path"))
    with progress(f"source {config.name}: ids", len(drafts), "shards") as bar:
        doc_ids = document_ids(config.name, drafts)
        keys, digest = seal(folder, drafts, doc_ids, bar.advance)
    shards = tuple(
        Shard(
            source=config.name,
            name=draft.name,
            key=key,
            num_rows=draft.num_rows,
            num_bytes=draft.num_bytes,
            ids_path=draft.ids_path,
            text_path=draft.text_path,
            text_column=draft.text_column,
            row_groups=draft.row_groups,
            has_messages=draft.has_messages,
        )
        for draft, key in zip(drafts, keys, strict=True)
    )
    return SourceDocuments(config.name, digest, folder, shards, config.model_dump(mode="json"))


def _receipt(
    source: SourceDocuments, drafts: list[Draft], config: SourceConfig, inputs: Inputs, folder: Path
) -> Receipt:
    problems: dict[str, int] = {}
    for draft in drafts:
        for name, count in draft.problems.items():
            problems[name] = problems.get(name, 0) + count
    return Receipt(
        made_by=f"intake:{config.stage}/{VERSION}",
        digest=inputs.digest,
        inputs=inputs.digests,
        config=source.config,
        rows=source.num_documents,
        seconds=0.0,
        details={
            "documents_digest": source.digest,
            "digests": {path.name: digest_file(path) for path in sorted(folder.iterdir()) if path.is_file()},
            "text_bytes": sum(shard.num_bytes for shard in source.shards),
            "files": len(inputs.paths),
            "shards": len(source.shards),
            "read_problems": dict(sorted(problems.items())),
        },
    )
